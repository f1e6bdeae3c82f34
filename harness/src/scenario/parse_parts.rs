// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::Format;
use loadgauge_host::suggest;
use toml::Spanned;
use toml::de::DeValue;

use super::problems::{AlreadyReported, Problems};
use super::toml_values::{RawFile, RawIgnition, RawRequires, RawSwap, RawSysext, read};
use super::{
    AuthorConfig, FileRequest, IgnitionRequest, ParseContext, Requires, Source, SwapRequest, SysextRequest,
    VersionRange,
};
use crate::check::{SETTLE, Sweep};

pub(super) fn requires(raw: RawRequires, problems: &mut Problems<'_>) -> Option<Requires> {
    Some(Requires {
        version: range(raw.version, problems).ok()?,
        systemd: range(raw.systemd, problems).ok()?,
        era: raw.era,
        architecture: raw.architecture,
        base: raw.base,
    })
}

fn range(
    text: Option<Spanned<String>>,
    problems: &mut Problems<'_>,
) -> Result<Option<VersionRange>, AlreadyReported> {
    let Some(text) = text else { return Ok(None) };
    VersionRange::parse(text.get_ref()).map(Some).map_err(|cause| {
        problems.add(text.span(), cause, Some("write it like `>=3794` or `>=3794, <4628`".to_owned()));
        AlreadyReported
    })
}

/// Reads `[waive]`: the sweeps that are not made, each with the reason.
pub(super) fn waive(value: Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> BTreeMap<Sweep, String> {
    let waived: BTreeMap<Sweep, Spanned<String>> = read(value, problems).unwrap_or_default();
    for reason in waived.values().filter(|reason| reason.get_ref().trim().is_empty()) {
        let hint = Some("write why the scenario cannot pass this sweep".to_owned());
        problems.add(reason.span(), "a sweep is waived without a reason", hint);
    }
    waived.into_iter().map(|(sweep, reason)| (sweep, reason.into_inner())).collect()
}

pub(super) fn sysext(
    value: Spanned<DeValue<'_>>,
    context: &ParseContext,
    problems: &mut Problems<'_>,
) -> Option<SysextRequest> {
    let span = value.span();
    let raw = read::<RawSysext>(value, problems)?;
    sysext_of(raw, span, context, problems)
}

/// Reads `swap = { .. }`.
pub(super) fn swap(
    value: Spanned<DeValue<'_>>,
    context: &ParseContext,
    problems: &mut Problems<'_>,
) -> Option<SwapRequest> {
    let span = value.span();
    let RawSwap { recipe, path, name, format, expect, settle } = read(value, problems)?;
    if let Some(format) = format.as_ref().filter(|format| *format.get_ref() == Format::Directory) {
        let hint = Some("choose a format of one file, such as `squashfs`".to_owned());
        problems.add(format.span(), "a swap needs an image file, not a directory", hint);
        return None;
    }
    let raw = RawSysext { recipe, path, name, format, delivery: None };
    let sysext = sysext_of(raw, span, context, problems)?;
    Some(SwapRequest { sysext, expect, settle: settle.unwrap_or(SETTLE) })
}

fn sysext_of(
    raw: RawSysext,
    span: Range<usize>,
    context: &ParseContext,
    problems: &mut Problems<'_>,
) -> Option<SysextRequest> {
    let source = match (raw.recipe, raw.path) {
        (Some(recipe), None) => Source::Recipe(find_recipe(&recipe, context, problems)?),
        (None, Some(path)) => {
            if let Some(format) = &raw.format {
                let hint = Some("remove it; `format` is for recipes".to_owned());
                problems.add(format.span(), "the format of the image at `path` cannot be changed", hint);
            }
            Source::Image(find_file(&path, context, problems)?)
        }
        (Some(_), Some(path)) => {
            problems.add(path.span(), "an extension has a `recipe` or a `path`, not both", None);
            return None;
        }
        (None, None) => {
            let hint = "name a recipe, `recipe = \"..\"`, or an image, `path = \"..\"`".to_owned();
            problems.add(span, "the extension has neither `recipe` nor `path`", Some(hint));
            return None;
        }
    };
    if let Some(name) = &raw.name
        && let Err(cause) = parse_extension_name(name.get_ref())
    {
        problems.add(name.span(), cause, None);
        return None;
    }
    Some(SysextRequest {
        source,
        name: raw.name.map(Spanned::into_inner),
        format: raw.format.map(Spanned::into_inner),
        delivery: raw.delivery.unwrap_or_default(),
        line: problems.line(span.start),
    })
}

/// Reads the name of an extension, which becomes the name of files in /etc/extensions and
/// /usr/lib/extension-release.d. systemd's `image_name_is_valid` allows more.
///
/// # Errors
/// The name has other characters, or a suffix `.raw`.
pub fn parse_extension_name(name: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    let valid = !name.is_empty()
        && !name.starts_with('.')
        && name.strip_suffix(".raw").is_none()
        && name.bytes().all(plain);
    valid.then(|| name.to_owned()).ok_or_else(|| {
        format!("`{name}` is not a name of an extension: use letters, digits and `-_.+`, without `.raw`")
    })
}

/// The file of a recipe: `hello` is searched by name, `own/hello.toml` is relative to the scenario file.
fn find_recipe(
    recipe: &Spanned<String>,
    context: &ParseContext,
    problems: &mut Problems<'_>,
) -> Option<Utf8PathBuf> {
    let name = recipe.get_ref();
    if Utf8Path::new(name).extension() == Some("toml") {
        return find_file(&Spanned::new(recipe.span(), name.into()), context, problems);
    }
    let file = format!("{name}.toml");
    let found = context.recipes.iter().map(|directory| directory.join(&file)).find(|path| path.is_file());
    if found.is_none() {
        let hint = if context.directory().join(&file).is_file() {
            Some(format!("write `recipe = \"{file}\"` for the file beside the scenario"))
        } else {
            let known = known_recipes(&context.recipes);
            suggest::did_you_mean(name, known.iter().map(String::as_str))
        };
        problems.add(recipe.span(), format!("there is no recipe `{name}`"), hint);
    }
    found
}

/// The names of all recipes in directories, sorted.
fn known_recipes(directories: &[Utf8PathBuf]) -> Vec<String> {
    let entries =
        directories.iter().filter_map(|directory| directory.read_dir_utf8().ok()).flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().strip_suffix(".toml").map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

/// A file, relative to the directory of the scenario file.
fn find_file(
    path: &Spanned<Utf8PathBuf>,
    context: &ParseContext,
    problems: &mut Problems<'_>,
) -> Option<Utf8PathBuf> {
    let found = context.directory().join(path.get_ref());
    if found.is_file() {
        return Some(found);
    }
    if path.get_ref().as_str().contains('\n') {
        let hint = "write the content to a file beside the scenario, and its name here".to_owned();
        problems.add(path.span(), "this is not the path of a file, but its content", Some(hint));
        return None;
    }
    if found.is_dir() {
        let hint = "name an image file; build one from a directory with a recipe that has it as `[[tree]]`";
        let cause = format!("`{}` is a directory, not a file", path.get_ref());
        problems.add(path.span(), cause, Some(hint.to_owned()));
        return None;
    }
    let cause = format!("there is no file `{}`", path.get_ref());
    let hint = if path.get_ref().is_absolute() { None } else { hint_for_missing_file(&found) };
    problems.add(path.span(), cause, hint);
    None
}

/// The hint for a file that does not exist.
fn hint_for_missing_file(path: &Utf8Path) -> Option<String> {
    let directory = path.parent()?;
    let names: Vec<String> = directory
        .read_dir_utf8()
        .ok()?
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().to_owned())
        .collect();
    let near = suggest::nearest(path.file_name()?, names.iter().map(String::as_str));
    Some(match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "relative paths start at the directory of the scenario file".to_owned(),
    })
}

