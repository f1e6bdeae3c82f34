// SPDX-License-Identifier: Apache-2.0
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::arguments::{ImageChoice, MachineChoice};
use super::context::Context;
use super::run::{RunOptions, carry_out, runtime};
use super::schedule::ScheduleArguments;
use super::start::StartArguments;
use super::{Exit, Failure, output};
use crate::machine::StartChoice;
use crate::scenario::{Scenario, Source, Surroundings, select};

/// How often files are looked at that are watched.
const LOOK: Duration = Duration::from_millis(200);

/// `loadgauge try`
#[derive(Debug, Args)]
pub(super) struct TryArguments {
    /// The extension: an image file, or a recipe by its name or its file `*.toml`
    #[arg(value_name = "FILE|RECIPE")]
    pub extension: Utf8PathBuf,
    /// What systemd-sysext is to call it; what its file or its recipe says when not given
    #[arg(long)]
    pub name: Option<String>,
    /// Check what this scenario checks as well, on its machine, where the extension takes the place of
    /// its own of the same name
    #[arg(long, value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// Try it again whenever the file changes, or what the recipe is built from
    #[arg(long)]
    pub watch: bool,
    /// Take scenarios and recipes from this directory instead of the built-in catalogue
    #[arg(long, value_name = "DIR", env = "LOADGAUGE_SCENARIOS")]
    pub scenarios: Option<Utf8PathBuf>,
    /// on which image
    #[command(flatten)]
    pub image: ImageChoice,
    /// how
    #[command(flatten)]
    pub machine: MachineChoice,
    /// What snapshots may take in the cache, such as `8GiB`; those used longest ago go first
    #[arg(
        long,
        value_name = "SIZE",
        env = "LOADGAUGE_SNAPSHOTS_SIZE",
        default_value = "8GiB",
        value_parser = loadgauge_host::quantity::parse_size
    )]
    pub snapshots_size: u64,
    /// Where the run's files go; a new directory in `loadgauge-runs` when not given
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<Utf8PathBuf>,
}

/// `loadgauge try`: brings an extension into a running guest that has none of this name, and judges it.
pub(super) fn trial(arguments: &TryArguments) -> Result<Exit, Failure> {
    if !arguments.watch {
        return attempt(arguments);
    }
    loop {
        let before = arguments.latest_change();
        match attempt(arguments) {
            Ok(Exit::Interrupted) => return Ok(Exit::Interrupted),
            Ok(_) => {}
            // The next version of it may be better.
            Err(failure) => failure.print(),
        }
        output::tell(&format!("waiting for `{}` to change; Ctrl-C ends it", arguments.extension));
        while arguments.latest_change() == before {
            std::thread::sleep(LOOK);
        }
    }
}

fn attempt(arguments: &TryArguments) -> Result<Exit, Failure> {
    let context = Context::open(arguments.scenarios.as_deref(), arguments.image.image.as_deref())?;
    let scenario = arguments.scenario(&context)?;
    let runtime = runtime()?;
    let acceleration = runtime.block_on(context.prove(arguments.machine.accel))?;
    let mut plan = context.plan(vec![scenario], &acceleration, arguments.machine.firmware)?;
    for planned in &mut plan.scenarios {
        // What must hold is asked once the extension is there, and not before.
        planned.steps.retain(|step| !step.hold || step.life > 0);
    }
    let start = StartArguments { start: StartChoice::Warm, snapshots_size: arguments.snapshots_size };
    let schedule = ScheduleArguments::once();
    let output = arguments.output.as_deref();
    carry_out(
        runtime,
        &context,
        plan,
        &RunOptions { output, start: &start, schedule: &schedule, verify_warm: false },
        None,
    )
}

impl TryArguments {
    /// The scenario that brings the extension in, and then checks what another one does.
    fn scenario(&self, context: &Context) -> Result<Scenario, Failure> {
        let swap = self.swap(context.catalogue.root())?;
        let Some(name) = &self.scenario else { return Ok(swap) };
        let mut chosen = select(&context.catalogue, std::slice::from_ref(name))?.into_iter();
        let (Some(mut scenario), None) = (chosen.next(), chosen.next()) else {
            let message = format!("`{name}` means several scenarios");
            return Err(Failure::words(Exit::Usage, message, Some("name one")));
        };
        let tried = self.extension_name();
        let [machine] = scenario.machines.as_mut_slice() else {
            let message = format!("`{name}` has several machines");
            return Err(Failure::words(Exit::Usage, message, Some("name a scenario with one")));
        };
        machine.sysexts.retain(|sysext| name_of(sysext.name.as_deref(), &sysext.source) != tried);
        machine.cold = false;
        scenario.steps.splice(0..0, swap.steps);
        Ok(scenario)
    }

    /// A scenario with a plain machine, whose only step is to bring the extension in.
    fn swap(&self, catalogue: &Utf8Path) -> Result<Scenario, Failure> {
        let is_image = self.extension.extension() == Some("raw");
        let is_file = is_image || self.extension.extension() == Some("toml");
        let extension = if is_file {
            camino::absolute_utf8(&self.extension).map_err(|error| Failure::new(Exit::Usage, &error, None))?
        } else {
            self.extension.clone()
        };
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let name = self.name.as_deref().map(|name| format!(", name = {}", quoted(name))).unwrap_or_default();
        let key = if is_image { "path" } else { "recipe" };
        let text = format!(
            "summary = {}\n[[step]]\nswap = {{ {key} = {}{name} }}\n",
            quoted(&format!("`{}` is brought into a running guest", self.extension_name())),
            quoted(extension.as_str())
        );
        let surroundings = Surroundings {
            name: "try".to_owned(),
            file: "the command line".into(),
            recipes: vec![catalogue.join("recipes")],
        };
        Scenario::parse(&text, &surroundings)
            .map_err(|error| Failure::words(Exit::Usage, error.report(), None))
    }

    fn extension_name(&self) -> &str {
        self.name.as_deref().or(self.extension.file_stem()).unwrap_or_default()
    }

    /// When the file changed last, or anything beside the recipe and below.
    fn latest_change(&self) -> Option<SystemTime> {
        let changed = |path: &std::path::Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        if self.extension.extension() == Some("raw") {
            return changed(self.extension.as_std_path());
        }
        let directory = self.extension.parent()?;
        let below = self.extension.with_extension("");
        let files = walkdir::WalkDir::new(below).into_iter().flatten();
        let all = files.filter_map(|entry| changed(entry.path()));
        all.chain(changed(self.extension.as_std_path())).chain(changed(directory.as_std_path())).max()
    }
}

/// What an extension that a scenario asks for is called, as far as it is known before it is built.
fn name_of<'a>(name: Option<&'a str>, source: &'a Source) -> &'a str {
    let (Source::Recipe(path) | Source::Image(path)) = source;
    name.or(path.file_stem()).unwrap_or_default()
}
