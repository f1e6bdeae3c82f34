// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_images::host::{CommandExt as _, Tool};

use super::arguments::BuildArguments;
use super::workshop::Workshop;
use super::{Exit, Failure, output};
use crate::sysext::{self, Built, Recipe, Target};

/// `loadgauge build`
pub(super) fn build(arguments: &BuildArguments) -> Result<Exit, Failure> {
    let workshop = Workshop::open(arguments.scenarios.as_deref(), arguments.image.image.as_deref())?;
    let recipe = Recipe::load(&workshop.catalogue.recipe(&arguments.recipe)?)?;
    let recipe = arguments.name.as_deref().map_or_else(|| recipe.clone(), |name| recipe.with_name(name));
    let target = Target::of_image(&workshop.image);
    let progress = |text: &str| output::tell(&format!("{}: {text}", recipe.name()));
    let make = if arguments.check_reproducible { sysext::check_reproducible } else { sysext::build };
    let built = make(&recipe, &target, arguments.format, &workshop.store, &progress)?;
    explain(&built, arguments.check_reproducible);
    let path = match &arguments.output {
        None => built.extension.path.clone(),
        Some(directory) => copy(&built, directory)?,
    };
    output::print(&format!("{path}\n"))?;
    Ok(Exit::Passed)
}

/// Says on standard error what was built.
fn explain(built: &Built, compared: bool) {
    let extension = &built.extension;
    for warning in &built.warnings {
        output::tell(&format!("warning: {warning}"));
    }
    if !built.dropped.is_empty() {
        output::tell(&format!(
            "{}: left out, since an extension holds only /usr and /opt: {} files, such as `{}`",
            extension.name,
            built.dropped.len(),
            built.dropped[0]
        ));
    }
    let made = match (built.cached, compared) {
        (_, true) => "built twice with the same bytes",
        (true, false) => "unchanged since it was built before",
        (false, false) => "built",
    };
    output::tell(&format!(
        "{}: {made}: {}, {} bytes, {} packages, sha512 {}",
        extension.name,
        extension.format,
        extension.size,
        built.packages.len(),
        &extension.sha512[..16]
    ));
}

/// Copies the extension out of the store; a directory with its modes and times.
fn copy(built: &Built, directory: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    let from = &built.extension.path;
    let target = directory.join(from.file_name().unwrap_or_default());
    let failed = |error: &dyn std::error::Error| Failure::new(Exit::Host, error, None);
    std::fs::create_dir_all(directory).map_err(|error| failed(&error))?;
    let tool = Tool::find("cp").map_err(|error| failed(&error))?;
    let mut command = tool.command();
    command.args(["--archive", "--no-target-directory"]).args([from, &target]);
    command.run().map_err(|error| failed(&error))?;
    Ok(target)
}
