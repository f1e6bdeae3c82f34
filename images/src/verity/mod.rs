// SPDX-License-Identifier: Apache-2.0
//! The hash tree of dm-verity: blocks of 4096 bytes, SHA-256, the salt before the data.
//!
//! The layout is that of the kernel's `Documentation/admin-guide/device-mapper/verity.rst` and, for the
//! superblock, of cryptsetup's "DMVerity" specification; the tests compare both directions with
//! veritysetup(8).
//!
//! - [`HashTree`]: read from a disk and verified; [`HashArea`]: computed over a file
//! - `superblock`: its fields, read and written; `hash`: the digest of a block
//! - `root_hash`: the root hash in a kernel or a text
mod format;
mod hash;
mod root_hash;
mod superblock;
mod tree;

pub use format::{HashArea, Parameters, hash_area};
pub use hash::BLOCK;
pub use tree::HashTree;

pub(crate) use root_hash::{in_kernel, parse as parse_root_hash};
