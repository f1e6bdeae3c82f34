// SPDX-License-Identifier: Apache-2.0
//! The files about an extension that are written beside it: lists in the formats of Flatcar's SDK, a bill
//! of materials and a provenance statement.
//!
//! | file | contents |
//! |---|---|
//! | `NAME_contents.txt`, `NAME_contents_wtd.txt` | every file: for people and for `diff`; with inode numbers |
//! | `NAME_disk_usage.txt` | its size |
//! | `NAME_packages.txt` | the packages in it |
//! | `NAME_pkginfo.raw` | the database of these packages, as a squashfs |
//! | `NAME.spdx.json` | its bill of materials |
//! | `NAME.provenance.json` | its inputs |
//! | `NAME.conf` | the transfer file of systemd-sysupdate, where the recipe has `[publish]` |
//! | `SHA256SUMS` | digests of all these files |
//!
//! All of them depend on the inputs alone: times are the extension's epoch, identifiers are derived.
mod component;
mod contents;
mod disk_usage;
mod error;
mod files;
mod input;
mod pkginfo;
mod provenance;
mod sbom;
mod subject;
mod sums;
mod transfer;

pub use component::{Component, Ecosystem};
pub use error::DescribeError;
pub use sums::merge as merge_sums;

pub(super) use contents::Listing;
pub(super) use files::{Details, write};
pub(super) use input::Input;
pub(super) use subject::Subject;
