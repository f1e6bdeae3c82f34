// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use clap::Args;
use loadgauge_host::{Store, environment};

use super::Failure;
use crate::scenario::Catalogue;

/// The option that replaces the embedded catalogue.
#[derive(Debug, Args)]
pub(super) struct CatalogueChoice {
    /// Directory of scenarios and recipes that replaces the embedded catalogue
    #[arg(long, value_name = "DIR", env = environment::SCENARIOS)]
    pub(super) scenarios: Option<Utf8PathBuf>,
}

impl CatalogueChoice {
    /// Opens the chosen catalogue, or the embedded one.
    pub(super) fn open(&self, store: &Store) -> Result<Catalogue, Failure> {
        Ok(match &self.scenarios {
            Some(directory) => Catalogue::at(directory)?,
            None => Catalogue::embedded(store)?,
        })
    }
}
