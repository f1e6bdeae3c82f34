// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use clap::Args;
use loadgauge_host::Hint as _;
use loadgauge_host::Store;
use loadgauge_images::Base;
use loadgauge_images::inspect::{Inspected, verify_usr};
use serde::Serialize;

use super::arguments::OutputFormat;
use super::context::find_image;
use super::{Exit, Failure, image_page, output};

/// `loadgauge image inspect`
#[derive(Debug, Args)]
pub(super) struct ImageInspectArguments {
    /// The image: a Flatcar disk (qcow2 or raw, or packed by bzip2), the directory of a release, or the
    /// release of a stand-in that was made here (`3654.0.0`, `alpha-3654`); the stand-in made last when
    /// not given
    #[arg(value_name = "IMAGE", env = "LOADGAUGE_IMAGE")]
    pub image: Option<Utf8PathBuf>,

    /// Compare every block of /usr with its hash as well, and fail where one differs
    #[arg(long)]
    pub verify: bool,

    /// How it is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

/// All that is known of an image.
#[derive(Debug, Serialize)]
pub(super) struct Known {
    /// its disk and what lies beside it
    #[serde(flatten)]
    pub(super) inspected: Inspected,
    /// what extensions are built against, where it is at hand as Debian packages
    pub(super) base: Option<Base>,
}

/// `loadgauge image inspect`: what the disk itself tells, and what its release's files add.
pub(super) fn inspect(arguments: &ImageInspectArguments) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let path = find_image(arguments.image.as_deref(), &store)?;
    let mut inspected = Inspected::open(&path, &store, &output::tell)?;
    let base = inspected.base(&store).unwrap_or_else(|error| {
        inspected.found.warnings.push(error.to_string());
        None
    });
    let known = Known { inspected, base };
    match arguments.format {
        OutputFormat::Json => output::print_json(&known)?,
        OutputFormat::Text => output::print(&image_page::page(&known))?,
    }
    if arguments.verify {
        if let Err(error) = verify_usr(&known.inspected.disk) {
            Failure::new(Exit::Failed, &error, error.hint()).print();
            return Ok(Exit::Failed);
        }
        output::tell("every block of /usr is what its hash says");
    }
    Ok(Exit::Passed)
}
