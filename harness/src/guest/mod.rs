// SPDX-License-Identifier: Apache-2.0
//! The system inside a machine, reached over SSH.
mod command;

pub use command::{Command, Exit, Output};
