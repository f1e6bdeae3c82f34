// SPDX-License-Identifier: Apache-2.0
//! Compares the handling of Gentoo's binary packages with Portage.
//!
//! `tests/gentoo/fetch-portage.sh DIRECTORY` installs Portage, and `LOADGAUGE_PORTAGE` names the directory.
//! The tests fail without it, so that a run without Portage does not pass.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
#[path = "gentoo/build.rs"]
mod build;
#[path = "gentoo/language.rs"]
mod language;
#[path = "gentoo/oracle.rs"]
mod oracle;
#[path = "gentoo/random.rs"]
mod random;
#[path = "gentoo/resolution.rs"]
mod resolution;
#[path = "gentoo/server.rs"]
mod server;
#[path = "gentoo/speed.rs"]
mod speed;
