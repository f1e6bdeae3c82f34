// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Hint;
use loadgauge_host::{CommandError, MissingTool};

use crate::signing::SigningError;

/// A tree that could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// the host has no packer for the format
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// the packer said no
    #[error("the packer failed")]
    Command(#[from] CommandError),
    /// the packer does not say which version it is
    #[error("`{command}` does not say its version")]
    NoVersion {
        /// the command line
        command: String,
    },
    /// the host's packer was built without a compression
    #[error("the host's packer cannot compress {format} with {compression}")]
    Compression {
        /// which format
        format: &'static str,
        /// which compression
        compression: String,
    },
    /// it cannot be signed
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// a signature is larger than its partition
    #[error("the signature takes {0} bytes, more than its partition has")]
    SignatureSize(usize),
    /// debugfs ended well and yet complained
    #[error("debugfs did not put everything into the ext4 image:\n{0}")]
    Debugfs(String),
    /// there is no private place to pack in
    #[error("btrfs needs a private mount of a tmpfs, which the host refuses")]
    NoNamespace(#[source] CommandError),
    /// the image is not what is known of btrfs, so that it cannot be made reproducible
    #[error("`{path}` cannot be made reproducible: {what}")]
    Layout {
        /// the image
        path: Utf8PathBuf,
        /// what is unknown about it
        what: String,
    },
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: std::io::Error,
    },
}

impl PackError {
    pub(super) fn io(action: &'static str, path: &Utf8Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Hint for PackError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(missing) => missing.hint(),
            Self::Signing(error) => error.hint(),
            Self::Compression { .. } => Some(
                "install a newer one (zstd needs erofs-utils 1.8), or choose another compression".to_owned(),
            ),
            Self::SignatureSize(_) => Some("sign with a certificate of ordinary size".to_owned()),
            Self::NoNamespace(_) => Some(
                "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or \
                 kernel.apparmor_restrict_unprivileged_userns=0), or choose another format"
                    .to_owned(),
            ),
            Self::Layout { .. } => {
                Some("this version of btrfs-progs writes something new; choose another format".to_owned())
            }
            _ => None,
        }
    }
}
