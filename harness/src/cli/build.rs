// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use loadgauge_builder::describe::merge_sums;
use loadgauge_builder::pack::DdiFilesystem;
use loadgauge_builder::signing::KeyPair;
use loadgauge_builder::{Built, Format, Recipe, Target};
use loadgauge_host::{CommandExt as _, FileError, Tool, fs};

use super::catalogue_choice::CatalogueChoice;
use super::context::Context;
use super::image_choice::ImageOption;
use super::one_of::one_of;
use super::{Exit, Failure, output};

/// The file of digests in the directory of an extension.
const SUMS: &str = "SHA256SUMS";

/// Arguments of `loadgauge build`.
#[derive(Debug, Args)]
pub(super) struct BuildArguments {
    /// Recipe: a name in the catalogue or a file `*.toml`
    recipe: String,
    #[command(flatten)]
    image: ImageOption,
    /// Name of the extension [default: the name in the recipe]
    #[arg(long)]
    name: Option<String>,
    /// Directory to copy the extension and its description to [default: print its path in the cache]
    #[arg(short, long, value_name = "DIR")]
    output: Option<Utf8PathBuf>,
    /// Build twice and compare the extensions byte by byte
    #[arg(long)]
    check_reproducible: bool,
    /// Print why each package is part of the extension or of the image, and build nothing
    #[arg(long, conflicts_with_all = ["check_reproducible", "output"])]
    explain: bool,
    #[command(flatten)]
    catalogue: CatalogueChoice,
    #[command(flatten)]
    pack: PackArguments,
}

/// The options that replace the `[pack]` table of a recipe.
#[derive(Debug, Args)]
#[command(next_help_heading = "Packing options (they replace those of the recipe)")]
struct PackArguments {
    /// Format of the extension [default: that of the recipe, or squashfs]
    #[arg(long, value_parser = one_of(&Format::ALL, Format::name))]
    format: Option<Format>,
    /// Compression of squashfs or erofs: gzip, zstd, xz, lz4, lz4hc or none
    #[arg(long, value_name = "NAME")]
    compression: Option<String>,
    /// Compression level
    #[arg(long, value_name = "NUMBER")]
    level: Option<u32>,
    /// File system of a DDI [default: that of the recipe, or erofs]
    #[arg(long, value_parser = one_of(&DdiFilesystem::ALL, DdiFilesystem::name))]
    ddi: Option<DdiFilesystem>,
    /// Private key that signs a DDI (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    private_key: Option<Utf8PathBuf>,
    /// Certificate of the private key (PEM)
    #[arg(long, value_name = "FILE", requires = "private_key")]
    certificate: Option<Utf8PathBuf>,
}

impl PackArguments {
    /// Replaces the packing options of a recipe, and returns the format.
    fn apply(&self, recipe: &mut Recipe) -> Result<Format, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let format = recipe.format(self.format);
        let packing = &mut recipe.pack;
        packing.ddi_filesystem = self.ddi.or(packing.ddi_filesystem);
        let inner = if format == Format::Ddi { packing.ddi_filesystem().into() } else { format };
        if self.compression.is_some() || self.level.is_some() {
            packing.compress(inner, self.compression.as_deref(), self.level).map_err(usage)?;
        }
        if let (Some(key), Some(certificate)) = (&self.private_key, &self.certificate) {
            if format != Format::Ddi {
                return Err(usage(format!("format `{format}` cannot be signed, only `ddi` can")));
            }
            let pair = KeyPair::load(key, certificate).map_err(|error| Failure::of(Exit::Usage, &error))?;
            packing.signer = Some(pair);
        }
        Ok(format)
    }
}

/// Builds an extension.
pub(super) fn run(arguments: &BuildArguments) -> Result<Exit, Failure> {
    let context = Context::open(&arguments.catalogue, arguments.image.image.as_deref())?;
    let recipe = Recipe::load(&context.catalogue.recipe(&arguments.recipe)?)?;
    let mut recipe = arguments.name.as_deref().map_or_else(|| recipe.clone(), |name| recipe.with_name(name));
    let format = arguments.pack.apply(&mut recipe)?;
    let target = Target::of_image(&context.image);
    let progress = |text: &str| output::message(&format!("{}: {text}", recipe.name()));
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
    describe(&built, arguments.check_reproducible);
    let path = match &arguments.output {
        None => built.extension.path.clone(),
        Some(directory) => copy(&built, directory)?,
    };
    output::print(&format!("{path}\n"))?;
    Ok(Exit::Passed)
}

/// Writes to standard error what was built.
fn describe(built: &Built, compared: bool) {
    let extension = &built.extension;
    for warning in &built.warnings {
        output::message(&format!("warning: {warning}"));
    }
    if !built.dropped.is_empty() {
        output::message(&format!(
            "{}: {} files outside of /usr and /opt were left out, such as `{}`",
            extension.name,
            built.dropped.len(),
            built.dropped[0]
        ));
    }
    let status = match (built.cached, compared) {
        (_, true) => "built twice, byte-identical",
        (true, false) => "unchanged, taken from the cache",
        (false, false) => "built",
    };
    output::message(&format!(
        "{}: {status}: {}, {} bytes, {} packages, sha512 {}",
        extension.name,
        extension.format,
        extension.size,
        built.packages.len(),
        &extension.sha512[..16]
    ));
}

/// Copies the extension and its description out of the store, and returns the path of the copy.
fn copy(built: &Built, directory: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    let from = &built.extension.path;
    let target = directory.join(from.file_name().unwrap_or_default());
    fs::create_dir_all(directory)?;
    // An extension may be a directory, whose modes and times must stay.
    let tool = Tool::find("cp")?;
    let mut command = tool.command();
    command.args(["--archive", "--no-target-directory"]).args([from, &target]);
    command.run()?;
    let parent = from.parent().unwrap_or(Utf8Path::new(""));
    let files = built.described.iter().filter(|name| *name != SUMS).map(|name| parent.join(name));
    let mut command = tool.command();
    command.arg("--archive").args(files).arg(directory);
    command.run()?;
    add_sums(&parent.join(SUMS), &directory.join(SUMS))?;
    Ok(target)
}

/// Adds the digests of one file to another, which covers all extensions of a directory. Digests of files
/// that are not in the directory any more are removed.
fn add_sums(from: &Utf8Path, to: &Utf8Path) -> Result<(), FileError> {
    let existing = match fs::read_to_string(to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        existing => existing?,
    };
    let directory = to.parent().unwrap_or(Utf8Path::new("."));
    let existing = without_missing(&existing, |name| directory.join(name).exists());
    fs::write(to, merge_sums(&existing, &fs::read_to_string(from)?))
}

/// Removes the lines about files that do not exist; other lines stay.
fn without_missing(sums: &str, exists: impl Fn(&str) -> bool) -> String {
    let stays = |line: &&str| {
        // A digest, a blank, and a blank or an asterisk precede the name (sha256sum(1)).
        let name = line.trim_end().split_once(' ').and_then(|(_, name)| name.strip_prefix([' ', '*']));
        name.is_none_or(&exists)
    };
    sums.split_inclusive('\n').filter(stays).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_removed_files_do_not_stay() {
        let sums = "00  old.raw\n11  kept.raw\n22 *old.raw.json\n# by hand\n33  a name.raw";
        let found = without_missing(sums, |name| ["kept.raw", "a name.raw"].contains(&name));
        assert_eq!(found, "11  kept.raw\n# by hand\n33  a name.raw");
    }
}
