// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};

use crate::machine::qemu::acceleration::Accelerator;
use crate::machine::qemu::firmware::FirmwareChoice;

/// What the author of a scenario asks of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// memory in MiB
    pub memory_mib: u32,
    /// virtual processors; see [`MachineSpec::processors`] where nothing is asked for
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// whom the guest reaches
    pub network: Network,
    /// what it executes first; what its architecture starts with where nothing is asked for
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareChoice>,
    /// disks beside the one that it boots from, empty
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskSpec>,
    /// whether it has a TPM 2.0
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tpm: bool,
    /// arguments added to the kernel command line
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_arguments: Vec<String>,
}

/// An empty disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpec {
    /// its size in MiB
    pub size_mib: u32,
    /// its serial number, by which the guest finds it: `/dev/disk/by-id/virtio-SERIAL`
    pub serial: String,
}

/// The longest serial number that a virtio disk has (`VIRTIO_BLK_ID_BYTES`).
pub const LONGEST_SERIAL: usize = 20;

/// Whom the guest reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// the harness and nothing else
    Hermetic,
    /// whatever the host reaches
    Internet,
}

impl Default for MachineSpec {
    fn default() -> Self {
        Self {
            memory_mib: 1024,
            cpus: None,
            network: Network::Hermetic,
            firmware: None,
            disks: Vec::new(),
            tpm: false,
            kernel_arguments: Vec::new(),
        }
    }
}

impl MachineSpec {
    /// How many processors the guest has: what was asked for, else two under KVM and one under TCG,
    /// where each takes a whole processor of the host and machines side by side use them better.
    pub fn processors(&self, accelerator: Accelerator) -> u32 {
        self.cpus.unwrap_or(match accelerator {
            Accelerator::Kvm => 2,
            Accelerator::Tcg => 1,
        })
    }
}
