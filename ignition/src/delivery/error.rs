// SPDX-License-Identifier: Apache-2.0
//! Why an extension cannot be delivered.

use loadgauge_host::Hint;
use std::io;

use camino::Utf8PathBuf;

use super::INLINE_MAXIMUM;

/// Why an extension cannot be delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The name cannot be that of an extension.
    #[error("`{0}` is no name for an extension")]
    Name(String),
    /// Something of it cannot be read.
    #[error("`{path}` cannot be read")]
    Read {
        /// What cannot be read.
        path: Utf8PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The image is not what it is said to be: it was changed after it was measured.
    #[error("`{path}` has the SHA-512 `{found}`, expected `{expected}`")]
    Changed {
        /// The image.
        path: Utf8PathBuf,
        /// The digest that was said.
        expected: String,
        /// The digest of what is there.
        found: String,
    },
    /// The image has not the size that it is said to have: it was changed after it was measured.
    #[error("`{path}` has {found} bytes, expected {expected}")]
    Size {
        /// The image.
        path: Utf8PathBuf,
        /// The size that was said.
        expected: u64,
        /// The size that it has.
        found: u64,
    },
    /// `inline` was asked of more than a config can carry.
    #[error(
        "`{name}` would add {size} bytes to the config, and {INLINE_MAXIMUM} are the most that is delivered inline"
    )]
    TooLarge {
        /// The extension.
        name: String,
        /// Bytes of data URLs.
        size: u64,
    },
    /// Something that Ignition cannot make: a device, a socket, a pipe.
    #[error("`{0}` is neither a file, a directory nor a symbolic link")]
    Kind(Utf8PathBuf),
    /// Bits of a mode that Ignition of specification 3.3.0 loses.
    #[error("`{path}` has the mode {mode:#06o}, and Ignition loses its set-id and sticky bits")]
    SpecialBits {
        /// What has the mode.
        path: Utf8PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// File capabilities, which a config cannot express.
    #[error("`{0}` has file capabilities, which Ignition cannot set")]
    Capabilities(Utf8PathBuf),
    /// A name that is not UTF-8, as JSON must be.
    #[error("`{0}` is not named in UTF-8")]
    Encoding(String),
    /// A directory that is not one.
    #[error("`{0}` is no directory")]
    NoDirectory(Utf8PathBuf),
}

impl Hint for DeliveryError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(name) if name.strip_suffix(".raw").is_some() => {
                Some("leave out `.raw`: it is added where the file is written".to_owned())
            }
            Self::Name(_) => Some("use letters, digits and `-_.+:~@`, and begin with none of `.`".to_owned()),
            Self::TooLarge { .. } => Some(
                "deliver it by `http` or `auto`: the guest reads a config of 1 MiB in 8 seconds, and of 10 MiB in minutes"
                    .to_owned(),
            ),
            Self::Changed { .. } | Self::Size { .. } => Some("build the extension again, or say its new size and digest".to_owned()),
            Self::Kind(_) | Self::SpecialBits { .. } | Self::Capabilities(_) => {
                Some("build the extension as an image, which keeps it".to_owned())
            }
            Self::Read { .. } | Self::Encoding(_) | Self::NoDirectory(_) => None,
        }
    }
}
