// SPDX-License-Identifier: Apache-2.0
use loadgauge_ignition::{Config, delivery::Served};
use loadgauge_images::{Architecture, Image};

use super::spec::MachineSpec;
use crate::machine::network::peer_address::PeerAddress;
use crate::machine::qemu::acceleration::Acceleration;
use crate::machine::qemu::firmware::Firmware;

/// A machine with everything resolved, ready to start.
#[derive(Debug, Clone)]
pub struct MachinePlan {
    /// the scenario's name, with the machine's own behind it where there are several
    pub name: String,
    /// what was asked for
    pub spec: MachineSpec,
    /// what is booted
    pub image: Image,
    /// how
    pub acceleration: Acceleration,
    /// what it executes first
    pub firmware: Firmware,
    /// the author's Ignition config with the extensions; the machine adds the units that report
    /// to the harness, and the key of the session, when it starts
    pub config: Config,
    /// what the guest fetches from the harness
    pub served: Vec<Served>,
    /// its place on the network where it meets the other machines of its scenario, if there are any
    pub station: Option<PeerAddress>,
}

impl MachinePlan {
    /// What the guest is made for.
    pub fn architecture(&self) -> Architecture {
        self.image.facts.architecture
    }
}
