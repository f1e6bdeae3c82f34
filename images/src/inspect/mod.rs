// SPDX-License-Identifier: Apache-2.0
//! What an image is, read from its disk without booting or mounting it.
//!
//! - [`inspect()`]: a disk, and everything that its partitions tell
//! - `disk`, `table`, `verity`: the bytes of a disk, its partitions, and the hash tree behind /usr
//! - `file_system`, `ext`, `esp`: files taken out of file systems by the programs that belong to them
//! - `contents`, `extension`: what those files say
mod contents;
mod disk;
mod error;
mod esp;
mod ext;
mod extension;
mod file_system;
mod inspection;
mod read;
mod table;
mod verity;

pub use error::InspectError;

pub use esp::Esp;
pub use extension::VendorExtension;
pub use file_system::FileSystem;
pub use inspection::Inspection;
pub use read::inspect;
pub use read::verify_usr;
pub use table::{Choice, Partition};
pub use verity::HashTree;
