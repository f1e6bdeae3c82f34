// SPDX-License-Identifier: Apache-2.0
//! Whether the programs of an extension find the libraries they are linked with: the net under the
//! resolution of packages, which knows only what packages say of themselves.
//!
//! - [`Object`]: what one ELF file needs and offers
//! - [`Libraries`]: the shared libraries of a tree, and where its loader looks
//! - [`closure`]: what is missing
/// What is missing.
pub mod closure;
mod libraries;
mod object;

pub use closure::{Lack, Missing, missing};
pub use libraries::{Libraries, Library};
pub use object::{Object, ObjectError};
