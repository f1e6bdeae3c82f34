// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_host::{FileError, Hint};

use super::payload::INLINE_MAXIMUM;

/// An extension that cannot be delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The name is not valid.
    #[error("`{0}` is not a valid name for an extension")]
    Name(String),
    /// A file of it cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The image was changed after its digest was computed.
    #[error("`{path}` has SHA-512 {found}, expected {expected}")]
    Changed {
        /// The image.
        path: Utf8PathBuf,
        /// The expected digest.
        expected: String,
        /// The digest of the file.
        found: String,
    },
    /// The image was changed after its size was read.
    #[error("`{path}` has {found} bytes, expected {expected}")]
    Size {
        /// The image.
        path: Utf8PathBuf,
        /// The expected size in bytes.
        expected: u64,
        /// The size of the file in bytes.
        found: u64,
    },
    /// The extension is too large for `inline`.
    #[error(
        "`{name}` would add {size} bytes to the config, the limit of inline delivery is {INLINE_MAXIMUM}"
    )]
    TooLarge {
        /// The extension.
        name: String,
        /// Bytes of data URLs.
        size: u64,
    },
    /// A file that Ignition cannot create: a device, a socket, a pipe.
    #[error("`{0}` is neither a file, a directory nor a symbolic link")]
    Kind(Utf8PathBuf),
    /// Mode bits that Ignition of specification 3.3.0 loses.
    #[error("`{path}` has the mode {mode:#06o}, whose set-ID and sticky bits Ignition would lose")]
    SpecialBits {
        /// The file.
        path: Utf8PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// File capabilities, which a config cannot express.
    #[error("`{0}` has file capabilities, which Ignition cannot set")]
    Capabilities(Utf8PathBuf),
    /// A name that is not UTF-8, which JSON requires.
    #[error("the name `{0}` is not UTF-8")]
    Encoding(String),
    /// The path is not a directory.
    #[error("`{0}` is not a directory")]
    NoDirectory(Utf8PathBuf),
}

impl Hint for DeliveryError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(name) if name.strip_suffix(".raw").is_some() => {
                Some("leave out `.raw`: the file name gets it".to_owned())
            }
            Self::Name(_) => Some("use letters, digits and `-_.+:~@`, and do not start with a dot".to_owned()),
            Self::TooLarge { .. } => Some(
                "use `http` or `auto`: a guest needs 8 seconds to read a config of 1 MiB, and minutes for 10 MiB"
                    .to_owned(),
            ),
            Self::Changed { .. } | Self::Size { .. } => Some("build the extension again".to_owned()),
            Self::Kind(_) | Self::SpecialBits { .. } | Self::Capabilities(_) => {
                Some("build the extension as an image".to_owned())
            }
            Self::File(error) => error.hint(),
            Self::Encoding(_) | Self::NoDirectory(_) => None,
        }
    }
}
