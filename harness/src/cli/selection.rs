// SPDX-License-Identifier: Apache-2.0
use clap::Args;
use loadgauge_host::Store;

use super::Failure;
use super::catalogue_choice::CatalogueChoice;
use crate::scenario::{Scenario, select};

/// The arguments that select scenarios.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Scenarios: a name, a regular expression that matches whole names, `tag:NAME`, or a file `*.toml`
    /// [default: all of the catalogue]
    #[arg(value_name = "SCENARIO")]
    patterns: Vec<String>,
    #[command(flatten)]
    pub(super) catalogue: CatalogueChoice,
}

impl Selection {
    /// Reads the selected scenarios.
    pub(super) fn scenarios(&self, store: &Store) -> Result<Vec<Scenario>, Failure> {
        Ok(select(&self.catalogue.open(store)?, &self.patterns)?)
    }
}
