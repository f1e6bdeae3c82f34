// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_host::{CommandError, FileError, Hint, MissingTool};

use crate::extension::Format;
use crate::namespace;
use crate::owner::Owner;
use crate::signing::SigningError;

/// A tree that cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// the host lacks the packer of the format
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// the packer failed
    #[error("the packer failed")]
    Command(#[from] CommandError),
    /// the packer prints no version
    #[error("no version in the output of `{command}`")]
    NoVersion {
        /// the command line
        command: String,
    },
    /// the host's packer was built without a compression
    #[error("the host's mkfs of {format} does not support {compression}")]
    Compression {
        /// the format
        format: &'static str,
        /// the compression
        compression: String,
    },
    /// signing failed
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// a signature is larger than its partition
    #[error("the signature has {0} bytes, more than its partition")]
    SignatureSize(usize),
    /// debugfs exited with 0 and reported errors
    #[error("debugfs cannot write all files to the ext4 image:\n{0}")]
    Debugfs(String),
    /// the host does not allow a mount namespace
    #[error("cannot mount the tmpfs that packing btrfs needs")]
    NoNamespace(#[source] CommandError),
    /// mkfs.btrfs has written an unknown layout
    #[error("cannot make `{path}` reproducible: {reason}")]
    Layout {
        /// the image
        path: Utf8PathBuf,
        /// the unknown part
        reason: String,
    },
    /// the format can only be written with owners from the host's files, which only root can set
    #[error(
        "cannot write `/{path}` with mode {mode:04o} and owner {owner} as {format}: this user is not root"
    )]
    Owner {
        /// the file
        path: Utf8PathBuf,
        /// its permission bits
        mode: u32,
        /// its owner
        owner: Owner,
        /// the format
        format: Format,
    },
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
}

impl Hint for PackError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(missing) => missing.hint(),
            Self::Signing(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Compression { .. } => {
                Some("install a newer erofs-utils (zstd needs 1.8), or choose another compression".to_owned())
            }
            Self::Owner { .. } => Some(
                "build as root, exclude the file, or choose squashfs or ext4 (in a DDI, [pack] \
                 ddi-filesystem = \"squashfs\"), which need no root"
                    .to_owned(),
            ),
            Self::SignatureSize(_) => Some("sign with a smaller certificate".to_owned()),
            Self::NoNamespace(_) => Some(format!("{}, or choose another format", namespace::HINT)),
            Self::Layout { .. } => Some("use an older btrfs-progs, or choose another format".to_owned()),
            _ => None,
        }
    }
}
