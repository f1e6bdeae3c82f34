// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::str::FromStr;

use camino::Utf8PathBuf;
use loadgauge_images::OsRelease;
use serde::{Deserialize, Serialize};

/// A built extension in a file or directory of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// its name in systemd-sysext: the file name without `.raw`
    pub name: String,
    /// its format
    pub format: Format,
    /// the image file or directory
    pub path: Utf8PathBuf,
    /// bytes of the image file, or of all files in the directory
    pub size: u64,
    /// SHA-512 in hex: of the image file, or of the sorted listing of the directory with all digests
    pub sha512: String,
    /// the fields of its extension-release file
    pub release: OsRelease,
}

/// The format of an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

impl Format {
    /// All formats.
    pub const ALL: [Self; 6] =
        [Self::Directory, Self::Squashfs, Self::Erofs, Self::Ext4, Self::Btrfs, Self::Ddi];

    /// Its name in recipes and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::Ext4 => "ext4",
            Self::Btrfs => "btrfs",
            Self::Ddi => "ddi",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        named(name, &Self::ALL, "a format")
    }
}

/// The value of a name among all values of its type.
pub(crate) fn named<T: Copy + fmt::Display>(name: &str, all: &[T], kind: &str) -> Result<T, String> {
    all.iter().copied().find(|value| value.to_string() == name).ok_or_else(|| {
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        format!("`{name}` is not {kind}: expected {}", names.join(", "))
    })
}
