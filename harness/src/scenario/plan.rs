// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::error::Error;
use std::fmt;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_ignition::Config;
use loadgauge_images::Image;

use super::artefact::Goods;
use super::compose::{ComposeError, Limits, compose};
use super::{
    Artefact, MachineRequest, PlannedStep, Scenario, Source, StepKind, SysextRequest, expand, neighbours,
};
use crate::machine::{
    Acceleration, Firmware, FirmwareChoice, FirmwareError, MachinePlan, MachineSpec, PeerAddress,
};
use loadgauge_builder::lint::{BaseTree, overlaps};
use loadgauge_builder::{Extension, Format, ImageError};

/// Everything that a run will do, before anything is booted.
#[derive(Debug, Clone)]
pub struct Plan {
    /// what is booted
    pub image: Image,
    /// how
    pub acceleration: Acceleration,
    /// what is run, sorted by name
    pub scenarios: Vec<Planned>,
    /// what is not, sorted by name
    pub skipped: Vec<Skipped>,
}

/// A scenario with its machines.
#[derive(Debug, Clone)]
pub struct Planned {
    /// as it was read
    pub scenario: Scenario,
    /// the machines to boot, in the order of the scenario's own
    pub machines: Vec<PlannedMachine>,
    /// the steps in the order of execution, what must hold among them
    pub steps: Vec<PlannedStep>,
}

/// A machine of a scenario.
#[derive(Debug, Clone)]
pub struct PlannedMachine {
    /// what steps call it; empty where it is the only one
    pub name: String,
    /// the machine to boot
    pub plan: MachinePlan,
    /// whether it must be booted for this scenario, and not be restored from a snapshot
    pub cold: bool,
    /// the extensions in it, in the order of the file
    pub extensions: Vec<Artefact>,
}

/// A scenario that makes no sense on the image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// its name
    pub name: String,
    /// why, in words
    pub reason: String,
}

/// An extension that is to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order<'a> {
    /// the recipe's file
    pub recipe: &'a Utf8Path,
    /// what to call it instead of what the recipe says
    pub name: Option<&'a str>,
    /// how to pack it, where that is not left to the recipe
    pub format: Option<Format>,
}

/// The builder's refusal; it speaks with the words of the error in it.
#[derive(Debug)]
pub struct BuildFailure {
    /// what went wrong
    pub error: Box<dyn Error + Send + Sync>,
    /// what to do about it
    pub hint: Option<String>,
    /// whether it is the host that lacks something, and not the recipe that is wrong
    pub lacking: bool,
}

impl fmt::Display for BuildFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

impl Error for BuildFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Makes an extension, or finds it where it was made before.
pub type Builder<'a> = dyn Fn(&Order<'_>) -> Result<Extension, BuildFailure> + 'a;

/// Turns scenarios into a [`Plan`].
pub struct Planner<'a> {
    /// what will be booted
    pub image: &'a Image,
    /// how
    pub acceleration: &'a Acceleration,
    /// builds extensions
    pub build: &'a Builder<'a>,
    /// computes SHA-512 of files, in hex
    pub digest: &'a dyn Fn(&Utf8Path) -> io::Result<String>,
    /// where the guest reaches the harness's server, such as `http://10.0.2.100`
    pub origin: &'a str,
    /// what machines execute first whose scenario does not say
    pub firmware: Option<FirmwareChoice>,
    /// how many bytes of a machine's config its extensions may take; see
    /// [`INLINE_LIMIT`](loadgauge_ignition::delivery::INLINE_LIMIT)
    pub inline_limit: u64,
}

/// A scenario cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// an extension cannot be built
    #[error("{file}:{line}: cannot build the extension")]
    Build {
        /// the scenario file
        file: Utf8PathBuf,
        /// of the request
        line: usize,
        /// why not
        #[source]
        source: BuildFailure,
    },
    /// an image that was built before cannot be read
    #[error("{file}:{line}: cannot read `{path}`")]
    Image {
        /// the scenario file
        file: Utf8PathBuf,
        /// of the request
        line: usize,
        /// the image
        path: Utf8PathBuf,
        /// why not
        source: ImageError,
    },
    /// one would take the other's place
    #[error("{file}:{line}: two extensions are called `{name}`")]
    Twice {
        /// the scenario file
        file: Utf8PathBuf,
        /// of the second request
        line: usize,
        /// the name
        name: String,
    },
    /// there is no such firmware
    #[error("{file}: the machine cannot start")]
    Firmware {
        /// the scenario file
        file: Utf8PathBuf,
        /// why not
        source: FirmwareError,
    },
    /// the Ignition config cannot be made
    #[error("{file}: no Ignition config can be made")]
    Compose {
        /// the scenario file
        file: Utf8PathBuf,
        /// why not
        source: Box<ComposeError>,
    },
}

impl PlanError {
    /// Whether it is the host that lacks something, and not the scenario that is wrong.
    pub fn is_lacking(&self) -> bool {
        match self {
            Self::Build { source, .. } => source.lacking,
            Self::Firmware { source, .. } => source.is_lacking(),
            Self::Image { .. } | Self::Twice { .. } | Self::Compose { .. } => false,
        }
    }
}

impl Hint for PlanError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Build { source, .. } => source.hint.clone(),
            Self::Image { source, .. } => source.hint(),
            Self::Twice { .. } => Some("give one of them a `name` of its own".to_owned()),
            Self::Firmware { source, .. } => source.hint(),
            Self::Compose { source, .. } => source.hint(),
        }
    }
}

