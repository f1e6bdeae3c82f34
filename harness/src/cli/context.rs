// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::{Algorithm, Store, cached_digest};
use loadgauge_ignition::delivery::INLINE_LIMIT;
use loadgauge_images::{Architecture, Image};

use super::catalogue_choice::CatalogueChoice;
use super::{Failure, built_images, output};
use crate::machine::{AccelChoice, Acceleration, FirmwareChoice, ORIGIN, prove};
use crate::scenario::{Catalogue, ChooseStarts, Plan, Planner, Scenario, builder, keep_file};

/// The store, the catalogue and the image of a command.
pub(super) struct Context {
    pub(super) store: Store,
    pub(super) catalogue: Catalogue,
    pub(super) image: Image,
}

impl Context {
    /// Opens the user's store, the catalogue and the image that the arguments name.
    pub(super) fn open(catalogue: &CatalogueChoice, image: Option<&Utf8Path>) -> Result<Self, Failure> {
        let store = Store::of_user()?;
        let catalogue = catalogue.open(&store)?;
        let image = Image::open(&built_images::find(image, &store)?, &store, &output::message)?;
        Ok(Self { store, catalogue, image })
    }

    /// Finds the accelerator that works on this host for the image.
    pub(super) async fn prove(&self, choice: AccelChoice) -> Result<Acceleration, Failure> {
        let proven = prove(choice, &self.store).await?;
        Ok(proven.for_guest(choice, self.image.facts.architecture, Architecture::of_host())?)
    }

    /// Builds the extensions of scenarios and resolves their machines. `choose_starts` chooses how
    /// machines start, see [`Planner`].
    pub(super) fn plan(
        &self,
        scenarios: Vec<Scenario>,
        acceleration: &Acceleration,
        firmware: Option<FirmwareChoice>,
        choose_starts: &ChooseStarts<'_>,
    ) -> Result<Plan, Failure> {
        let build = builder(&self.image, &self.store, &output::message);
        let planner = Planner {
            image: &self.image,
            acceleration,
            build: &build,
            digest: &|path| cached_digest(path, Algorithm::Sha512, &self.store),
            origin: ORIGIN,
            firmware,
            inline_limit: INLINE_LIMIT,
            keep: &|bytes| keep_file(&self.store, bytes),
            choose_starts,
        };
        Ok(planner.plan(scenarios)?)
    }
}
