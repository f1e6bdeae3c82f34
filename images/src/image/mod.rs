// SPDX-License-Identifier: Apache-2.0
//! A bootable disk image and what is known of it.
//!
//! - [`Image`]: opened by what its disk says
//! - [`Facts`]: what the harness may rely on
mod error;
mod facts;
mod open;

pub use error::ImageError;
pub use facts::{DiskFormat, Era, Facts};
pub use open::Image;

pub(crate) use error::io;
