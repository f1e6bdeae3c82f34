// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use loadgauge_host::Hint as _;
use loadgauge_host::{CommandExt as _, Tool};

use super::arguments::BuildArguments;
use super::context::Context;
use super::{Exit, Failure, output};
use loadgauge_builder::describe::merge_sums;
use loadgauge_builder::pack::Inner;
use loadgauge_builder::signing::KeyPair;
use loadgauge_builder::{Built, Format, Recipe, Target};

/// The file of digests beside an extension.
const SUMS: &str = "SHA256SUMS";

/// How `loadgauge build` packs, over what the recipe says.
#[derive(Debug, Args)]
#[command(next_help_heading = "How it is packed, over what the recipe says")]
pub(super) struct PackArguments {
    /// As what; squashfs where the recipe says nothing
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// How squashfs or erofs is compressed: gzip, zstd, xz, lz4, lz4hc or none
    #[arg(long, value_name = "NAME")]
    compression: Option<String>,
    /// How hard the compressor tries
    #[arg(long, value_name = "NUMBER")]
    level: Option<u32>,
    /// The file system inside a DDI; erofs where the recipe says nothing
    #[arg(long, value_enum)]
    ddi: Option<Inner>,
    /// Sign a DDI with this private key (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    private_key: Option<Utf8PathBuf>,
    /// The certificate for the key (PEM)
    #[arg(long, value_name = "FILE", requires = "private_key")]
    certificate: Option<Utf8PathBuf>,
}

impl PackArguments {
    /// Changes what a recipe says of packing, and tells the format.
    fn apply(&self, recipe: &mut Recipe) -> Result<Format, Failure> {
        let usage = |message: String| Failure::words(Exit::Usage, message, None);
        let format = recipe.format(self.format);
        let packing = &mut recipe.pack;
        packing.ddi = self.ddi.or(packing.ddi);
        let inner = if format == Format::Ddi { packing.inner().into() } else { format };
        if self.compression.is_some() || self.level.is_some() {
            packing.compress(inner, self.compression.as_deref(), self.level).map_err(usage)?;
        }
        if let (Some(key), Some(certificate)) = (&self.private_key, &self.certificate) {
            if format != Format::Ddi {
                return Err(usage(format!("{format} cannot be signed, a ddi can")));
            }
            let pair = KeyPair::load(key, certificate)
                .map_err(|error| Failure::new(Exit::Usage, &error, error.hint()))?;
            packing.signer = Some(pair);
        }
        Ok(format)
    }
}

/// `loadgauge build`
pub(super) fn build(arguments: &BuildArguments) -> Result<Exit, Failure> {
    let context = Context::open(arguments.scenarios.as_deref(), arguments.image.image.as_deref())?;
    let recipe = Recipe::load(&context.catalogue.recipe(&arguments.recipe)?)?;
    let mut recipe = arguments.name.as_deref().map_or_else(|| recipe.clone(), |name| recipe.with_name(name));
    let format = arguments.pack.apply(&mut recipe)?;
    let target = Target::of_image(&context.image);
    let progress = |text: &str| output::tell(&format!("{}: {text}", recipe.name()));
    if arguments.explain {
        let explanation = loadgauge_builder::explain_packages(&recipe, &target, &context.store, &progress)?;
        output::print(&explanation.to_string())?;
        return Ok(Exit::Passed);
    }
    let make = if arguments.check_reproducible {
        loadgauge_builder::check_reproducible
    } else {
        loadgauge_builder::build
    };
    let built = make(&recipe, &target, format, &context.store, &progress)?;
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

/// Copies the extension out of the store, with what is written about it; a directory with its modes
/// and times.
fn copy(built: &Built, directory: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    let from = &built.extension.path;
    let target = directory.join(from.file_name().unwrap_or_default());
    let failed = |error: &dyn std::error::Error| Failure::new(Exit::Host, error, None);
    std::fs::create_dir_all(directory).map_err(|error| failed(&error))?;
    let tool = Tool::find("cp").map_err(|error| failed(&error))?;
    let mut command = tool.command();
    command.args(["--archive", "--no-target-directory"]).args([from, &target]);
    command.run().map_err(|error| failed(&error))?;
    let beside = from.parent().unwrap_or(Utf8Path::new(""));
    let files = built.described.iter().filter(|name| *name != SUMS).map(|name| beside.join(name));
    let mut command = tool.command();
    command.arg("--archive").args(files).arg(directory);
    command.run().map_err(|error| failed(&error))?;
    add_sums(&beside.join(SUMS), &directory.join(SUMS)).map_err(|error| failed(&error))?;
    Ok(target)
}

/// One file of sums serves for all extensions in a directory.
fn add_sums(from: &Utf8Path, to: &Utf8Path) -> std::io::Result<()> {
    let older = match std::fs::read_to_string(to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        older => older?,
    };
    std::fs::write(to, merge_sums(&older, &std::fs::read_to_string(from)?))
}
