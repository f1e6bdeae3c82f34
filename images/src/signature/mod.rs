// SPDX-License-Identifier: Apache-2.0
//! Verifies OpenPGP signatures of Flatcar's releases and of Debian's archives (RFC 9580).
//!
//! [`Keyring`] reads keys and verifies signatures. `policy` decides whether a key was allowed to sign at
//! the time of a signature.
mod error;
mod keyring;
mod policy;
mod signing_key;

pub use error::SignatureError;
pub use keyring::{Keyring, Verified};
pub use signing_key::{SigningError, SigningKey};
