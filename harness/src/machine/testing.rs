// SPDX-License-Identifier: Apache-2.0
//! Values for unit tests of this folder.
use loadgauge_ignition::Config;
use loadgauge_images::{Image, OsRelease};

use super::plan::MachinePlan;
use super::qemu::acceleration::Acceleration;
use super::qemu::accelerator::Accelerator;
use super::qemu::firmware::Firmware;
use super::spec::MachineSpec;

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
            reason: "TCG was requested".into(),
        },
        firmware: Firmware::Bios,
        config: Config::new(),
        served: Vec::new(),
        peer_address: None,
    }
}
