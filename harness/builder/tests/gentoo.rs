// SPDX-License-Identifier: Apache-2.0
//! Gentoo's binary packages, against the real Portage.
//!
//! `tests/gentoo/fetch-portage.sh DIRECTORY` installs it, and `LOADGAUGE_PORTAGE` names the
//! directory. Without it these tests fail, since an oracle that is not asked proves nothing.
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
