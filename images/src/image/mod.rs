// SPDX-License-Identifier: Apache-2.0
//! A bootable disk image and its facts.
//!
//! - [`Image`]: opened by the contents of its disk
//! - [`Facts`]: the facts that the harness relies on
mod error;
mod facts;
mod open;

pub use error::ImageError;
pub use facts::{DiskFormat, Era, Facts};
pub use open::Image;
