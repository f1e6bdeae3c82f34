// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_images::host::Store;

use super::digest;
use super::fetch::{FetchError, fetch, is_sha256};
use super::globs;
use super::member::merge_usr;
use super::recipe::{ArchiveSource, Recipe};
use super::recipe_error::RecipeError;
use super::stage::Staged;
use super::unpack::{Place, UnpackCause, UnpackError, Unpacking, decoder};

/// How large an archive may be, in bytes.
const MAXIMUM_SIZE: u64 = 8 << 30;

/// An archive of a recipe cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// the recipe is wrong about it
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// it cannot be fetched
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// it cannot be unpacked
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// it cannot be read
    #[error("cannot read the archive `{path}`")]
    Read {
        /// which
        path: Utf8PathBuf,
        /// why not
        source: std::io::Error,
    },
}

impl ArchiveError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            _ => None,
        }
    }

    /// Whether the host or its network lacks something, rather than the recipe being wrong.
    pub fn is_host(&self) -> bool {
        matches!(self, Self::Fetch(error) if !matches!(error, FetchError::Digest { .. }) && !error.is_absent())
    }
}

/// Unpacks an archive of a recipe into a stage, and says what it brought that an extension does not
/// hold.
///
/// # Errors
/// See [`ArchiveError`].
pub(super) fn stage(
    staged: &mut Staged,
    recipe: &Recipe,
    source: &ArchiveSource,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Vec<Utf8PathBuf>, ArchiveError> {
    let (path, name) = locate(recipe, source, store, progress)?;
    progress(&format!("unpacking {name}"));
    let include = globs::compile(recipe, &source.include)?;
    let exclude = globs::compile(recipe, &source.exclude)?;
    let into = source.into.as_ref().map_or("", |into| into.get_ref().trim_matches('/'));
    let place = |member: &Utf8Path| {
        let Some(rest) = strip(member, source.strip) else { return Place::Nowhere };
        let path = merge_usr(&Utf8Path::new(into).join(rest));
        let wanted = source.include.is_empty() || globs::matches(&include, &path);
        if wanted && !globs::matches(&exclude, &path) { Place::At(path) } else { Place::Nowhere }
    };
    let before = staged.nodes().count();
    let dropped = unpack(Unpacking::new(staged, &name, &place), &path, &name)?;
    if staged.nodes().count() == before {
        let at = &source.sha256;
        let message = format!("nothing of `{name}` comes into the extension");
        let hint = "look at `strip`, `into` and `include`: an extension holds /usr and /opt";
        return Err(recipe.error(at, message, hint).into());
    }
    Ok(dropped)
}

/// Where the archive lies once it is there, and what it is called.
fn locate(
    recipe: &Recipe,
    source: &ArchiveSource,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<(Utf8PathBuf, String), ArchiveError> {
    if let Some(url) = &source.url {
        let url = url.get_ref();
        progress(&format!("fetching {url}"));
        let path = fetch(url, source.sha256.get_ref(), MAXIMUM_SIZE, store)?;
        let end = url.split(['?', '#']).next().unwrap_or(url);
        return Ok((path, end.rsplit('/').next().unwrap_or(end).to_owned()));
    }
    let file = source.source.as_ref().map(|file| file.get_ref().clone()).unwrap_or_default();
    let path = recipe.beside(&file);
    let found = digest::sha256_of_file(&path).map_err(read(&path))?;
    if found != *source.sha256.get_ref() {
        let message = format!("`{file}` has another SHA-256: {found}");
        let hint = "look whether it is the file that was meant before you change the digest";
        return Err(recipe.error(&source.sha256, message, hint).into());
    }
    let name = path.file_name().unwrap_or_default().to_owned();
    Ok((path, name))
}

/// A path without its first parts; nothing where it has no more.
fn strip(path: &Utf8Path, parts: usize) -> Option<&Utf8Path> {
    let mut components = path.components();
    for _ in 0..parts {
        components.next()?;
    }
    Some(components.as_path())
}

/// Unpacks by what the file is, not by what it is called: downloads are called anything.
fn unpack(unpacking: Unpacking<'_>, path: &Utf8Path, name: &str) -> Result<Vec<Utf8PathBuf>, ArchiveError> {
    let mut file = File::open(path).map_err(read(path))?;
    let mut magic = [0; 6];
    let length = file.by_ref().take(6).read(&mut magic).map_err(read(path))?;
    file.rewind().map_err(read(path))?;
    let reader = BufReader::with_capacity(1 << 20, file);
    let suffix = match &magic[..length] {
        [b'P', b'K', 3 | 5, 4 | 6, ..] => return Ok(unpacking.zip(reader)?),
        [0x1f, 0x8b, ..] => ".gz",
        [0xfd, b'7', b'z', b'X', b'Z', 0] => ".xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ".zst",
        [b'B', b'Z', b'h', ..] => ".bz2",
        _ => "",
    };
    let reader = decoder(suffix, reader).map_err(|cause| cause.of(name, None))?;
    unpacking.tar(reader).map_err(|error| not_a_tar(error, suffix).into())
}

/// A file that is no archive at all fails as a tar that ends too early or has no sound header.
fn not_a_tar(error: UnpackError, suffix: &str) -> UnpackError {
    match error {
        UnpackError { archive, member: None, cause: UnpackCause::Read(source) } if suffix.is_empty() => {
            let why = format!("{source}; known are tar, alone or as .gz, .xz, .zst and .bz2, and zip");
            UnpackCause::Layout { what: "an archive that can be read", why }.of(&archive, None)
        }
        other => other,
    }
}

fn read(path: &Utf8Path) -> impl FnOnce(std::io::Error) -> ArchiveError + use<> {
    let path = path.to_owned();
    move |source| ArchiveError::Read { path, source }
}

/// What is wrong with an `[[archive]]`, if anything is.
pub(super) fn check(recipe: &Recipe, source: &ArchiveSource) -> Result<(), RecipeError> {
    if !is_sha256(source.sha256.get_ref()) {
        let message = format!("`{}` is not a SHA-256", source.sha256.get_ref());
        return Err(recipe.error(
            &source.sha256,
            message,
            "64 digits of 0-9 and a-f, as sha256sum prints them",
        ));
    }
    match (&source.source, &source.url) {
        (Some(_), None) => Ok(()),
        (None, Some(url)) => {
            let known =
                ["http://", "https://", "file:"].iter().any(|scheme| url.get_ref().starts_with(scheme));
            let hint = "http, https or file";
            known.then_some(()).ok_or_else(|| {
                recipe.error(url, format!("`{}` is not a URL that can be fetched", url.get_ref()), hint)
            })
        }
        _ => {
            let hint = "source = \"a file beside the recipe\", or url = \"https://…\"";
            Err(recipe.error(&source.sha256, "an [[archive]] needs exactly one of source and url", hint))
        }
    }
}
