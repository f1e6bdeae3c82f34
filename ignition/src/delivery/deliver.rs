// SPDX-License-Identifier: Apache-2.0
use super::error::DeliveryError;
use super::payload::{Delivered, Delivery, INLINE_MAXIMUM, Payload, PayloadKind};
use super::plan::Plan;
use super::{image, tree};

/// Writes the config that delivers an extension to a guest, and lists the files to serve for it.
///
/// `origin` is the URL of the harness's server in the guest, such as `http://10.0.2.100`. `threshold` is the
/// number of bytes of data URLs that [`Delivery::Auto`] may add to the config: `INLINE_LIMIT` without those of
/// the rest of the config.
///
/// # Errors
/// The name is not valid, a file cannot be read or has changed, a directory contains a file that Ignition
/// cannot create, or the extension is too large for [`Delivery::Inline`].
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

/// Checks that a name is one component of a path, and that systemd-sysext does not ignore it.
fn check_name(name: &str) -> Result<(), DeliveryError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+:~@".contains(c);
    let is_good = !name.is_empty()
        && !name.starts_with('.')
        && name.strip_suffix(".raw").is_none()
        && name.len() <= 200
        && name.chars().all(is_allowed);
    if is_good { Ok(()) } else { Err(DeliveryError::Name(name.to_owned())) }
}
