// SPDX-License-Identifier: Apache-2.0
//! Files read out of file systems, without mounting them and without root.
//!
//! An image decides over names only below the directory that it is extracted to. Two layers ensure that:
//! names are checked before anything is written ([`FileSystemError::Name`]), and the programs that
//! extract files are confined to that directory ([`loadgauge_host::Confinement`]).
//!
//! - [`FileSystem`]: identified by its magic number, and extracted
//! - [`FilePattern`] and [`Selection`]: the files to extract
//! - [`Tree`]: an extracted tree, whose links never lead out of it
//! - `list`: all entries of an image, with the check of their names
//! - `ext`, `erofs`: readers of these formats; `btrfs`, `squashfs`, `ext_extract`: extraction
mod btrfs;
mod btrfs_tree;
mod bytes;
mod erofs;
mod erofs_extract;
mod error;
mod ext;
mod ext_extract;
mod extract;
mod kind;
mod list;
mod select;
mod squashfs;
mod tree;

pub use error::{FileSystemError, NameFault};
pub use kind::FileSystem;
pub use list::ExtendedAttribute;
pub use select::{FilePattern, Selection};
pub use tree::Tree;
