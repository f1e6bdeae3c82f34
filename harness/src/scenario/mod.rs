// SPDX-License-Identifier: Apache-2.0
//! The file format of scenarios, their selection, and the plan: machines, extensions and steps.
//! `scenarios/README.md` is the reference of the format.
//!
//! - [`Catalogue`] and [`select`]: scenario files, by name, tag or path
//! - [`Scenario`]: the content of a scenario file, or the same as a value from [`Scenario::new`]
//! - [`Planner`] and [`Plan`]: everything that a run will do, before anything is booted
mod catalogue;
mod compose;
mod definition;
mod directory_recipe;
mod extension_builder;
mod guest_warnings;
mod id;
mod keys;
mod origin;
mod parse;
mod parse_context;
mod parse_machine;
mod parse_machines;
mod parse_parts;
mod parse_step;
mod peer_config;
mod plan;
mod plan_error;
mod planned_extension;
mod planner;
mod problems;
mod requires;
mod select;
mod senseless;
mod step;
mod toml_values;
mod view;

pub use catalogue::{Catalogue, CatalogueError};
pub use compose::{ComposeError, KeepFile, keep_file};
pub use definition::{
    AuthorConfig, FileRequest, IgnitionRequest, LinkRequest, MachineRequest, Scenario, Source, SysextRequest,
    UnitRequest,
};
pub use extension_builder::{BuildFailure, BuildRequest, Builder, builder};
pub use id::{ScenarioId, Variant};
pub use origin::Origin;
pub use parse_context::ParseContext;
pub use parse_machine::{parse_cpus, parse_memory};
pub use parse_parts::parse_extension_name;
pub(crate) use plan::with_machine_name;
pub use plan::{Plan, PlannedMachine, PlannedScenario, Skipped};
pub use plan_error::PlanError;
pub use planned_extension::PlannedExtension;
pub use planner::{ChooseStarts, Planner};
pub use problems::ParseError;
pub use requires::{Requires, VersionRange};
pub use select::{SelectError, select};
pub use step::{PlannedStep, Step, StepKind, SwapRequest};
pub use view::{CommandLine, PlanView};

#[cfg(test)]
mod keys_tests;
#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod select_tests;
