// SPDX-License-Identifier: Apache-2.0
//! Whether the dynamic loader resolves the libraries that the programs of an extension need.
//!
//! Packages declare their dependencies, and the resolution relies on that; this checks the result.
//!
//! - [`Object`]: the dependencies and symbol versions of one ELF file
//! - [`Libraries`]: the shared libraries of a tree, and the search path of its loader
//! - [`index`]: the libraries of a base, read once and stored
//! - [`unresolved()`]: libraries that the loader does not find
/// The libraries of a base.
pub mod index;
mod libraries;
mod object;
mod unresolved;

pub use index::IndexError;
pub use libraries::{Libraries, Library};
pub(super) use object::MAGIC;
pub use object::{Dlopen, Object, ObjectError};
pub use unresolved::{UnresolvedLibrary, UnresolvedReason, unresolved};
