// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::suggest;
use std::collections::BTreeMap;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use toml::Spanned;
use toml::de::DeValue;

use super::format::{RawFile, RawIgnition, RawRequires, RawSwap, RawSysext, read};
use super::problem::{Problems, Told};
use super::{
    AuthorConfig, FileRequest, IgnitionRequest, Requires, Source, Surroundings, SwapRequest, SysextRequest,
    VersionRange,
};
use crate::check::Sweep;
use loadgauge_builder::Format;

pub(super) fn requires(raw: RawRequires, problems: &mut Problems<'_>) -> Option<Requires> {
    Some(Requires {
        version: range(raw.version, problems).ok()?,
        systemd: range(raw.systemd, problems).ok()?,
        era: raw.era,
        architecture: raw.architecture,
        base: raw.base,
    })
}

fn range(text: Option<Spanned<String>>, problems: &mut Problems<'_>) -> Result<Option<VersionRange>, Told> {
    let Some(text) = text else { return Ok(None) };
    VersionRange::parse(text.get_ref()).map(Some).map_err(|cause| {
        problems.add(text.span(), cause, Some("write it like `>=3794` or `>=3794, <4628`".to_owned()));
        Told
    })
}

/// Reads `[waive]`: sweeps that are not made, each with the reason.
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
    surroundings: &Surroundings,
    problems: &mut Problems<'_>,
) -> Option<SysextRequest> {
    let span = value.span();
    let raw = read::<RawSysext>(value, problems)?;
    sysext_of(raw, span, surroundings, problems)
}

/// `swap = { .. }`: what is brought in is one file.
pub(super) fn swap(
    value: Spanned<DeValue<'_>>,
    surroundings: &Surroundings,
    problems: &mut Problems<'_>,
) -> Option<SwapRequest> {
    let span = value.span();
    let RawSwap { recipe, path, name, format, expect } = read(value, problems)?;
    if let Some(format) = format.as_ref().filter(|format| *format.get_ref() == Format::Directory) {
        let hint = Some("an image of one file takes the place of another".to_owned());
        problems.add(format.span(), "a directory cannot be swapped in", hint);
        return None;
    }
    let raw = RawSysext { recipe, path, name, format, delivery: None };
    let sysext = sysext_of(raw, span, surroundings, problems)?;
    Some(SwapRequest { sysext, expect })
}

fn sysext_of(
    raw: RawSysext,
    span: Range<usize>,
    surroundings: &Surroundings,
    problems: &mut Problems<'_>,
) -> Option<SysextRequest> {
    let source = match (raw.recipe, raw.path) {
        (Some(recipe), None) => Source::Recipe(find_recipe(&recipe, surroundings, problems)?),
        (None, Some(path)) => {
            if let Some(format) = &raw.format {
                let hint = Some("`format` is for what is built from a recipe".to_owned());
                problems.add(format.span(), "the image at `path` is packed already", hint);
            }
            Source::Image(find_file(&path, surroundings, problems)?)
        }
        (Some(_), Some(path)) => {
            problems.add(path.span(), "an extension has a `recipe` or a `path`, not both", None);
            return None;
        }
        (None, None) => {
            let hint = "name what builds it, `recipe = \"..\"`, or an image, `path = \"..\"`".to_owned();
            problems.add(span, "the extension has neither `recipe` nor `path`", Some(hint));
            return None;
        }
    };
    if let Some(name) = raw.name.as_ref().filter(|name| !is_extension_name(name.get_ref())) {
        let hint = "a file name of letters, digits and `-_.+`, without `.raw`".to_owned();
        problems.add(name.span(), format!("`{}` cannot name an extension", name.get_ref()), Some(hint));
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

/// Whether a name can be a file in /etc/extensions and, with a prefix, one in
/// /usr/lib/extension-release.d (systemd's `image_name_is_valid` allows more than is wise).
fn is_extension_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    !name.is_empty()
        && !name.starts_with('.')
        && name.strip_suffix(".raw").is_none()
        && name.bytes().all(plain)
}

/// The file of a recipe: `hello` is looked for by name, `own/hello.toml` is beside the scenario.
fn find_recipe(
    recipe: &Spanned<String>,
    surroundings: &Surroundings,
    problems: &mut Problems<'_>,
) -> Option<Utf8PathBuf> {
    let name = recipe.get_ref();
    if Utf8Path::new(name).extension() == Some("toml") {
        return find_file(&Spanned::new(recipe.span(), name.into()), surroundings, problems);
    }
    let file = format!("{name}.toml");
    let found =
        surroundings.recipes.iter().map(|directory| directory.join(&file)).find(|path| path.is_file());
    if found.is_none() {
        let known = known_recipes(&surroundings.recipes);
        let hint = suggest::did_you_mean(name, known.iter().map(String::as_str));
        problems.add(recipe.span(), format!("there is no recipe `{name}`"), hint);
    }
    found
}

/// The names of all recipes in some directories, sorted.
fn known_recipes(directories: &[Utf8PathBuf]) -> Vec<String> {
    let entries =
        directories.iter().filter_map(|directory| directory.read_dir_utf8().ok()).flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().strip_suffix(".toml").map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

/// A file that stands beside the scenario, or anywhere if its path is absolute.
fn find_file(
    path: &Spanned<Utf8PathBuf>,
    surroundings: &Surroundings,
    problems: &mut Problems<'_>,
) -> Option<Utf8PathBuf> {
    let found = surroundings.directory().join(path.get_ref());
    if found.is_file() {
        return Some(found);
    }
    let cause = format!("there is no file `{}`", path.get_ref());
    let hint = if path.get_ref().is_absolute() { None } else { near_file(&found) };
    problems.add(path.span(), cause, hint);
    None
}

/// What may have been meant by a file that does not exist.
fn near_file(path: &Utf8Path) -> Option<String> {
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
        None => "a relative path begins at the scenario's own directory".to_owned(),
    })
}

pub(super) fn ignition(
    raw: RawIgnition,
    surroundings: &Surroundings,
    problems: &mut Problems<'_>,
) -> Option<IgnitionRequest> {
    let config = match (raw.config, raw.butane) {
        (Some(_), Some(butane)) => {
            let hint = "Butane can `merge` an Ignition config".to_owned();
            problems.add(butane.span(), "one of `config` and `butane`, not both", Some(hint));
            return None;
        }
        (Some(path), None) => Some(AuthorConfig::Ignition(find_file(&path, surroundings, problems)?)),
        (None, Some(path)) => Some(AuthorConfig::Butane(find_file(&path, surroundings, problems)?)),
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
                let hint = "write it in octal, like `\"0644\"`".to_owned();
                problems.add(text.span(), format!("`{}` is not a file mode", text.get_ref()), Some(hint));
                return None;
            }
        }
    }
    Some(FileRequest { path: raw.path, contents: raw.contents, mode, overwrite: raw.overwrite })
}
