// SPDX-License-Identifier: Apache-2.0
//! What a config means, judged without a guest.
//!
//! The rules are those of Ignition's own validation (`config/v3_3/types` and `config/validate` in
//! `coreos/ignition`), and some more where Ignition accepts what then fails, or does nothing, in the
//! guest. The integration test `oracle` compares both, and lists where this crate is the stricter.

mod disks;
mod passwd;
mod problem;
mod resource;
mod storage;
mod systemd;

use problem::Findings;
pub use problem::{Problem, Severity};

use crate::Config;

impl Config {
    /// Everything that is wrong with the config, in the order of its JSON; nothing when it is sound.
    ///
    /// A problem of [`Severity::Error`] fails in the guest, or does something other than what the config
    /// says; one of [`Severity::Warning`] has no effect there.
    pub fn validate(&self) -> Vec<Problem> {
        let mut findings = Findings::default();
        let config = &self.0;
        resource::ignition(&config.ignition, &mut findings);
        if let Some(arguments) = &config.kernel_arguments {
            passwd::kernel_arguments(arguments, &mut findings);
        }
        if let Some(passwd) = &config.passwd {
            passwd::passwd(passwd, &mut findings);
        }
        if let Some(storage) = &config.storage {
            storage::storage(storage, &mut findings);
            disks::disks(storage, &mut findings);
        }
        if let Some(systemd) = &config.systemd {
            systemd::systemd(systemd, config.storage.as_ref(), &mut findings);
        }
        findings.into_problems()
    }
}

#[cfg(test)]
mod tests;
