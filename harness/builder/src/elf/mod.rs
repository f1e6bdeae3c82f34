// SPDX-License-Identifier: Apache-2.0
//! Whether the programs of an extension find the libraries they are linked with: the net under the
//! resolution of packages, which knows only what packages say of themselves.
//!
//! - [`Object`]: what one ELF file needs and offers
//! - [`Libraries`]: the shared libraries of a tree, and where its loader looks
//! - [`index`]: those of a base, read once
//! - [`closure`]: what is missing
/// What is missing.
pub mod closure;
/// The libraries of a base.
pub mod index;
mod libraries;
mod object;

pub use closure::{Lack, Missing, missing};
pub use index::IndexError;
pub use libraries::{Libraries, Library};
pub(super) use object::MAGIC;
pub use object::{Dlopen, Object, ObjectError};
