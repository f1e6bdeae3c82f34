// SPDX-License-Identifier: Apache-2.0
use std::io;

use camino::Utf8PathBuf;
use loadgauge_host::{CommandError, FileError, Hint, MissingTool, StoreError};

use crate::file_system::FileSystemError;

/// An image that cannot be found or inspected.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// the store failed
    #[error(transparent)]
    Store(#[from] StoreError),
    /// a program of the host is missing
    #[error(transparent)]
    Tool(#[from] MissingTool),
    /// a program of the host could not read a file system
    #[error("cannot read {what}")]
    Command {
        /// the file system
        what: String,
        /// the error of the program
        source: CommandError,
    },
    /// files cannot be extracted from a file system
    #[error("cannot read {what}")]
    FileSystem {
        /// the partition or the file
        what: String,
        /// the reason
        source: FileSystemError,
    },
    /// bytes of the disk are damaged
    #[error("`{path}`: {place}: {cause}")]
    Damaged {
        /// the disk or the file system
        path: Utf8PathBuf,
        /// the damaged part
        place: String,
        /// the reason
        cause: String,
    },
    /// a directory without a disk
    #[error("`{0}` contains no disk image of a release")]
    NoDisk(Utf8PathBuf),
    /// a disk with a compression that releases do not have
    #[error("`{0}` is compressed, but not with bzip2")]
    Compressed(Utf8PathBuf),
    /// the backing file of a disk is not a disk, or is not identified
    #[error("cannot use `{below}`, the backing file of `{path}`: {cause}")]
    Backing {
        /// the disk
        path: Utf8PathBuf,
        /// its backing file, as its header names it
        below: String,
        /// the reason
        cause: String,
    },
    /// the disk has no partition for /usr
    #[error("`{0}` is not a Flatcar image: it has no partition `USR-A`")]
    NoUsr(Utf8PathBuf),
    /// /usr has no os-release
    #[error("`{0}`: the partition USR-A contains no `lib/os-release`")]
    NoOsRelease(Utf8PathBuf),
    /// the version of systemd is unknown
    #[error("`{0}`: cannot determine the version of systemd from /usr or from the release")]
    NoSystemd(Utf8PathBuf),
    /// the architecture is unknown
    #[error("`{0}`: cannot determine the architecture")]
    NoArchitecture(Utf8PathBuf),
    /// the base next to an image belongs to another release
    #[error("`{base}` is the base of {found}, but the image is {expected}")]
    OtherBase {
        /// the base
        base: Utf8PathBuf,
        /// its version
        found: String,
        /// the version of the image
        expected: String,
    },
    /// a base of Debian packages without the archive that they are from
    #[error("`{0}` contains Debian packages, but no `usr/share/loadgauge/archive.json` with their archive")]
    NoArchive(Utf8PathBuf),
}

impl Hint for ImageError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
            Self::FileSystem { source, .. } => source.hint(),
            Self::NoDisk(_) => {
                Some("make an image with `loadgauge image build`, or name a Flatcar disk".to_owned())
            }
            Self::Compressed(_) => Some("decompress it".to_owned()),
            Self::Backing { path, .. } => Some(format!(
                "if you trust it, make a disk of it that has no backing file: qemu-img convert -O qcow2 {} NEW",
                loadgauge_host::quote(path.as_str())
            )),
            Self::Store(_) => Some("set LOADGAUGE_CACHE to a writable directory".to_owned()),
            Self::File(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("make an image with `loadgauge image build`".to_owned())
            }
            Self::File(error) => error.hint(),
            Self::Damaged { .. } | Self::NoOsRelease(_) => {
                Some("download or make the image again, and compare its digest".to_owned())
            }
            Self::NoUsr(_) => Some(
                "name a Flatcar disk (`flatcar_production_qemu_image.img`) or the directory of a release"
                    .to_owned(),
            ),
            Self::OtherBase { base, .. } => {
                Some(format!("replace it with the base of the image's own release, or remove {base}"))
            }
            Self::NoArchive(_) => Some("download or make the base again".to_owned()),
            Self::Command { .. } | Self::NoSystemd(_) | Self::NoArchitecture(_) => None,
        }
    }
}
