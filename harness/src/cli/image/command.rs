// SPDX-License-Identifier: Apache-2.0
use clap::Subcommand;

use super::build::ImageBuildArguments;
use super::inspect::ImageInspectArguments;
use super::list::ImageListArguments;
use super::prune::ImagePruneArguments;
use super::verify::ImageVerifyArguments;
use super::{build, inspect, list, prune, verify};
use crate::cli::{Exit, Failure};

/// The subcommands of `loadgauge image`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build the stand-in image: Debian packages that behave like Flatcar
    Build(ImageBuildArguments),
    /// List the images that were built on this host, and what the cache holds of others
    List(ImageListArguments),
    /// Remove cached data of images, the least recently used first: unpacked disks, digests and
    /// inspections; images that were built on this host stay
    Prune(ImagePruneArguments),
    /// Verify the files of a release against their digests and signatures
    Verify(ImageVerifyArguments),
    /// Describe an image without booting it: a disk with the other files of its release, or an extension
    Inspect(ImageInspectArguments),
}

/// Executes a subcommand of `loadgauge image`.
pub(crate) fn run(command: &ImageCommand) -> Result<Exit, Failure> {
    match command {
        ImageCommand::Build(arguments) => build::run(arguments),
        ImageCommand::List(arguments) => list::run(arguments),
        ImageCommand::Prune(arguments) => prune::run(arguments),
        ImageCommand::Verify(arguments) => verify::run(arguments),
        ImageCommand::Inspect(arguments) => inspect::run(arguments),
    }
}
