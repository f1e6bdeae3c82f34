// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::payload::{Delivery, Served};
use crate::{config::Link, data_url};

/// The characters that are escaped in a segment of a URL's path: all but the unreserved ones (RFC 3986).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The directory of extension images in a guest.
pub(super) const IMAGES: &str = "/opt/extensions";

/// The directory of extensions that are directories. It is not below /opt: there an extension with files for
/// /opt would be inside a layer of its own overlay, which the kernel refuses ("Too many levels of symbolic
/// links"), and no extension would be merged.
pub(super) const DIRECTORIES: &str = "/var/lib/loadgauge/extensions";

/// The first directory in which systemd-sysext searches for extensions.
pub(super) const LINKS: &str = "/etc/extensions";

/// The request, as both forms of extensions need it.
pub(super) struct Plan<'a> {
    pub(super) name: &'a str,
    pub(super) how: Delivery,
    pub(super) origin: &'a str,
    /// the limit of data URLs in bytes
    pub(super) limit: u64,
}

impl Plan<'_> {
    /// The URL of a file, which contains its digest; the name in it is for people who read logs.
    pub(super) fn serve(&self, file: Utf8PathBuf, name: &str, sha512: String) -> (String, Served) {
        served_contents(file, name, sha512, self.origin)
    }
}

/// The URL of a file at the harness's server.
pub(crate) fn served_contents(
    file: Utf8PathBuf,
    name: &str,
    sha512: String,
    origin: &str,
) -> (String, Served) {
    let url_path = format!("/{sha512}/{}", utf8_percent_encode(name, SEGMENT));
    (format!("{}{url_path}", origin.trim_end_matches('/')), Served { url_path, file, sha512 })
}

/// The link with which systemd-sysext finds the extension `name` in the directory `store`.
pub(super) fn link(store: &str, name: &str) -> Link {
    Link {
        path: format!("{LINKS}/{name}").into(),
        target: format!("{store}/{name}").into(),
        overwrite: true,
        hard: false,
    }
}

/// The most bytes that contents of a size take in a config.
pub(super) fn inline_cost(size: u64) -> u64 {
    data_url::longest(size)
}
