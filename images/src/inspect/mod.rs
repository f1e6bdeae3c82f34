// SPDX-License-Identifier: Apache-2.0
//! What an image is, read from its disk without booting or mounting it.
//!
//! - [`Inspected`]: a path, looked into; [`Inspection`]: everything that a disk and its partitions tell
//! - `locate`, `surroundings`, `packages`, `base`: the disk that a path means, and the files of its
//!   release that lie beside it
//! - `disk`, `table`, `verity`: the bytes of a disk, its partitions, and the hash tree behind /usr
//! - `file_system`, `ext`, `esp`: files taken out of file systems by the programs that belong to them
//! - `contents`, `extension`: what those files say
//! - `identity`: digests of large files, each computed once
mod base;
mod contents;
mod disk;
mod esp;
mod ext;
mod extension;
mod file_system;
mod identity;
mod inspected;
mod inspection;
mod locate;
mod packages;
mod read;
mod surroundings;
mod table;
mod verity;

pub use esp::Esp;
pub use extension::VendorExtension;
pub use file_system::FileSystem;
pub use inspected::Inspected;
pub use inspection::Inspection;
pub use read::verify_usr;
pub use table::{Choice, Partition};
pub use verity::HashTree;
