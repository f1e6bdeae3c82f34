// SPDX-License-Identifier: Apache-2.0
//! An extension that is one file.

use camino::Utf8Path;
use loadgauge_host::fs;
use sha2::{Digest as _, Sha512};

use super::error::DeliveryError;
use super::payload::{Delivered, Delivery, HowDelivered};
use super::plan::{IMAGES, Plan, inline_cost, link};
use crate::config::{Config, Contents, File};

pub(super) fn deliver(
    plan: &Plan<'_>,
    path: &Utf8Path,
    size: u64,
    sha512: &str,
) -> Result<Delivered, DeliveryError> {
    let metadata = fs::metadata(path)?;
    if metadata.len() != size {
        let found = metadata.len();
        return Err(DeliveryError::Size { path: path.to_owned(), expected: size, found });
    }
    let name = format!("{}.raw", plan.name);
    let fits = inline_cost(size) <= plan.limit;
    if plan.how == Delivery::Inline && !fits {
        return Err(DeliveryError::TooLarge { name: plan.name.to_owned(), size: inline_cost(size) });
    }
    let (contents, served, how) = if fits {
        (Contents::Inline(read_verified(path, sha512)?), Vec::new(), HowDelivered::Inline)
    } else {
        let (url, served) = plan.serve(path.to_owned(), &name, sha512.to_ascii_lowercase());
        let contents = Contents::Remote { url, sha512: served.sha512.clone() };
        (contents, vec![served], HowDelivered::Http)
    };
    let mut config = Config::new();
    config.file(File { path: format!("{IMAGES}/{name}").into(), mode: 0o644, contents, overwrite: true });
    config.link(link(IMAGES, &name));
    Ok(Delivered { config, served, how })
}

/// Reads a file and compares its digest, which the config does not contain for a data URL.
fn read_verified(path: &Utf8Path, expected: &str) -> Result<Vec<u8>, DeliveryError> {
    let bytes = fs::read(path)?;
    let found = hex::encode(Sha512::digest(&bytes));
    if !found.eq_ignore_ascii_case(expected) {
        return Err(DeliveryError::Changed { path: path.to_owned(), expected: expected.to_owned(), found });
    }
    Ok(bytes)
}
