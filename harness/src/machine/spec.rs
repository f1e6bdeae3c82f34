// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};

use super::Accelerator;

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
}

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
        Self { memory_mib: 1024, cpus: None, network: Network::Hermetic }
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
