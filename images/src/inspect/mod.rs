// SPDX-License-Identifier: Apache-2.0
//! Images inspected without booting or mounting them.
//!
//! - [`Inspected`]: a path and its [`Inspection`], everything that a disk and its partitions contain
//! - `locate`, `release_files`, `package_list`, `base`: the disk that a path leads to, and the files of its
//!   release next to it
//! - `esp`, `contents`, `extension`: what the files of the partitions say
//! - `disk_digest`: digests of large files, each computed once
mod base;
mod contents;
mod disk_digest;
mod esp;
mod extension;
mod inspected;
mod inspection;
mod locate;
mod package_list;
mod read;
mod release_files;

pub use crate::file_system::FileSystem;
pub use crate::gpt::{Choice, Partition};
pub use crate::verity::HashTree;
pub use esp::Esp;
pub use extension::VendorExtension;
pub use inspected::Inspected;
pub use inspection::Inspection;
pub use read::verify_usr;
