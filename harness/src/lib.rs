// SPDX-License-Identifier: Apache-2.0
//! loadgauge builds system extensions, embeds them in a Flatcar image through Ignition, boots the image
//! under QEMU, and checks over SSH that they work.
//!
//! One folder per stage, in the order of the data:
//!
//! - [`scenario`]: the file format, selection, and the plan
//! - [`machine`]: QEMU, from command line to a running machine
//! - [`guest`]: the system inside a machine, over SSH
//! - [`check`]: one file per kind of check
//! - [`runner`]: executes a plan and emits events
//! - [`report`]: consumers of events
//! - [`cli`]: one file per subcommand
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests unwrap at once"))]
pub mod check;
pub mod cli;
pub mod guest;
pub mod machine;
pub mod report;
pub mod runner;
pub mod scenario;
