// SPDX-License-Identifier: Apache-2.0
use std::io;

use camino::Utf8Path;
use loadgauge_host::fs;
use loadgauge_ignition::Config;
use loadgauge_images::Image;

use super::compose::{ComposeError, KeepFile, Limits, compose};
use super::guest_warnings::GuestFacts;
use super::plan::machine_name;
use super::planned_extension::{Images, ResolvedExtension, overlaps};
use super::step::expand;
use super::{
    BuildRequest, Builder, MachineRequest, Plan, PlanError, PlannedMachine, PlannedScenario, Scenario,
    ScenarioId, Skipped, Source, StepKind, SysextRequest, peer_config,
};
use crate::machine::{
    Acceleration, Firmware, FirmwareChoice, MachinePlan, MachineSpec, Network, PeerAddress, StartMethod,
};

/// Turns scenarios into a [`Plan`].
pub struct Planner<'a> {
    /// the image to boot
    pub image: &'a Image,
    /// the accelerator
    pub acceleration: &'a Acceleration,
    /// builds extensions
    pub build: &'a Builder<'a>,
    /// computes the SHA-512 of a file, in hex
    pub digest: &'a dyn Fn(&Utf8Path) -> io::Result<String>,
    /// URL of the harness's server as guests reach it, such as `http://10.0.2.100`
    pub origin: &'a str,
    /// firmware of machines whose scenario does not set one
    pub firmware: Option<FirmwareChoice>,
    /// how many bytes of a machine's config its extensions may take; see
    /// [`INLINE_LIMIT`](loadgauge_ignition::delivery::INLINE_LIMIT)
    pub inline_limit: u64,
    /// writes a file of an author's config that guests fetch to the host
    pub keep: &'a KeepFile<'a>,
    /// chooses how machines start, given all machines of the plan with whether their scenario requires
    /// a cold start
    pub choose_starts: &'a ChooseStarts<'a>,
}

/// Chooses how machines start, given all machines of a plan with whether their scenario requires a cold
/// start.
pub type ChooseStarts<'a> = dyn Fn(&[(&MachinePlan, bool)]) -> Vec<StartMethod> + 'a;

