// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::boot::BootArguments;
use super::build::PackArguments;
use super::doctor::DoctorArguments;
use super::image_build::ImageBuildArguments;
use super::image_inspect::ImageInspectArguments;
use super::image_prune::ImagePruneArguments;
use super::image_verify::ImageVerifyArguments;
use super::keep::KeepArguments;
use super::schedule::ScheduleArguments;
use super::snapshot::SnapshotCommand;
use super::start::StartArguments;
use super::stop::StopArguments;
use super::try_extension::TryArguments;
use crate::machine::{AccelChoice, FirmwareChoice};

/// Boots Flatcar images under QEMU and checks that their system extensions work
#[derive(Debug, Parser)]
#[command(name = "loadgauge", version, max_term_width = 100, after_help = EXIT_STATUS)]
pub(super) struct Arguments {
    /// what to do
    #[command(subcommand)]
    pub command: Command,

    /// Say more: -v what is done, -vv every command and message
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

const EXIT_STATUS: &str = "Exit status: 0 passed, 1 a scenario failed, 2 usage or scenario file, 3 the host lacks \
something, 4 nothing selected, 70 internal, 130 interrupted.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Boot the selected scenarios' machines and judge them
    Run(RunArguments),
    /// Show what `run` would do, and boot nothing
    Plan(PlanArguments),
    /// List the scenarios
    List(ListArguments),
    /// Build an extension from a recipe
    Build(BuildArguments),
    /// Print the Ignition config that a scenario gives to its guest
    Ignition(IgnitionArguments),
    /// Make and describe images
    Image {
        /// what to do with images
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// List and remove snapshots of booted machines
    Snapshot {
        /// what to do with them
        #[command(subcommand)]
        command: SnapshotCommand,
    },
    /// Make the reports of an earlier run again from its events
    Report(ReportArguments),
    /// Boot an image and open a shell in the guest
    Boot(BootArguments),
    /// Bring an extension into a running guest and judge it, in seconds
    Try(TryArguments),
    /// Say what this host has and lacks, and what to do about it
    Doctor(DoctorArguments),
    /// Stop machines that were left running
    Stop(StopArguments),
    /// Run something whose machines may outlive it (`run --keep` starts this)
    #[command(hide = true)]
    Keep(KeepArguments),
    /// Tie standard input and output to a socket (QEMU starts this for each of the guest's requests)
    #[command(hide = true)]
    Relay {
        /// the socket that the harness listens on
        socket: Utf8PathBuf,
    },
}

/// Where scenarios come from and which are meant.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Scenarios: a name, a regular expression for whole names, `tag:NAME`, or a file `*.toml`;
    /// all of the catalogue when none is given
    #[arg(value_name = "SCENARIO")]
    pub patterns: Vec<String>,

    /// Take scenarios and recipes from this directory instead of the built-in catalogue
    #[arg(long, value_name = "DIR", env = "LOADGAUGE_SCENARIOS")]
    pub scenarios: Option<Utf8PathBuf>,
}

/// The image to boot or to build for.
#[derive(Debug, Args)]
pub(super) struct ImageChoice {
    /// The image: a Flatcar disk (qcow2 or raw, or packed by bzip2), the directory of a release, or the
    /// release of a stand-in that was made here (`3654.0.0`, `alpha-3654`); the stand-in made last when
    /// not given
    #[arg(long, value_name = "PATH", env = "LOADGAUGE_IMAGE")]
    pub image: Option<Utf8PathBuf>,
}

/// How machines run.
#[derive(Debug, Args)]
pub(super) struct MachineChoice {
    /// What executes the guest's instructions: `auto` takes KVM where a timed boot proves it
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto, env = "LOADGAUGE_ACCEL")]
    pub accel: AccelChoice,

    /// What machines execute first whose scenario does not say; BIOS on amd64 when not given
    #[arg(long, value_enum, env = "LOADGAUGE_FIRMWARE")]
    pub firmware: Option<FirmwareChoice>,
}

/// `loadgauge run`
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// which scenarios
    #[command(flatten)]
    pub selection: Selection,
    /// on which image
    #[command(flatten)]
    pub image: ImageChoice,
    /// how
    #[command(flatten)]
    pub machine: MachineChoice,
    /// cold or warm
    #[command(flatten)]
    pub start: StartArguments,
    /// Run each scenario that can start warm cold as well, and fail where the outcomes differ
    #[arg(long)]
    pub verify_warm: bool,
    /// in which order, how often, and what comes of it
    #[command(flatten)]
    pub schedule: ScheduleArguments,
    /// Where the run's files go; a new directory in `loadgauge-runs` when not given
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<Utf8PathBuf>,
}

/// How something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// for people
    Text,
    /// for programs
    Json,
}

/// `loadgauge plan`
#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    /// which scenarios
    #[command(flatten)]
    pub selection: Selection,
    /// on which image
    #[command(flatten)]
    pub image: ImageChoice,
    /// how
    #[command(flatten)]
    pub machine: MachineChoice,
    /// cold or warm
    #[command(flatten)]
    pub start: StartArguments,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

/// `loadgauge list`
#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// which scenarios
    #[command(flatten)]
    pub selection: Selection,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

/// `loadgauge ignition`
#[derive(Debug, Args)]
pub(super) struct IgnitionArguments {
    /// The scenario: its name or a file `*.toml`
    pub scenario: String,
    /// Which of its machines, where it has several
    #[arg(long, value_name = "NAME")]
    pub machine: Option<String>,
    /// Take scenarios and recipes from this directory instead of the built-in catalogue
    #[arg(long, value_name = "DIR", env = "LOADGAUGE_SCENARIOS")]
    pub scenarios: Option<Utf8PathBuf>,
    /// for which image
    #[command(flatten)]
    pub image: ImageChoice,
}

/// `loadgauge build`
#[derive(Debug, Args)]
pub(super) struct BuildArguments {
    /// The recipe: a name in the catalogue or a file `*.toml`
    pub recipe: String,
    /// for which image
    #[command(flatten)]
    pub image: ImageChoice,
    /// how it is packed
    #[command(flatten)]
    pub pack: PackArguments,
    /// Call the extension this instead of what the recipe says
    #[arg(long)]
    pub name: Option<String>,
    /// Put a copy of it here; without, the path in the cache is printed
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<Utf8PathBuf>,
    /// Build twice and compare, byte for byte
    #[arg(long)]
    pub check_reproducible: bool,
    /// Say why each package goes in, and which the image has already; build nothing
    #[arg(long, conflicts_with_all = ["check_reproducible", "output"])]
    pub explain: bool,
    /// Take recipes from this directory instead of the built-in catalogue
    #[arg(long, value_name = "DIR", env = "LOADGAUGE_SCENARIOS")]
    pub scenarios: Option<Utf8PathBuf>,
}

/// `loadgauge image`
#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Make the stand-in image: Debian packages that behave like Flatcar
    Build(ImageBuildArguments),
    /// List the images that were made here, and say what is kept of others
    List,
    /// Remove what is kept of images and can be had again, what was used longest ago first: disks that
    /// were unpacked, digests, and what is on a disk; images that were made here stay
    Prune(ImagePruneArguments),
    /// Compare the files of a release with their digests and signatures
    Verify(ImageVerifyArguments),
    /// Say what an image is, without booting it: what its disk tells, and what its release's files add
    Inspect(ImageInspectArguments),
}

/// `loadgauge report`
#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// The run's directory
    #[arg(default_value = "loadgauge-runs/latest")]
    pub run: Utf8PathBuf,
    /// Where the reports are written; the run's directory when not given
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<Utf8PathBuf>,
}
