// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::bytes::{read, u16_at, u32_at, u64_at, u64_of};
use super::error::FileSystemError;
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
        formatter.write_str(self.name())
    }
}

impl FileSystem {
    /// Returns the name of the kind.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Btrfs => "btrfs",
            Self::Ext => "ext2/3/4",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        }
    }

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

    /// Checks that a file is as long as its file system.
    ///
    /// # Errors
    /// The file is shorter, or its superblock cannot be read.
    pub(super) fn check_length(self, file: &File) -> Result<(), FileSystemError> {
        let found = file.metadata().map_err(FileSystemError::read(self.name()))?.len();
        let expected = self.length(file).map_err(FileSystemError::read(self.name()))?;
        if found < expected {
            return Err(FileSystemError::Truncated { kind: self.name(), found, expected });
        }
        Ok(())
    }

    /// Returns the size in the superblock, in bytes.
    fn length(self, file: &File) -> io::Result<u64> {
        Ok(match self {
            Self::Squashfs => u64_at(&read::<48>(file, 0)?, 40),
            Self::Erofs => {
                let superblock = read::<128>(file, 1024)?;
                u64::from(u32_at(&superblock, 36)).saturating_mul(1 << superblock[12].min(16))
            }
            Self::Ext => {
                let superblock = read::<1024>(file, 1024)?;
                let has_64_bits = u16_at(&superblock, 76) > 0 && u32_at(&superblock, 96) & 0x80 != 0;
                let high = if has_64_bits { u32_at(&superblock, 336) } else { 0 };
                let blocks = u64_of(u32_at(&superblock, 4), high);
                blocks.saturating_mul(1024 << u32_at(&superblock, 24).min(6))
            }
            Self::Btrfs => u64_at(&read::<128>(file, 0x1_0000)?, 112),
        })
    }
}
