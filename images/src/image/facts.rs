// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};

use crate::{Architecture, OsRelease};

/// The format of a disk image, by its name in `qemu-img`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// QEMU copy on write, version 2 or 3
    Qcow2,
    /// the bytes of the disk
    Raw,
}

impl DiskFormat {
    /// The name in QEMU's `format=`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// How Docker and containerd are delivered in a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// up to 3760: the add-on manager Torcx
    Torcx,
    /// 3794 to 4593: extensions that ship with the image, merged by the booted system
    Sysext,
    /// from 4628: the same, merged in the initrd
    Initrd,
}

impl Era {
    /// The era of a release by its major version.
    pub fn of_major(major: u32) -> Self {
        match major {
            0..=3793 => Self::Torcx,
            3794..=4627 => Self::Sysext,
            _ => Self::Initrd,
        }
    }
}

impl std::fmt::Display for Era {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Torcx => "torcx",
            Self::Sysext => "sysext",
            Self::Initrd => "initrd",
        })
    }
}

/// The facts of an image that the harness relies on, instead of asking which image it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `/usr/lib/os-release`
    pub os_release: OsRelease,
    /// the architecture
    pub architecture: Architecture,
    /// the era
    pub era: Era,
    /// the major version of systemd
    pub systemd: u32,
    /// names of the extensions that the image itself merges, without `.raw`
    pub vendor_extensions: Vec<String>,
}