pub(super) fn ignition(
    raw: RawIgnition,
    context: &ParseContext,
    problems: &mut Problems<'_>,
) -> Option<IgnitionRequest> {
    let config = match (raw.config, raw.butane) {
        (Some(_), Some(butane)) => {
            let hint = "keep one of them; Butane can `merge` an Ignition config".to_owned();
            problems.add(butane.span(), "`butane` cannot be combined with `config`", Some(hint));
            return None;
        }
        (Some(path), None) => Some(AuthorConfig::Ignition(find_file(&path, context, problems)?)),
        (None, Some(path)) => Some(AuthorConfig::Butane(find_file(&path, context, problems)?)),
        (None, None) => None,
    };
    let files = raw.file.into_iter().map(|raw| file(raw, problems)).collect::<Option<_>>()?;
    Some(IgnitionRequest { config, links: raw.link, files, units: raw.unit })
}

fn file(raw: RawFile, problems: &mut Problems<'_>) -> Option<FileRequest> {
    let mut mode = 0o644;
    if let Some(text) = raw.mode {
        match u32::from_str_radix(text.get_ref(), 8) {
            Ok(bits) if bits <= 0o7777 => mode = bits,
            _ => {
                let hint = "write it in octal: `\"0644\"`".to_owned();
                problems.add(text.span(), format!("`{}` is not a file mode", text.get_ref()), Some(hint));
                return None;
            }
        }
    }
    Some(FileRequest { path: raw.path, contents: raw.contents, mode, overwrite: raw.overwrite })
}
