// SPDX-License-Identifier: Apache-2.0
//! OpenPGP signatures: of Flatcar's releases, and of Debian's archives.
//!
//! [`Keyring`] reads keys and verifies what they signed; `policy` says whether a key could sign at
//! that time. Formats: RFC 9580.
mod error;
mod keyring;
mod policy;
mod signing_key;

pub use error::SignatureError;
pub use keyring::{Keyring, Verified};
pub use signing_key::{SigningError, SigningKey};
