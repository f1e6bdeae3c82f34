// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::str::FromStr;

use camino::Utf8PathBuf;
use serde::Deserialize;
use toml::Spanned;

use crate::extension::Format;
use crate::extension::named;
use crate::signing::KeyPair;

/// The format of an extension and its options: `[pack]` of a recipe. The defaults pack fast.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Packing {
    /// the format where the user does not request one; squashfs by default
    pub format: Option<Format>,
    /// the compression of squashfs; zstd by default
    pub squashfs_compression: Option<SquashfsCompression>,
    /// the level of squashfs: 1 to 22 with zstd (default 3), 1 to 9 with gzip (default 9)
    pub squashfs_level: Option<Spanned<u32>>,
    /// the compression of erofs; lz4hc by default
    pub erofs_compression: Option<ErofsCompression>,
    /// the level of erofs: 0 to 12 with lz4hc, 1 to 22 with zstd (default 3)
    pub erofs_level: Option<Spanned<u32>>,
    /// further arguments of mkfs.erofs, such as `-Eall-fragments` or `-C1048576`, after those for the
    /// compression
    #[serde(default)]
    pub erofs_options: Vec<Spanned<String>>,
    /// the file system in a DDI; erofs by default
    pub ddi_filesystem: Option<DdiFilesystem>,
    /// the private key that signs a DDI: a PEM file beside the recipe
    pub private_key: Option<Spanned<Utf8PathBuf>>,
    /// the certificate of the key: a PEM file beside the recipe
    pub certificate: Option<Spanned<Utf8PathBuf>>,
    /// whether a byte of the file system in a signed DDI is changed, for tests of its refusal
    #[serde(default)]
    pub damaged: bool,
    /// the key pair that signs a DDI in place of the recipe's
    #[serde(skip)]
    pub signer: Option<KeyPair>,
}

/// The compression of a squashfs. Flatcar's kernel reads all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SquashfsCompression {
    /// gzip, as Flatcar's own extensions up to release 3760
    Gzip,
    /// zstd in blocks of 512 KiB, as Flatcar's own extensions from release 3794 on
    Zstd,
    /// xz, the smallest
    Xz,
    /// lz4, the fastest to read
    Lz4,
    /// uncompressed
    None,
}

/// The compression of an erofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErofsCompression {
    /// lz4hc, as Flatcar's own extensions from release 4628 on
    Lz4hc,
    /// lz4, the fastest
    Lz4,
    /// zstd, which needs erofs-utils 1.8 and Linux 6.10
    Zstd,
    /// uncompressed
    None,
}

/// The file system in a DDI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DdiFilesystem {
    /// erofs, as Flatcar's own extensions from release 4628 on
    Erofs,
    /// squashfs, for kernels without erofs
    Squashfs,
}

/// Implements the names of an enumeration and their list.
macro_rules! names {
    ($type:ident, $kind:literal, $($variant:ident = $name:literal),+) => {
        impl $type {
            /// All values.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Its name in recipes and options.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(name: &str) -> Result<Self, String> {
                named(name, &Self::ALL, $kind)
            }
        }
    };
}

names! {
    SquashfsCompression, "a compression of squashfs",
    Gzip = "gzip", Zstd = "zstd", Xz = "xz", Lz4 = "lz4", None = "none"
}
names! {
    ErofsCompression, "a compression of erofs",
    Lz4hc = "lz4hc", Lz4 = "lz4", Zstd = "zstd", None = "none"
}
names! {
    DdiFilesystem, "a file system of a DDI",
    Erofs = "erofs", Squashfs = "squashfs"
}

impl Packing {
    /// The compression and level of squashfs.
    pub fn squashfs(&self) -> (SquashfsCompression, Option<u32>) {
        let level = self.squashfs_level.as_ref().map(|level| *level.get_ref());
        (self.squashfs_compression.unwrap_or(SquashfsCompression::Zstd), level)
    }

