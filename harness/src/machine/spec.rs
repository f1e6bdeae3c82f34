// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};

use super::qemu::accelerator::Accelerator;
use super::qemu::firmware::FirmwareChoice;

/// The settings of a machine in a scenario file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// memory in MiB
    pub memory_mib: u32,
    /// virtual processors; [`MachineSpec::processors`] has the default
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// what the guest can reach
    pub network: Network,
    /// the firmware; [`FirmwareChoice::of`] has the default
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareChoice>,
    /// additional, empty disks
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskSpec>,
    /// whether it has a TPM 2.0
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tpm: bool,
    /// additional kernel arguments
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_arguments: Vec<String>,
}

/// An additional, empty disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpec {
    /// size in MiB
    pub size_mib: u32,
    /// serial number; the guest finds the disk at `/dev/disk/by-id/virtio-SERIAL`
    pub serial: String,
}

/// The length limit of a virtio disk's serial number (`VIRTIO_BLK_ID_BYTES`).
pub const LONGEST_SERIAL: usize = 20;

/// What the guest can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// the harness only
    Hermetic,
    /// everything that the host can reach
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
    /// The number of virtual processors. The default is 2 under KVM and 1 under TCG, where each uses a whole
    /// processor of the host and concurrent machines use them better.
    pub fn processors(&self, accelerator: Accelerator) -> u32 {
        self.cpus.unwrap_or(match accelerator {
            Accelerator::Kvm => 2,
            Accelerator::Tcg => 1,
        })
    }
}
