// SPDX-License-Identifier: Apache-2.0
//! Extensions that were built before, taken apart: the `[[image]]` of a recipe.
//!
//! - `source`: what is taken, and what falls away
//! - [`releases()`]: for whom one says it is
//! - `partition`: the file system inside a disk image
//! - `unpack`: files out of file systems, without mounting them
//! - `erofs`, `btrfs_tree`: what these programs pass over in one; `marks`: an attribute
mod btrfs_tree;
mod erofs;
mod marks;
mod partition;
mod release;
mod source;
mod unpack;

pub use partition::PartitionError;
pub use release::releases;
pub use source::ImageError;
pub use unpack::UnpackImageError;

pub(super) use source::stage;