impl Planner<'_> {
    /// Plans scenarios: builds what they need, resolves their machines, and orders their steps.
    /// Nothing is booted.
    ///
    /// # Errors
    /// An extension cannot be built or read, or an Ignition config cannot be made.
    pub fn plan(&self, scenarios: Vec<Scenario>) -> Result<Plan, PlanError> {
        let mut plan = Plan {
            image: self.image.clone(),
            acceleration: self.acceleration.clone(),
            scenarios: Vec::new(),
            skipped: Vec::new(),
        };
        for scenario in scenarios {
            match scenario.requires.unmet(self.image) {
                Some(reason) => plan.skipped.push(Skipped { name: scenario.name, reason }),
                None => plan.scenarios.push(self.plan_one(scenario)?),
            }
        }
        plan.scenarios.sort_by(|left, right| left.scenario.name.cmp(&right.scenario.name));
        plan.skipped.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(plan)
    }

    fn plan_one(&self, scenario: Scenario) -> Result<Planned, PlanError> {
        let several = scenario.machines.len() > 1;
        let machines = scenario
            .machines
            .iter()
            .zip(PeerAddress::all())
            .map(|(request, station)| self.machine(&scenario, request, several.then_some(station)))
            .collect::<Result<_, _>>()?;
        let mut steps = expand(&scenario.hold, &scenario.steps);
        for step in &mut steps {
            if let StepKind::Swap(request) = &step.step.kind {
                let (name, file) = self.obtain(&request.sysext, &scenario.file)?.image_file();
                step.change = Some(request.change(name, file));
            }
        }
        Ok(Planned { scenario, machines, steps })
    }

    fn machine(
        &self,
        scenario: &Scenario,
        machine: &MachineRequest,
        station: Option<PeerAddress>,
    ) -> Result<PlannedMachine, PlanError> {
        let file = || scenario.file.clone();
        let name = [scenario.name.as_str(), machine.name.as_str()];
        let name = name.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        let mut goods: Vec<Goods> = Vec::new();
        for request in &machine.sysexts {
            let one = self.obtain(request, &scenario.file)?;
            if goods.iter().any(|other| other.payload.name == one.payload.name) {
                let name = one.payload.name;
                return Err(PlanError::Twice { file: file(), line: request.line, name });
            }
            goods.push(one);
        }
        warn_of_overlaps(&name, &goods);
        let payloads: Vec<_> = goods
            .iter()
            .zip(&machine.sysexts)
            .map(|(goods, request)| (goods.payload.clone(), request.delivery))
            .collect();
        let limits = Limits { origin: self.origin, inline: self.inline_limit };
        let refused = |source| PlanError::Compose { file: file(), source: Box::new(source) };
        let composed = compose(&machine.ignition, &payloads, limits).map_err(refused)?;
        let mut config = with_kernel_arguments(composed.config, &machine.spec).map_err(refused)?;
        if let Some(station) = station {
            let names: Vec<&str> = scenario.machines.iter().map(|machine| machine.name.as_str()).collect();
            let meeting = config.merge(neighbours::config(&names, station));
            config = meeting.map_err(|conflict| refused(conflict.into()))?;
        }
        let extensions = goods
            .into_iter()
            .zip(&machine.sysexts)
            .zip(composed.ways)
            .map(|((goods, request), way)| goods.delivered(request.source.clone(), way))
            .collect();
        let spec = machine.spec.clone();
        let firmware = Firmware::find(spec.firmware.or(self.firmware), self.image)
            .map_err(|source| PlanError::Firmware { file: file(), source })?;
        let plan = MachinePlan {
            name,
            spec,
            firmware,
            image: self.image.clone(),
            acceleration: self.acceleration.clone(),
            config,
            served: composed.served,
            station,
        };
        let MachineRequest { name, cold, .. } = machine;
        Ok(PlannedMachine { name: name.clone(), plan, cold: *cold, extensions })
    }

    fn obtain(&self, request: &SysextRequest, file: &Utf8Path) -> Result<Goods, PlanError> {
        let file = || file.to_owned();
        let line = request.line;
        let name = request.name.as_deref();
        match &request.source {
            Source::Recipe(recipe) => (self.build)(&Order { recipe, name, format: request.format })
                .map(Goods::built)
                .map_err(|source| PlanError::Build { file: file(), line, source }),
            Source::Image(path) => Goods::image(path, name, self.digest).map_err(|source| PlanError::Image {
                file: file(),
                line,
                path: path.clone(),
                source,
            }),
        }
    }
}

/// Adds a machine's kernel arguments to its config. Ignition is the only way to set them on Flatcar.
fn with_kernel_arguments(config: Config, spec: &MachineSpec) -> Result<Config, ComposeError> {
    if spec.kernel_arguments.is_empty() {
        return Ok(config);
    }
    let mut arguments = Config::new();
    arguments.kernel_arguments(spec.kernel_arguments.iter().map(String::as_str));
    Ok(config.merge(arguments)?)
}

/// Tells of files that two extensions of a scenario bring, as far as the lists of their contents,
/// which lie beside them, say so.
fn warn_of_overlaps(scenario: &str, goods: &[Goods]) {
    let listed = |goods: &Goods| {
        let name = goods.payload.name.clone();
        let list = goods.path.with_file_name(format!("{name}_contents.txt"));
        let contents = std::fs::read_to_string(list).ok()?;
        Some((name, BaseTree::parse(&contents)))
    };
    let listed: Vec<_> = goods.iter().filter_map(listed).collect();
    let named: Vec<_> = listed.iter().map(|(name, tree)| (name.as_str(), tree.clone())).collect();
    for overlap in overlaps(&named) {
        tracing::warn!(scenario, "{overlap}");
    }
}
