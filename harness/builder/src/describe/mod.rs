// SPDX-License-Identifier: Apache-2.0
//! What is written about an extension, beside it: lists in the forms of Flatcar's SDK, and the
//! documents that others judge it by.
//!
//! | file | what it says |
//! |---|---|
//! | `NAME_contents.txt`, `NAME_contents_wtd.txt` | every file, for people and for `diff`; with identities of files |
//! | `NAME_disk_usage.txt` | how large it is |
//! | `NAME_packages.txt` | the packages in it |
//! | `NAME_pkginfo.raw` | the package database of what it adds, as a squashfs |
//! | `NAME.spdx.json` | its bill of materials |
//! | `NAME.provenance.json` | what it was made from |
//! | `NAME.conf` | how systemd-sysupdate fetches it, where the recipe says from where |
//! | `SHA256SUMS` | digests of all of these |
//!
//! All of it is decided by the inputs: times are the extension's epoch, identifiers are derived.
mod component;
mod contents;
mod disk_usage;
mod error;
mod pkginfo;
mod provenance;
mod sbom;
mod sums;
mod transfer;
mod write;

pub use component::{Component, Ecosystem};
pub use error::DescribeError;
pub use sums::merge as merge_sums;

pub(super) use contents::Listing;
pub(super) use provenance::Input;
pub(super) use write::{Material, Subject, write};
