// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};

/// What the author of a scenario asks of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// memory in MiB
    pub memory_mib: u32,
    /// virtual processors
    pub cpus: u32,
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
        Self { memory_mib: 1024, cpus: 2, network: Network::Hermetic }
    }
}
