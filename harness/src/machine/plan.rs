// SPDX-License-Identifier: Apache-2.0
use loadgauge_ignition::{Config, delivery::Served};
use loadgauge_images::{Architecture, Image};

use super::network::peer_address::PeerAddress;
use super::qemu::acceleration::Acceleration;
use super::qemu::firmware::Firmware;
use super::spec::MachineSpec;

/// A machine with everything resolved, ready to start.
#[derive(Debug, Clone)]
pub struct MachinePlan {
    /// the scenario's name, followed by the machine's if there are several
    pub name: String,
    /// the author's settings
    pub spec: MachineSpec,
    /// the image to boot
    pub image: Image,
    /// the accelerator
    pub acceleration: Acceleration,
    /// the firmware
    pub firmware: Firmware,
    /// the author's Ignition config with the extensions; the harness's units and SSH key are added when
    /// the machine starts
    pub config: Config,
    /// the files that the guest fetches from the harness
    pub served: Vec<Served>,
    /// its address on the network of the scenario's machines, if there are several
    pub peer_address: Option<PeerAddress>,
}

impl MachinePlan {
    /// The guest's architecture.
    pub fn architecture(&self) -> Architecture {
        self.image.facts.architecture
    }
}
