// SPDX-License-Identifier: Apache-2.0
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::host::{CommandError, MissingTool, StoreError};

/// An image cannot be looked into, or is not built like one.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
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
    /// a package database's base is not of the image
    #[error("`{base}` is of {found}, and the image of {expected}")]
    OtherBase {
        /// the base
        base: Utf8PathBuf,
        /// its version
        found: String,
        /// the image's
        expected: String,
    },
    /// a base without a package database
    #[error("`{0}` holds neither `var/lib/dpkg/status` nor `var/db/pkg`")]
    NoDatabase(Utf8PathBuf),
    /// a base of Debian packages that does not say where they are from
    #[error(
        "`{0}` holds Debian packages and no `usr/share/loadgauge/archive.json` that says where they are from"
    )]
    NoArchive(Utf8PathBuf),
}

impl InspectError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
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
            Self::NoDatabase(_) | Self::NoArchive(_) => Some("download or make the base again".to_owned()),
            _ => None,
        }
    }
}

/// Makes an error of a file operation, for `map_err`.
pub(crate) fn io(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> InspectError + use<> {
    let path = path.to_owned();
    move |source| InspectError::Io { action, path, source }
}
