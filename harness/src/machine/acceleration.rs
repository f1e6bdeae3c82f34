// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};

/// How QEMU executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// the processor's virtualisation, through /dev/kvm
    Kvm,
    /// QEMU's translator
    Tcg,
}

/// The accelerator that was proven to work, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acceleration {
    /// which one
    pub accelerator: Accelerator,
    /// by how much time-outs, given for KVM, are multiplied
    pub factor: f64,
    /// why this one, for the report
    pub reason: String,
}
