// SPDX-License-Identifier: Apache-2.0
use std::{fmt, str::FromStr};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::plan::LINKS;
use crate::config::Config;

/// The limit of all data URLs of a config in bytes, above which [`Delivery::Auto`] uses http.
pub const INLINE_LIMIT: u64 = 64 * 1024;

/// The limit of the data URLs of an extension with [`Delivery::Inline`], in bytes.
pub const INLINE_MAXIMUM: u64 = 256 * 1024;

/// The requested transport of an extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Delivery {
    /// By size: inline up to the threshold, http for the rest.
    #[default]
    Auto,
    /// All files in the config.
    Inline,
    /// All files with contents from the harness's server.
    Http,
}

/// A text that is not the name of a [`Delivery`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a delivery, expected `auto`, `inline` or `http`")]
pub struct UnknownDelivery {
    /// The text.
    pub text: String,
}

impl FromStr for Delivery {
    type Err = UnknownDelivery;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "inline" => Ok(Self::Inline),
            "http" => Ok(Self::Http),
            _ => Err(UnknownDelivery { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::Inline => "inline",
            Self::Http => "http",
        })
    }
}

/// An extension that is delivered to a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its name in systemd-sysext, without `.raw`.
    pub name: String,
    /// Its form.
    pub kind: PayloadKind,
}

/// The two forms of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// A file: squashfs, erofs, ext4, btrfs, or a disk image.
    Image {
        /// The file on the host.
        path: Utf8PathBuf,
        /// Its size in bytes.
        size: u64,
        /// Its SHA-512 in hexadecimal.
        sha512: String,
    },
    /// A directory that contains `usr` or `opt`.
    Directory {
        /// The directory on the host.
        path: Utf8PathBuf,
    },
}

/// The config and the files that deliver an extension to a guest.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivered {
    /// The part of the guest's config.
    pub config: Config,
    /// The files that the harness serves at the origin, in the order of their URLs.
    pub served: Vec<Served>,
    /// The transport that was used.
    pub how: HowDelivered,
}

impl Delivered {
    /// The same extension with its image at another path, to which the link of the author's config leads.
    #[must_use]
    pub fn at(mut self, target: &Utf8Path) -> Self {
        if let Some(storage) = &mut self.config.0.storage {
            storage.links = None;
            for file in storage.files.iter_mut().flatten() {
                target.as_str().clone_into(&mut file.path);
            }
        }
        self
    }
}

/// The path of the link with which systemd-sysext finds the image of an extension.
pub fn image_link(name: &str) -> Utf8PathBuf {
    format!("{LINKS}/{name}.raw").into()
}

/// A file that the guest fetches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Served {
    /// The percent-encoded path of its URL, beginning with `/`. It contains the file's digest, so that one
    /// server can serve any number of machines.
    pub url_path: String,
    /// The file on the host.
    pub file: Utf8PathBuf,
    /// SHA-512 of the file in hexadecimal, which the config requires.
    pub sha512: String,
}

/// The transport that was used, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HowDelivered {
    /// All files are in the config.
    Inline,
    /// All files are fetched by http.
    Http,
    /// The large files of a directory are fetched by http, the others are in the config.
    Mixed,
}

impl fmt::Display for HowDelivered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Inline => "inline",
            Self::Http => "http",
            Self::Mixed => "inline and http",
        })
    }
}
