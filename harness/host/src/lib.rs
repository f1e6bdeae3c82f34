// SPDX-License-Identifier: Apache-2.0
//! What loadgauge needs of its host.
//!
//! - [`Tool`] and [`CommandExt`]: external programs, with their messages in the errors
//! - [`Confinement`]: programs that read foreign bytes, confined to the files that they need
//! - [`children`] and [`Scratch`]: child processes and temporary files, which end with this process
//! - [`Store`]: artefacts under the digest of their inputs, with locks and pruning
//! - [`digest`] and [`cached_digest`]: SHA-256 and SHA-512 of files and of lists of inputs
//! - [`fs`] and [`FileError`]: the file system, with errors that name the operation and the file
//! - [`error`]: hints and chains of causes
//! - [`Problem`] and [`problem`]: errors at a place in a file that the user wrote
//! - [`toml_keys`]: the keys of a TOML format with their types, and the errors of its values
//! - [`quantity`]: durations and sizes as people write them
//! - [`suggest`]: "did you mean"
//! - [`environment`]: every environment variable that changes what loadgauge does
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests unwrap at once"))]
mod cached_digest;
pub mod children;
mod command;
mod confinement;
pub mod digest;
pub mod environment;
pub mod error;
mod file;
pub mod fs;
pub mod problem;
mod prune;
pub mod quantity;
mod quote;
pub mod scratch;
mod store;
pub mod suggest;
pub mod toml_keys;
pub mod toml_syntax;
mod tool;

pub use cached_digest::{Algorithm, cached_digest};
pub use command::{CommandError, CommandExt};
pub use confinement::Confinement;
pub use error::Hint;
pub use file::FileError;
pub use problem::Problem;
pub use prune::{Bounds, StoredEntry};
pub use quote::quote;
pub use scratch::Scratch;
pub use store::{Entry, EntryInUse, Store, StoreError, TryEntry, Vacancy};
pub use tool::{MissingTool, Tool};
