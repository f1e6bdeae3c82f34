// SPDX-License-Identifier: Apache-2.0
//! Typed Ignition configs: composes, merges and validates them, reads Butane, and writes JSON for a guest.
//!
//! Every [`Config`] is of specification 3.3.0, which each Flatcar release since 3185 and Debian's Ignition
//! accept. It uses the types of the crate `ignition-config`, which do not check values: [`Config::validate`]
//! checks paths, modes, digests and names, and [`Config::merge`] finds contradictions between two configs.
//!
//! ```
//! use loadgauge_ignition::{Config, Contents, File, User};
//!
//! let mut config = Config::new();
//! config.user(User { name: "core".into(), ssh_keys: vec!["ssh-ed25519 AAAA".into()], ..User::default() });
//! config.file(File {
//!     path: "/etc/motd".into(),
//!     mode: 0o644,
//!     contents: Contents::Inline(b"hello\n".to_vec()),
//!     overwrite: true,
//! });
//! assert!(config.validate().is_empty());
//! ```
//!
//! Sources: the specification (<https://coreos.github.io/ignition/configuration-v3_3/>) and Ignition's own
//! validation (`config/v3_3/types` in `coreos/ignition`), with which the tests compare this crate.
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests unwrap at once"))]

mod author;
mod butane;
mod config;
mod data_url;
pub mod delivery;
mod json;
mod merge;
mod parse;
mod validate;

pub use author::{Written, WrittenKind};
pub use butane::{ButaneCause, ButaneError};
pub use config::{Config, Contents, Directory, Dropin, File, Link, UPDATE_UNITS, Unit, User, mask_updates};
pub use merge::Conflict;
pub use parse::{ParseCause, ParseError};
pub use validate::{Problem, Severity};
