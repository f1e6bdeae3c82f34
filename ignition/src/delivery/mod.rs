// SPDX-License-Identifier: Apache-2.0
//! The delivery of an extension to a guest: its part of the config, and the files that are served for it.
//!
//! The delivery does not depend on how an extension was built. An image goes to `/opt/extensions/NAME.raw`, a
//! directory to `/var/lib/loadgauge/extensions/NAME`. systemd-sysext finds either through a link in
//! `/etc/extensions`, which replaces a link of the vendor with the same name.
//!
//! A config is passed over fw_cfg, which the guest's kernel reads in a time that grows with the square of the
//! size (measured under TCG: 64 KiB 0.1 to 0.25 s, 256 KiB 0.5 to 0.9 s, 1 MiB 7.7 s). Small files are
//! therefore `inline`, as data URLs, and large ones are fetched by `http` from the harness, with their SHA-512
//! in the config and in the URL.

mod deliver;
mod error;
mod image;
mod payload;
mod plan;
mod tree;

pub use deliver::deliver;
pub use error::DeliveryError;
pub use payload::{
    Delivered, Delivery, HowDelivered, INLINE_LIMIT, INLINE_MAXIMUM, Payload, PayloadKind, Served,
    UnknownDelivery, image_link,
};
pub(crate) use plan::served_contents;

#[cfg(test)]
mod tests;
