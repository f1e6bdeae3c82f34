// SPDX-License-Identifier: Apache-2.0
use clap::Args;
use loadgauge_host::environment;

use crate::machine::{AccelChoice, FirmwareChoice};

/// The options for the accelerator and the firmware.
#[derive(Debug, Args)]
pub(super) struct MachineChoice {
    /// Accelerator of QEMU
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto, env = environment::ACCEL)]
    pub(super) accel: AccelChoice,

    /// Firmware for scenarios that do not set one [default: bios on amd64, uefi on arm64]
    #[arg(long, value_enum, env = environment::FIRMWARE)]
    pub(super) firmware: Option<FirmwareChoice>,
}
