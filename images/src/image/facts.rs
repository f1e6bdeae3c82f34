// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};

use crate::{Architecture, OsRelease};

/// How a disk image is stored, in the words of `qemu-img`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// QEMU's own format
    Qcow2,
    /// the bare bytes of the disk
    Raw,
}

impl DiskFormat {
    /// The name that QEMU's `format=` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// What delivers Docker and containerd in a release.
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

/// What the harness asks of an image instead of asking which image it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `/usr/lib/os-release`
    pub os_release: OsRelease,
    /// what it runs on
    pub architecture: Architecture,
    /// what delivers Docker and containerd
    pub era: Era,
    /// the major version of systemd
    pub systemd: u32,
    /// names of the extensions that the image itself merges, without `.raw`
    pub vendor_extensions: Vec<String>,
}
