// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use loadgauge_host::{CommandError, MissingTool, StoreError};

/// A path leads to no image, or the image cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// the store cannot keep what was found
    #[error(transparent)]
    Store(#[from] StoreError),
    /// a program of the host is missing
    #[error(transparent)]
    Tool(#[from] MissingTool),
    /// a program of the host could not read a file system
    #[error("cannot read {what}")]
    Command {
        /// which file system
        what: String,
        /// what the program said
        source: CommandError,
    },
    /// bytes of the disk are not what they should be
    #[error("`{path}`: {place}: {cause}")]
    Damaged {
        /// the disk or the file system
        path: Utf8PathBuf,
        /// where
        place: String,
        /// what is wrong there
        cause: String,
    },
    /// a directory without a disk
    #[error("`{0}` holds no image: none of the disks of a release is there")]
    NoDisk(Utf8PathBuf),
    /// a disk that is packed in a way that releases are not
    #[error("`{0}` is compressed, and not with bzip2 as a release's disks are")]
    Compressed(Utf8PathBuf),
    /// a disk builds on something that is no disk, or cannot be told
    #[error("`{path}` builds on `{below}`: {cause}")]
    Backing {
        /// the disk
        path: Utf8PathBuf,
        /// what it says it builds on
        below: String,
        /// why that is not read
        cause: String,
    },
    /// the disk has no partition that holds /usr
    #[error("`{0}` has no partition `USR-A`: it is no Flatcar image")]
    NoUsr(Utf8PathBuf),
    /// /usr has no os-release
    #[error("`{0}`: the partition USR-A holds no `lib/os-release`")]
    NoOsRelease(Utf8PathBuf),
    /// nothing tells the version of systemd
    #[error("`{0}`: neither the files of /usr nor its release tell the version of systemd")]
    NoSystemd(Utf8PathBuf),
    /// nothing tells what it runs on
    #[error("`{0}`: nothing tells whether it is for amd64 or arm64")]
    NoArchitecture(Utf8PathBuf),
    /// the base beside an image is another's
    #[error("`{base}` is the base of {found}, and the image is {expected}")]
    OtherBase {
        /// the base
        base: Utf8PathBuf,
        /// its version
        found: String,
        /// the image's
        expected: String,
    },
    /// a base of Debian packages that does not say where they are from
    #[error(
        "`{0}` holds Debian packages and no `usr/share/loadgauge/archive.json` that says where they are from"
    )]
    NoArchive(Utf8PathBuf),
}

impl Hint for ImageError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
            Self::NoDisk(_) => {
                Some("make an image with `loadgauge image build`, or name a Flatcar disk".to_owned())
            }
            Self::Compressed(_) => Some("unpack it".to_owned()),
            Self::Backing { path, .. } => Some(format!(
                "if you trust it, make one of it that builds on nothing: qemu-img convert -O qcow2 {} NEW",
                loadgauge_host::quote(path.as_str())
            )),
            Self::Store(_) => Some("set LOADGAUGE_CACHE to a directory that can be written".to_owned()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("make an image with `loadgauge image build`".to_owned())
            }
            Self::Damaged { .. } | Self::NoOsRelease(_) => {
                Some("download or make the image again, and compare its digest".to_owned())
            }
            Self::NoUsr(_) => Some(
                "name a Flatcar disk (`flatcar_production_qemu_image.img`) or the directory of a release"
                    .to_owned(),
            ),
            Self::OtherBase { base, .. } => {
                Some(format!("put the base of the image's own release beside it, or remove {base}"))
            }
            Self::NoArchive(_) => Some("download or make the base again".to_owned()),
            _ => None,
        }
    }
}

/// Makes an error of a file operation, for `map_err`.
pub(crate) fn io(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> ImageError + use<> {
    let path = path.to_owned();
    move |source| ImageError::Io { action, path, source }
}
