// SPDX-License-Identifier: Apache-2.0
use clap::Args;
use loadgauge_host::Store;
use loadgauge_images::Base;
use loadgauge_images::inspect::{Inspected, verify_usr};

use super::page::{ImageDescription, page};
use crate::cli::format_choice::FormatChoice;
use crate::cli::image_choice::ImageArgument;
use crate::cli::{Exit, Failure, built_images, output};

/// Arguments of `loadgauge image inspect`.
#[derive(Debug, Args)]
pub(crate) struct ImageInspectArguments {
    #[command(flatten)]
    image: ImageArgument,

    /// Also verify every block of /usr against the dm-verity hash tree
    #[arg(long)]
    verify: bool,

    #[command(flatten)]
    format: FormatChoice,
}

/// Describes an image.
pub(super) fn run(arguments: &ImageInspectArguments) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let path = built_images::find(arguments.image.image.as_deref(), &store)?;
    let mut inspected = Inspected::open(&path, &store, &output::message)?;
    let base: Option<Base> = inspected.base(&store).unwrap_or_else(|error| {
        inspected.inspection.warnings.push(error.to_string());
        None
    });
    let description = ImageDescription { inspected, base };
    arguments.format.print(&description, || page(&description))?;
    if arguments.verify {
        if let Err(error) = verify_usr(&description.inspected.disk) {
            return Err(Failure::of(Exit::Failed, &error));
        }
        output::message("every block of /usr matches the dm-verity hash tree");
    }
    Ok(Exit::Passed)
}