impl Planner<'_> {
    /// Plans scenarios. Those that the image does not suit are skipped, and nothing is built for them.
    ///
    /// # Errors
    /// An extension cannot be built or read, or the config of a machine cannot be composed.
    pub fn plan(&self, scenarios: Vec<Scenario>) -> Result<Plan, PlanError> {
        let mut plan = Plan {
            image: self.image.clone(),
            acceleration: self.acceleration.clone(),
            scenarios: Vec::new(),
            skipped: Vec::new(),
        };
        let images = Images::new(self.image, self.digest);
        for scenario in scenarios {
            match scenario.requires.unmet(self.image) {
                Some(reason) => plan.skipped.push(Skipped { name: scenario.name, reason }),
                None => plan.scenarios.push(self.scenario(scenario, &images)?),
            }
        }
        plan.scenarios.sort_by(|left, right| left.id.cmp(&right.id));
        plan.skipped.sort_by(|left, right| left.name.cmp(&right.name));
        self.set_starts(&mut plan);
        Ok(plan)
    }

    fn set_starts(&self, plan: &mut Plan) {
        let machines = plan.scenarios.iter().flat_map(|planned| {
            let cold = planned.scenario.machines.iter().map(|request| request.cold);
            planned.machines.iter().map(|machine| &machine.plan).zip(cold)
        });
        let starts = (self.choose_starts)(&machines.collect::<Vec<_>>());
        let machines = plan.scenarios.iter_mut().flat_map(|planned| &mut planned.machines);
        for (machine, start) in machines.zip(starts) {
            machine.start = start;
        }
    }

    fn scenario(&self, scenario: Scenario, images: &Images<'_>) -> Result<PlannedScenario, PlanError> {
        let id = ScenarioId::of(&scenario.name);
        let several = scenario.machines.len() > 1;
        let machines = scenario
            .machines
            .iter()
            .zip(PeerAddress::all())
            .map(|(request, address)| {
                self.machine((&id, &scenario), request, several.then_some(address), images)
            })
            .collect::<Result<_, _>>()?;
        let mut steps = expand(&scenario.hold, &scenario.steps);
        for step in &mut steps {
            if let StepKind::Swap(request) = &step.step.kind {
                let (name, file) = self.resolve(&request.sysext, &scenario, images)?.image_file();
                step.change = Some(request.change(name, file));
            }
        }
        Ok(PlannedScenario { id, scenario, machines, steps })
    }

    fn machine(
        &self,
        (id, scenario): (&ScenarioId, &Scenario),
        request: &MachineRequest,
        address: Option<PeerAddress>,
        images: &Images<'_>,
    ) -> Result<PlannedMachine, PlanError> {
        let name = machine_name(id, &request.name);
        let extensions = self.extensions(scenario, request, images)?;
        for overlap in overlaps(&extensions) {
            tracing::warn!(machine = name, "{overlap}");
        }
        let payloads: Vec<_> = extensions
            .iter()
            .zip(&request.sysexts)
            .map(|(extension, request)| (extension.payload.clone(), request.delivery))
            .collect();
        let limits = Limits { origin: self.origin, inline: self.inline_limit, keep: self.keep };
        let guest =
            GuestFacts { files: &images.target().links, hermetic: request.spec.network == Network::Hermetic };
        let compose_error =
            |source| PlanError::Compose { origin: scenario.origin(None), source: Box::new(source) };
        let composed = compose(&request.ignition, &payloads, limits, guest).map_err(compose_error)?;
        for warning in &composed.warnings {
            tracing::warn!(machine = name, "{warning}");
        }
        let mut config = with_kernel_arguments(composed.config, &request.spec).map_err(compose_error)?;
        if let Some(address) = address {
            let names: Vec<&str> = scenario.machines.iter().map(|machine| machine.name.as_str()).collect();
            let merged = config.merge(peer_config::config(&names, address));
            config = merged.map_err(|conflict| compose_error(conflict.into()))?;
        }
        let extensions = extensions
            .into_iter()
            .zip(&request.sysexts)
            .zip(composed.delivered)
            .map(|((extension, request), delivered)| extension.delivered(request.source.clone(), delivered))
            .collect();
        let firmware = Firmware::find(request.spec.firmware.or(self.firmware), self.image)
            .map_err(|source| PlanError::Firmware { origin: scenario.origin(None), source })?;
        let plan = MachinePlan {
            name,
            spec: request.spec.clone(),
            firmware,
            image: self.image.clone(),
            acceleration: self.acceleration.clone(),
            config,
            served: composed.served,
            peer_address: address,
        };
        // Replaced when all machines of the plan are known.
        let start = StartMethod::cold("not chosen");
        let warnings = composed.warnings;
        Ok(PlannedMachine { name: request.name.clone(), plan, start, extensions, warnings })
    }

    fn extensions(
        &self,
        scenario: &Scenario,
        machine: &MachineRequest,
        images: &Images<'_>,
    ) -> Result<Vec<ResolvedExtension>, PlanError> {
        let mut extensions: Vec<ResolvedExtension> = Vec::new();
        for request in &machine.sysexts {
            let extension = self.resolve(request, scenario, images)?;
            let name = &extension.payload.name;
            if extensions.iter().any(|other| other.payload.name == *name) {
                let origin = scenario.origin(Some(request.line));
                return Err(PlanError::DuplicateExtension { origin, name: name.clone() });
            }
            extensions.push(extension);
        }
        Ok(extensions)
    }

    fn resolve(
        &self,
        request: &SysextRequest,
        scenario: &Scenario,
        images: &Images<'_>,
    ) -> Result<ResolvedExtension, PlanError> {
        let origin = || scenario.origin(Some(request.line));
        let name = request.name.as_deref();
        match &request.source {
            Source::Recipe(recipe) => (self.build)(&BuildRequest { recipe, name, format: request.format })
                .map(ResolvedExtension::built)
                .map_err(|source| PlanError::Build { origin: origin(), source }),
            Source::Image(path) if fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) => {
                Err(PlanError::EmptyImage { origin: origin(), path: path.clone() })
            }
            Source::Image(path) => images
                .resolve(path, name)
                .map_err(|source| PlanError::Image { origin: origin(), source: Box::new(source) }),
        }
    }
}

/// Adds a machine's kernel arguments to its config. Flatcar takes kernel arguments from Ignition only.
fn with_kernel_arguments(config: Config, spec: &MachineSpec) -> Result<Config, ComposeError> {
    if spec.kernel_arguments.is_empty() {
        return Ok(config);
    }
    let mut arguments = Config::new();
    arguments.kernel_arguments(spec.kernel_arguments.iter().map(String::as_str));
    Ok(config.merge(arguments)?)
}
