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
//! - [`FileMetadata`]: a file in the list of an image, the same for every format
//! - [`FileOwner`]: a file that does not belong to root
//! - `list`: all entries of an image, with the check of their names
//! - `ext`, `erofs`, `squashfs`, `btrfs`: readers of the formats
//! - `ext_extract`, `erofs_extract`, `squashfs_extract`, `btrfs_extract`: extraction
//! - `extracted`: checks what programs extracted
mod btrfs;
mod btrfs_extract;
mod bytes;
mod erofs;
mod erofs_extract;
mod error;
mod ext;
mod ext_extract;
mod extract;
mod extracted;
mod kind;
mod list;
mod metadata;
mod owners;
mod select;
mod squashfs;
mod squashfs_extract;
mod tree;

pub use error::{FileSystemError, NameFault};
pub use kind::FileSystem;
pub use list::ExtendedAttribute;
pub use metadata::{FileKind, FileMetadata};
pub(crate) use metadata::{describe_directory, resolve};
pub use owners::FileOwner;
pub use select::{FilePattern, Selection};
pub use tree::Tree;
