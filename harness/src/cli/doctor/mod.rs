// SPDX-License-Identifier: Apache-2.0
//! `loadgauge doctor`: checks the tools and resources of this host.
mod command;
mod finding;
mod host;
mod tools;

pub(super) use command::{DoctorArguments, run};
