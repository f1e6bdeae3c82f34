// SPDX-License-Identifier: Apache-2.0
//! The file format of scenarios, their selection, and the plan: which machines, which artefacts,
//! in which order. `scenarios/README.md` is the reference of the format.
mod catalogue;
mod definition;
mod format;
mod parse;
mod parse_parts;
mod parse_step;
mod problem;
mod quantity;
mod requires;
mod select;
mod step;
mod suggest;

pub use catalogue::{Catalogue, CatalogueError};
pub use definition::{
    AuthorConfig, FileRequest, IgnitionRequest, LinkRequest, Scenario, Source, SysextRequest, UnitRequest,
};
pub use parse::Surroundings;
pub use problem::{ParseError, Problem};
pub use requires::{Requires, VersionRange};
pub use select::{Pattern, SelectError, select};
pub use step::{PlannedStep, Step, StepKind, expand};

#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod select_tests;
