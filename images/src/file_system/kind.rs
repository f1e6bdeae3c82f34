// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use serde::{Deserialize, Serialize};

/// A file system whose files can be read without mounting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSystem {
    /// /usr from 3794 on, and OEM
    Btrfs,
    /// /usr up to 3760, and ROOT
    Ext,
    /// extensions up to 4593
    Squashfs,
    /// extensions from 4628 on
    Erofs,
}

impl std::fmt::Display for FileSystem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Btrfs => "btrfs",
            Self::Ext => "ext2/3/4",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        })
    }
}

impl FileSystem {
    /// Identifies a file system by its magic number.
    pub fn identify(file: &File) -> Option<Self> {
        let is_at = |magic: &[u8], offset: u64| {
            let mut found = vec![0; magic.len()];
            file.read_exact_at(&mut found, offset).is_ok_and(|()| found == magic)
        };
        [
            (Self::Squashfs, is_at(b"hsqs", 0)),
            (Self::Erofs, is_at(&[0xe2, 0xe1, 0xf5, 0xe0], 1024)),
            (Self::Ext, is_at(&[0x53, 0xef], 1080)),
            (Self::Btrfs, is_at(b"_BHRfS_M", 0x1_0040)),
        ]
        .into_iter()
        .find_map(|(kind, matches)| matches.then_some(kind))
    }
}
