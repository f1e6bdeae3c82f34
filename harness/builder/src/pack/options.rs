// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use camino::Utf8PathBuf;
use clap::ValueEnum;
use serde::Deserialize;
use toml::Spanned;

use crate::Format;
use crate::signing::KeyPair;

/// How a tree is packed: `[pack]` of a recipe. What is not given is quick.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Packing {
    /// as what, where nothing else is asked for; squashfs when not given
    pub format: Option<Format>,
    /// of squashfs; zstd when not given
    pub squashfs: Option<SquashfsCompression>,
    /// of squashfs with zstd, 1 to 22, or with gzip, 1 to 9; 3 and 9 when not given
    pub squashfs_level: Option<Spanned<u32>>,
    /// of erofs; lz4hc when not given
    pub erofs: Option<ErofsCompression>,
    /// of erofs with lz4hc, 0 to 12, or with zstd, 1 to 22; 3 when not given
    pub erofs_level: Option<Spanned<u32>>,
    /// the file system inside a DDI; erofs when not given
    pub ddi: Option<Inner>,
    /// beside the recipe: the private key, in PEM, that signs a DDI
    pub private_key: Option<Spanned<Utf8PathBuf>>,
    /// beside the recipe: the certificate for it
    pub certificate: Option<Spanned<Utf8PathBuf>>,
    /// changes a byte of a DDI's file system when everything is signed, for tests of its refusal
    #[serde(default)]
    pub damaged: bool,
    /// signs a DDI in place of the key that the recipe names
    #[serde(skip)]
    pub signer: Option<KeyPair>,
}

/// How a squashfs is compressed. The kernel of Flatcar reads all of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SquashfsCompression {
    /// as Flatcar's own up to release 3760
    Gzip,
    /// in blocks of 512 KiB, as Flatcar's own from release 3794
    Zstd,
    /// the smallest
    Xz,
    /// the quickest to read
    Lz4,
    /// not at all
    None,
}

/// How an erofs is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ErofsCompression {
    /// as Flatcar's own from release 4628
    Lz4hc,
    /// the quickest
    Lz4,
    /// needs erofs-utils 1.8 and a kernel from 6.10
    Zstd,
    /// not at all
    None,
}

/// The file system inside a DDI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Inner {
    /// as Flatcar's own from release 4628
    Erofs,
    /// for kernels without erofs
    Squashfs,
}

impl Packing {
    /// The compression of a squashfs.
    pub fn squashfs(&self) -> (SquashfsCompression, Option<u32>) {
        let level = self.squashfs_level.as_ref().map(|level| *level.get_ref());
        (self.squashfs.unwrap_or(SquashfsCompression::Zstd), level)
    }

    /// The compression of an erofs.
    pub fn erofs(&self) -> (ErofsCompression, Option<u32>) {
        let level = self.erofs_level.as_ref().map(|level| *level.get_ref());
        (self.erofs.unwrap_or(ErofsCompression::Lz4hc), level)
    }

    /// The file system inside a DDI.
    pub fn inner(&self) -> Inner {
        self.ddi.unwrap_or(Inner::Erofs)
    }

    /// Takes another compression or level for a file system, in words as a user gives them.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn compress(
        &mut self,
        format: Format,
        compression: Option<&str>,
        level: Option<u32>,
    ) -> Result<(), String> {
        let unknown = |name: &str, names: String| format!("`{name}` is no compression of {format}: {names}");
        let level = level.map(|level| Spanned::new(0..0, level));
        match format {
            Format::Squashfs => {
                if let Some(name) = compression {
                    let found = SquashfsCompression::from_str(name, false);
                    self.squashfs = Some(found.map_err(|_| unknown(name, names::<SquashfsCompression>()))?);
                    self.squashfs_level = None;
                }
                self.squashfs_level = level.or(self.squashfs_level.take());
            }
            Format::Erofs => {
                if let Some(name) = compression {
                    let found = ErofsCompression::from_str(name, false);
                    self.erofs = Some(found.map_err(|_| unknown(name, names::<ErofsCompression>()))?);
                    self.erofs_level = None;
                }
                self.erofs_level = level.or(self.erofs_level.take());
            }
            _ => return Err(format!("{format} is not compressed: only squashfs, erofs and ddi are")),
        }
        match self.wrong_level() {
            None => Ok(()),
            Some((level, what, may)) => {
                Err(format!("{} is no level of {what}: it may be {may}", level.get_ref()))
            }
        }
    }

    /// Everything that decides how a format is packed, as one text for the key of a build.
    pub(crate) fn key(&self, format: Format) -> String {
        match format {
            Format::Directory | Format::Ext4 | Format::Btrfs => String::new(),
            Format::Squashfs => format!("{:?}", self.squashfs()),
            Format::Erofs => format!("{:?}", self.erofs()),
            Format::Ddi => {
                let inner = self.key(self.inner().into());
                let signer = self.signer.as_ref();
                format!("{inner} signed by {signer:?}, damaged {}", self.damaged)
            }
        }
    }

    /// What is wrong with a level: where, and what it may be.
    pub(crate) fn wrong_level(&self) -> Option<(&Spanned<u32>, &'static str, &'static str)> {
        let (squashfs, erofs) = (self.squashfs().0, self.erofs().0);
        let outside =
            |level: &&Spanned<u32>, range: std::ops::RangeInclusive<u32>| !range.contains(level.get_ref());
        let of_squashfs = self.squashfs_level.as_ref().and_then(|level| {
            let (range, says) = match squashfs {
                SquashfsCompression::Gzip => (1..=9, "1 to 9"),
                SquashfsCompression::Zstd => (1..=22, "1 to 22"),
                _ => return Some((level, "squashfs", "none: only gzip and zstd have levels")),
            };
            outside(&level, range).then_some((level, "squashfs", says))
        });
        of_squashfs.or_else(|| {
            let level = self.erofs_level.as_ref()?;
            let (range, says) = match erofs {
                ErofsCompression::Lz4hc => (0..=12, "0 to 12"),
                ErofsCompression::Zstd => (1..=22, "1 to 22"),
                _ => return Some((level, "erofs", "none: only lz4hc and zstd have levels")),
            };
            outside(&level, range).then_some((level, "erofs", says))
        })
    }
}

fn names<T: ValueEnum>() -> String {
    let names = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
    format!("expected {}", names.join(", "))
}

impl From<Inner> for Format {
    fn from(inner: Inner) -> Self {
        match inner {
            Inner::Erofs => Self::Erofs,
            Inner::Squashfs => Self::Squashfs,
        }
    }
}

impl fmt::Display for ErofsCompression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Lz4hc => "lz4hc",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::None => "none",
        })
    }
}
