// SPDX-License-Identifier: Apache-2.0
use loadgauge_images::Architecture;
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

impl Accelerator {
    /// The value of `-accel`.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=multi",
        }
    }

    /// The value of `-cpu`. KVM offers all that the host has. TCG offers no more than Flatcar and today's
    /// distributions may require (x86-64-v2, ARMv8.0): a boot with `max` takes 10 % more processor time.
    pub(crate) fn cpu_model(self, architecture: Architecture) -> &'static str {
        match (self, architecture) {
            (Self::Kvm, _) => "host",
            (Self::Tcg, Architecture::Amd64) => "Nehalem",
            (Self::Tcg, Architecture::Arm64) => "cortex-a57",
        }
    }
}
