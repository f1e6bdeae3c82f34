// SPDX-License-Identifier: Apache-2.0
//! How an extension comes into a guest: what the config says of it, and what must be served for it.
//!
//! Nothing here knows how an extension was built. An image goes to `/opt/extensions/NAME.raw`, a
//! directory to `/var/lib/loadgauge/extensions/NAME`, and a link in `/etc/extensions` makes systemd-sysext find it; the
//! link replaces one of the same name that the vendor put there.
//!
//! A config travels over fw_cfg, which the guest's kernel reads in time that grows with the square of the
//! size (measured under TCG: 64 KiB 0.1 to 0.25 s, 256 KiB 0.5 to 0.9 s, 1 MiB 7.7 s). So what is small
//! goes `inline`, as a data URL, and what is large by `http` from the harness, with its SHA-512 in the
//! config and in the address.

mod error;
mod image;
mod tree;

use std::{fmt, str::FromStr};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

pub use error::DeliveryError;

use crate::{Config, Link, data_url};

/// How many bytes of data URLs a config may carry before [`Delivery::Auto`] chooses http, in all.
pub const INLINE_LIMIT: u64 = 64 * 1024;

/// How many bytes of data URLs an extension may have that is asked for `inline`.
pub const INLINE_MAXIMUM: u64 = 256 * 1024;

/// Where the images of extensions lie in a guest.
const IMAGES: &str = "/opt/extensions";

/// Where the extensions that are directories lie. Not below /opt: an extension with files for /opt would
/// then lie inside a layer of its own overlay, which the kernel refuses ("Too many levels of symbolic
/// links"), and nothing at all would be merged.
const DIRECTORIES: &str = "/var/lib/loadgauge/extensions";

/// Where systemd-sysext looks for them first.
const LINKS: &str = "/etc/extensions";

/// The way that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Delivery {
    /// By size: inline what fits under the threshold, http for the rest.
    #[default]
    Auto,
    /// Everything in the config.
    Inline,
    /// Everything that has contents from the harness's server.
    Http,
}

/// `text` is none of the words that stand for a [`Delivery`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no delivery `{text}`, expected `auto`, `inline` or `http`")]
pub struct UnknownDelivery {
    /// What was found.
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

/// An extension to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Name under which systemd-sysext shall find it, without `.raw`.
    pub name: String,
    /// What it is.
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
    /// A directory that holds `usr` or `opt`.
    Directory {
        /// The directory on the host.
        path: Utf8PathBuf,
    },
}

/// What has to happen for an extension to be in the guest.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivered {
    /// To be merged into the guest's config.
    pub config: Config,
    /// What the harness must serve at the origin, in the order of its addresses.
    pub served: Vec<Served>,
    /// Which way was taken.
    pub how: HowDelivered,
}

/// A file that the guest will ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Served {
    /// Path of the address, beginning with `/`, percent-encoded; the file's digest is a part of it, so
    /// that one server can serve any number of machines.
    pub url_path: String,
    /// The file on the host.
    pub file: Utf8PathBuf,
    /// SHA-512 of the file in hexadecimal, which the config demands of it.
    pub sha512: String,
}

/// The way that was taken, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HowDelivered {
    /// All of it is in the config.
    Inline,
    /// All files that it has come by http.
    Http,
    /// A directory whose large files come by http, and the others in the config.
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

/// Says how an extension comes into a guest.
///
/// `origin` is what the guest reaches the harness's server by, such as `http://10.0.2.100`. `threshold`
/// is how many bytes of data URLs [`Delivery::Auto`] may add to the config: [`INLINE_LIMIT`], less what
/// is there already.
///
/// Errors when the name is none for an extension, when a file cannot be read or is not what the payload
/// says of it, when a directory holds what Ignition cannot make, and when `inline` is asked of too much.
pub fn deliver(
    payload: &Payload,
    how: Delivery,
    origin: &str,
    threshold: u64,
) -> Result<Delivered, DeliveryError> {
    check_name(&payload.name)?;
    let limit = match how {
        Delivery::Auto => threshold,
        Delivery::Inline => INLINE_MAXIMUM,
        Delivery::Http => 0,
    };
    let plan = Plan { name: &payload.name, how, origin: origin.trim_end_matches('/'), limit };
    match &payload.kind {
        PayloadKind::Image { path, size, sha512 } => image::deliver(&plan, path, *size, sha512),
        PayloadKind::Directory { path } => tree::deliver(&plan, path),
    }
}

/// What was asked, in the form that both kinds of payload need.
struct Plan<'a> {
    name: &'a str,
    how: Delivery,
    origin: &'a str,
    /// Bytes of data URLs that the config may carry.
    limit: u64,
}

impl Plan<'_> {
    /// Where a file of this digest is served; the last part of its name is for people who read logs.
    fn serve(&self, file: Utf8PathBuf, name: &str, sha512: String) -> (String, Served) {
        let url_path = format!("/{sha512}/{}", escape(name));
        (format!("{}{url_path}", self.origin), Served { url_path, file, sha512 })
    }
}

/// The link by which systemd-sysext finds what lies at `name` in `store`.
fn link(store: &str, name: &str) -> Link {
    Link {
        path: format!("{LINKS}/{name}").into(),
        target: format!("{store}/{name}").into(),
        overwrite: true,
        hard: false,
    }
}

/// Escapes a file's name as one segment of a URL's path.
fn escape(name: &str) -> String {
    use fmt::Write as _;

    let mut escaped = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// A name must be one part of a path in the guest, and one that systemd-sysext does not pass over.
fn check_name(name: &str) -> Result<(), DeliveryError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+:~@".contains(c);
    let is_good = !name.is_empty()
        && !name.starts_with('.')
        && name.strip_suffix(".raw").is_none()
        && name.len() <= 200
        && name.chars().all(is_allowed);
    if is_good { Ok(()) } else { Err(DeliveryError::Name(name.to_owned())) }
}

/// What so many bytes cost inside a config, at the most.
fn inline_cost(size: u64) -> u64 {
    data_url::longest(size)
}

#[cfg(test)]
mod tests;
