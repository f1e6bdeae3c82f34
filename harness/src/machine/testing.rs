// SPDX-License-Identifier: Apache-2.0
//! Values for the unit tests of this folder.
use loadgauge_ignition::Config;
use loadgauge_images::{Image, OsRelease};

use super::plan::MachinePlan;
use super::spec::MachineSpec;
use crate::machine::qemu::acceleration::{Acceleration, Accelerator};
use crate::machine::qemu::firmware::Firmware;

/// A plan for an image that does not exist.
pub(crate) fn plan() -> MachinePlan {
    let image = serde_json::json!({
        "disk": "/images/flatcar.img",
        "format": "qcow2",
        "digest": "00",
        "facts": {
            "os_release": serde_json::to_value(OsRelease::default()).expect("JSON"),
            "architecture": "amd64",
            "era": "sysext",
            "systemd": 257,
            "vendor_extensions": [],
        },
    });
    let image: Image = serde_json::from_value(image).expect("an image");
    MachinePlan {
        name: "docker".into(),
        spec: MachineSpec::default(),
        image,
        acceleration: Acceleration {
            accelerator: Accelerator::Tcg,
            factor: 10.0,
            reason: "it was asked for".into(),
        },
        firmware: Firmware::Bios,
        config: Config::new(),
        served: Vec::new(),
        station: None,
    }
}
