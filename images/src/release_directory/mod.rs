// SPDX-License-Identifier: Apache-2.0
//! Completes and verifies release directories: an image, its parts, and digests and signatures of each
//! file.
//!
//! - [`Digests`]: the list of a file's digests
//! - [`finish()`]: completes a directory that contains an image and its parts
//! - [`verify()`]: compares files with their digests and signatures
mod digests;
mod error;
mod finish;
mod lists;
mod verify;

pub use digests::{Digests, DigestsError};
pub use error::ReleaseDirectoryError;
pub use finish::{Description, finish};
pub use verify::{FileVerdict, VerificationResult, verify};

/// The file with the public key of a directory that Flatcar did not sign.
pub const TEST_KEY: &str = "test-signing-key.asc";
