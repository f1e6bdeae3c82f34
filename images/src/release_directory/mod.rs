// SPDX-License-Identifier: Apache-2.0
//! A directory as a release server has it: an image, what belongs to it, and what each file can be
//! verified by.
//!
//! - [`Digests`]: the list of a file's digests
//! - [`finish()`]: writes what a directory lacks that has an image and its parts
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

/// The public half of the key that a directory was signed by which is none of Flatcar's, for who wants
/// to verify it.
pub const TEST_KEY: &str = "test-signing-key.asc";
