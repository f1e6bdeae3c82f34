// SPDX-License-Identifier: Apache-2.0
use std::time::{Duration, SystemTime};

use camino::Utf8PathBuf;
use clap::Args;
use loadgauge_host::quantity::parse_duration;
use loadgauge_host::{Store, fs};

use super::catalogue_choice::CatalogueChoice;
use super::context::Context;
use super::execution::{RunOptions, execute};
use super::image_choice::ImageOption;
use super::machine_choice::MachineChoice;
use super::schedule::ScheduleArguments;
use super::start::{SnapshotsSize, StartArguments};
use super::{Exit, Failure, output, runtime};
use crate::check::{Expectation, SETTLE};
use crate::machine::{MachinePlan, StartChoice};
use crate::scenario::{
    Catalogue, MachineRequest, Scenario, Step, StepKind, SwapRequest, SysextRequest, parse_extension_name,
    select,
};

/// Interval at which watched files are polled.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Arguments of `loadgauge try`.
#[derive(Debug, Args)]
pub(super) struct TryArguments {
    /// Extension: an image file, a directory with `usr` or `opt`, or a recipe by its name or its file
    /// `*.toml`
    #[arg(value_name = "FILE|DIR|RECIPE")]
    extension: Utf8PathBuf,
    /// Name of the extension in the guest [default: the name of the file or recipe]
    #[arg(long, value_parser = parse_extension_name)]
    name: Option<String>,
    /// How long the units that the extension starts must stay active [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    settle: Option<Duration>,
    /// Also run the checks of this scenario, on its machine; the extension replaces the one of the same
    /// name
    #[arg(long, value_name = "SCENARIO")]
    scenario: Option<String>,
    /// Try again whenever the file, or an input of the recipe, changes
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    catalogue: CatalogueChoice,
    #[command(flatten)]
    image: ImageOption,
    #[command(flatten)]
    machine: MachineChoice,
    #[command(flatten)]
    snapshots: SnapshotsSize,
    /// Directory for the files of the run [default: a new directory in loadgauge-runs]
    #[arg(short, long, value_name = "DIR")]
    output: Option<Utf8PathBuf>,
}

/// Merges an extension in a running guest that does not have it, and runs the checks.
pub(super) fn run(arguments: &TryArguments) -> Result<Exit, Failure> {
    if !arguments.watch {
        return attempt(arguments);
    }
    loop {
        let before = arguments.latest_change();
        match attempt(arguments) {
            Ok(Exit::Interrupted) => return Ok(Exit::Interrupted),
            Ok(_) => {}
            Err(failure) => failure.print(),
        }
        output::message(&format!("waiting for changes of `{}`; stop with Ctrl-C", arguments.extension));
        while arguments.latest_change() == before {
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

fn attempt(arguments: &TryArguments) -> Result<Exit, Failure> {
    // An error in an argument is reported on hosts without an image too.
    let store = Store::of_user()?;
    let scenario = arguments.scenario(&arguments.catalogue.open(&store)?, &store)?;
    let context = Context::open(&arguments.catalogue, arguments.image.image.as_deref())?;
    let runtime = runtime::start()?;
    let acceleration = runtime.block_on(context.prove(arguments.machine.accel))?;
    let start = StartArguments { start: StartChoice::Warm, snapshots: arguments.snapshots.clone() };
    let starter = start.starter(&context.store, &context.image, &acceleration);
    let choose = |machines: &[(&MachinePlan, bool)]| start.choose(&starter, machines, 1);
    let mut plan = context.plan(vec![scenario], &acceleration, arguments.machine.firmware, &choose)?;
    for planned in &mut plan.scenarios {
        // The `hold` checks of the boot come before the extension is merged.
        planned.steps.retain(|step| !step.hold || step.phase > 0);
    }
    let schedule = ScheduleArguments::once();
    let output = arguments.output.as_deref();
    let options = RunOptions { output, schedule: &schedule, verify_warm: false };
    execute(runtime, &context, plan, starter, &options, None)
}

impl TryArguments {
    /// The scenario that merges the extension, then runs the steps of the chosen scenario.
    fn scenario(&self, catalogue: &Catalogue, store: &Store) -> Result<Scenario, Failure> {
        let sysext = SysextRequest::new(catalogue.extension(&self.extension, store)?, self.name.clone());
        let tried = sysext.expected_name().to_owned();
        let swap = Step::new(StepKind::Swap(SwapRequest {
            sysext,
            expect: Expectation::Merged,
            settle: self.settle.unwrap_or(SETTLE),
        }));
        let Some(name) = &self.scenario else {
            let summary = format!("`{tried}` is merged in a running guest");
            return Ok(Scenario::new("try", summary, MachineRequest::default(), vec![swap]));
        };
        let mut chosen = select(catalogue, std::slice::from_ref(name))?.into_iter();
        let (Some(mut scenario), None) = (chosen.next(), chosen.next()) else {
            let message = format!("`{name}` selects several scenarios");
            return Err(Failure::new(Exit::Usage, message).with_hint("name one scenario"));
        };
        let [machine] = scenario.machines.as_mut_slice() else {
            let message = format!("scenario `{name}` has several machines");
            return Err(Failure::new(Exit::Usage, message).with_hint("name a scenario with one machine"));
        };
        machine.sysexts.retain(|sysext| sysext.expected_name() != tried);
        machine.cold = false;
        scenario.steps.insert(0, swap);
        Ok(scenario)
    }

    /// The time of the last change of the image file, or of the recipe, its directory and its inputs.
    fn latest_change(&self) -> Option<SystemTime> {
        let changed = |path: &std::path::Path| fs::metadata(path).ok()?.modified().ok();
        if self.extension.extension() == Some("raw") {
            return changed(self.extension.as_std_path());
        }
        let directory = self.extension.parent()?;
        let inputs = self.extension.with_extension("");
        let files = walkdir::WalkDir::new(inputs).into_iter().flatten();
        let all = files.filter_map(|entry| changed(entry.path()));
        all.chain(changed(self.extension.as_std_path())).chain(changed(directory.as_std_path())).max()
    }
}
