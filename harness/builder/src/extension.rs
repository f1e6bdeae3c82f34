// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use camino::Utf8PathBuf;
use loadgauge_images::OsRelease;
use serde::{Deserialize, Serialize};

/// A built extension, as it lies on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// what systemd-sysext calls it: the file name without `.raw`
    pub name: String,
    /// how it is packed
    pub format: Format,
    /// the image file, or the directory
    pub path: Utf8PathBuf,
    /// bytes of the image file, or of all files of the directory
    pub size: u64,
    /// SHA-512 of the image file in hex; of a directory, of its sorted listing with digests
    pub sha512: String,
    /// what its extension-release file says
    pub release: OsRelease,
}

/// How an extension is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// a plain directory
    Directory,
    /// squashfs
    Squashfs,
    /// erofs
    Erofs,
    /// ext4
    Ext4,
    /// btrfs
    Btrfs,
    /// a GPT image with dm-verity and, where there is a key, a signature
    Ddi,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Directory => "directory",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::Ext4 => "ext4",
            Self::Btrfs => "btrfs",
            Self::Ddi => "ddi",
        })
    }
}
