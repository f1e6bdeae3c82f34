// SPDX-License-Identifier: Apache-2.0
//! The command line: one file per subcommand, with its arguments and what it does.
//!
//! `command` lists the subcommands. Arguments that several of them take are structs of their own
//! (`image_choice`, `machine_choice`, `selection`, ...). Data goes to standard output, everything else
//! to standard error.
mod boot;
mod build;
mod built_images;
mod catalogue_choice;
mod command;
mod compare_warm_cold;
mod context;
mod detached;
mod doctor;
mod entry;
mod execution;
mod exit;
mod exit_codes;
mod failure;
mod format_choice;
mod ignition;
mod image;
mod image_choice;
mod keep;
mod list;
mod logging;
mod machine_choice;
mod one_of;
mod output;
mod parent;
mod plan;
mod plan_inputs;
mod relay;
mod report;
mod run;
mod runtime;
mod schedule;
mod selection;
mod signals;
mod snapshot;
mod start;
mod stop;
mod try_extension;

pub use entry::main;

use exit::Exit;
use failure::Failure;