    /// The compression and level of erofs.
    pub fn erofs(&self) -> (ErofsCompression, Option<u32>) {
        let level = self.erofs_level.as_ref().map(|level| *level.get_ref());
        (self.erofs_compression.unwrap_or(ErofsCompression::Lz4hc), level)
    }

    /// The further arguments of mkfs.erofs.
    pub fn erofs_arguments(&self) -> impl Iterator<Item = &str> {
        self.erofs_options.iter().map(|option| option.get_ref().as_str())
    }

    /// The file system in a DDI.
    pub fn ddi_filesystem(&self) -> DdiFilesystem {
        self.ddi_filesystem.unwrap_or(DdiFilesystem::Erofs)
    }

    /// Replaces the compression or the level of a file system by what the user requests.
    ///
    /// # Errors
    /// The compression or level is not valid for the format; the message says why.
    pub fn compress(
        &mut self,
        format: Format,
        compression: Option<&str>,
        level: Option<u32>,
    ) -> Result<(), String> {
        let level = level.map(|level| Spanned::new(0..0, level));
        match format {
            Format::Squashfs => {
                if let Some(name) = compression {
                    self.squashfs_compression = Some(name.parse()?);
                    self.squashfs_level = None;
                }
                self.squashfs_level = level.or(self.squashfs_level.take());
            }
            Format::Erofs => {
                if let Some(name) = compression {
                    self.erofs_compression = Some(name.parse()?);
                    self.erofs_level = None;
                }
                self.erofs_level = level.or(self.erofs_level.take());
            }
            _ => return Err(format!("{format} has no compression; squashfs, erofs and ddi have one")),
        }
        match self.wrong_level() {
            None => Ok(()),
            Some((level, what, expected)) => {
                Err(format!("{} is not a level of {what}: it can be {expected}", level.get_ref()))
            }
        }
    }

    /// Every option that decides the bytes of a format, as a part of a build's key.
    pub(crate) fn key(&self, format: Format) -> String {
        match format {
            Format::Directory | Format::Ext4 | Format::Btrfs => String::new(),
            Format::Squashfs => format!("{:?}", self.squashfs()),
            Format::Erofs => format!("{:?} {:?}", self.erofs(), self.erofs_arguments().collect::<Vec<_>>()),
            Format::Ddi => {
                let filesystem = self.key(self.ddi_filesystem().into());
                let signer = self.signer.as_ref();
                format!("{filesystem} signed by {signer:?}, damaged {}", self.damaged)
            }
        }
    }

    /// A level that is out of range: its place, the format, and the valid range.
    pub(crate) fn wrong_level(&self) -> Option<(&Spanned<u32>, &'static str, &'static str)> {
        let (squashfs, erofs) = (self.squashfs().0, self.erofs().0);
        let outside =
            |level: &&Spanned<u32>, range: std::ops::RangeInclusive<u32>| !range.contains(level.get_ref());
        let of_squashfs = self.squashfs_level.as_ref().and_then(|level| {
            let (range, expected) = match squashfs {
                SquashfsCompression::Gzip => (1..=9, "1 to 9"),
                SquashfsCompression::Zstd => (1..=22, "1 to 22"),
                _ => return Some((level, "squashfs", "none: only gzip and zstd have levels")),
            };
            outside(&level, range).then_some((level, "squashfs", expected))
        });
        of_squashfs.or_else(|| {
            let level = self.erofs_level.as_ref()?;
            let (range, expected) = match erofs {
                ErofsCompression::Lz4hc => (0..=12, "0 to 12"),
                ErofsCompression::Zstd => (1..=22, "1 to 22"),
                _ => return Some((level, "erofs", "none: only lz4hc and zstd have levels")),
            };
            outside(&level, range).then_some((level, "erofs", expected))
        })
    }
}

impl From<DdiFilesystem> for Format {
    fn from(filesystem: DdiFilesystem) -> Self {
        match filesystem {
            DdiFilesystem::Erofs => Self::Erofs,
            DdiFilesystem::Squashfs => Self::Squashfs,
        }
    }
}
