// SPDX-License-Identifier: Apache-2.0
//! Extracts files from file systems, without mounting them and without root.
//!
//! The names in an image take effect only below the directory of the extraction. Two layers ensure that:
//!
//! - Names are checked before anything is written ([`FileSystemError::Name`]).
//! - The programs that extract files are confined to that directory ([`loadgauge_host::Confinement`]).
//!
//! Contents:
//!
//! - [`FileSystem`]: the kinds of file systems, identified by magic number
//! - [`FilePattern`] and [`Selection`]: the files to extract
//! - [`Tree`]: an extracted tree, whose links never lead out of it
//! - `list`: all entries of an image, with the check of their names
//! - `owners`: the files of an image that do not belong to root
//! - `ext`, `erofs`: readers of these formats
//! - `btrfs`, `squashfs`, `ext_extract`, `erofs_extract`: extraction
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
mod owners;
mod select;
mod squashfs;
mod tree;

pub use error::{FileSystemError, NameFault};
pub use kind::FileSystem;
pub use list::ExtendedAttribute;
pub use owners::FileOwner;
pub use select::{FilePattern, Selection};
pub use tree::Tree;
