// SPDX-License-Identifier: Apache-2.0
//! GUID partition tables, read and written: UEFI specification 2.10, chapter 5, for sectors of 512 bytes.
//!
//! The crates do not fit foreign disks: `gpt` reads as many entries as a header claims and accepts
//! partitions that overlap, `gptman` brings two frameworks of procedural macros.
//!
//! - `Table` and [`Partition`]: read from a disk
//! - [`table_bytes`]: written, from [`NewPartition`]s
mod root;
mod table;
mod write;

pub(crate) use root::find_root;
pub use table::{Choice, Partition};
pub(crate) use table::{SECTOR, Table};
pub use write::{HEAD, NewPartition, SECTOR_SIZE, TAIL, table_bytes};
