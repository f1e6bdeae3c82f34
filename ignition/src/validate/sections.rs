// SPDX-License-Identifier: Apache-2.0
use super::problem::{Findings, Problem};
use super::{disks, passwd, resource, storage, systemd};
use crate::config::Config;

impl Config {
    /// All problems of the config, in the order of its JSON.
    ///
    /// With a problem of [`Severity::Error`](super::Severity::Error) Ignition fails, or the guest differs from
    /// the config; a setting with a [`Severity::Warning`](super::Severity::Warning) has no effect.
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
