// SPDX-License-Identifier: Apache-2.0
//! The file format of scenarios, their selection, and the plan: which machines, which artefacts,
//! in which order. `scenarios/README.md` is the reference of the format.
mod artefact;
mod builder;
mod catalogue;
mod compose;
mod definition;
mod format;
mod neighbours;
mod parse;
mod parse_machine;
mod parse_machines;
mod parse_parts;
mod parse_step;
mod plan;
mod problem;
mod requires;
mod select;
mod step;
mod view;

pub use artefact::Artefact;
pub use builder::builder;
pub use catalogue::{Catalogue, CatalogueError};
pub use compose::ComposeError;
pub use definition::{
    AuthorConfig, FileRequest, IgnitionRequest, LinkRequest, MachineRequest, Scenario, Source, SysextRequest,
    UnitRequest,
};
pub use parse::Surroundings;
pub use plan::{BuildFailure, Builder, Order, Plan, PlanError, Planned, PlannedMachine, Planner, Skipped};
pub use problem::{ParseError, Problem};
pub use requires::{Requires, VersionRange};
pub use select::{Pattern, SelectError, select};
pub use step::{PlannedStep, Step, StepKind, SwapRequest, expand};
pub(crate) use view::on;
pub use view::{CommandLine, PlanView};

#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod select_tests;
