// SPDX-License-Identifier: Apache-2.0
//! Debian packages: an archive, what goes with what, and what is in a package file.
//!
//! - [`Version`], [`relation`], `control`, `record`: the formats
//! - [`Index`]: the packages of a base and of an archive
//! - [`resolve()`]: which packages must be added to a base
//! - `archive` with `release`: the archive, its lists verified by its signature
//! - `deb`: package files
//! - `source`: the `[[debian]]` of a recipe
mod archive;
mod bringing;
mod control;
mod deb;
mod index;
mod record;
/// What packages say of each other.
pub mod relation;
mod release;
mod resolve;
mod solution;
mod source;
mod version;

pub use archive::{DebianArchiveError, Package};
pub use deb::{Unpacked, unpack as unpack_package};
pub use index::{Index, IndexError};
pub use record::{Record, RecordError};
pub use resolve::{ResolveError, Universe, resolve};
pub use solution::{Added, Amiss, Present, Reason, Solution, Unsatisfiable};
pub use source::{DebianError, Groups};
pub use version::{Version, VersionError};

pub(super) use bringing::bringing;
pub(super) use source::{Resolved, list, resolve_recipe, stage};
