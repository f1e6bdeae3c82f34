// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use toml::Spanned;

use super::archive;
use super::gentoo::GentooSource;
use super::image;
use super::pack::Packing;
use super::recipe_error::RecipeError;
use super::signing::KeyPair;
use super::stage::is_kept;
use super::{Format, mangle};

/// A file that says how an extension is built.
///
/// The same recipe serves any image: what depends on the image (its version, its architecture,
/// the packages it has) is left to the [`Target`](super::Target) that it is built for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// what systemd-sysext is to call the extension
    pub name: Spanned<String>,
    /// what it is about, in a line
    #[serde(default)]
    pub summary: String,
    /// its version, for people and for systemd-sysupdate
    pub version: Option<Spanned<String>>,
    /// where its project is at home
    pub homepage: Option<String>,
    /// where mistakes in it are told
    pub bug_report: Option<String>,
    /// seconds since 1970 that every file gets as its times, where `SOURCE_DATE_EPOCH` says
    /// nothing else
    pub epoch: Option<u32>,
    /// which systems may merge it
    #[serde(default)]
    pub compatible: Compatible,
    /// names of recipes beside this one whose packages count as present
    #[serde(default)]
    pub beyond: Vec<Spanned<String>>,
    /// Debian packages, with what they need beyond the base
    #[serde(default)]
    pub debian: Vec<DebianSource>,
    /// Gentoo's binary packages, with what they need beyond the base
    #[serde(default)]
    pub gentoo: Vec<GentooSource>,
    /// archives that are unpacked
    #[serde(default, rename = "archive")]
    pub archives: Vec<ArchiveSource>,
    /// extensions that were built before
    #[serde(default, rename = "image")]
    pub images: Vec<ImageSource>,
    /// directories beside the recipe
    #[serde(default, rename = "tree")]
    pub trees: Vec<TreeSource>,
    /// single files and links
    #[serde(default, rename = "file")]
    pub files: Vec<FileSource>,
    /// what is done to the tree when everything is in it
    #[serde(default)]
    pub finish: Finish,
    /// how it is packed
    #[serde(default)]
    pub pack: Packing,
    /// where it is published
    pub publish: Option<Publish>,
    /// where the recipe was read from
    #[serde(skip)]
    pub path: Utf8PathBuf,
    /// its text, which is part of what a build is kept under
    #[serde(skip)]
    pub text: String,
}

/// What goes into the extension-release file. See extension-release in os-release(5).
///
/// When neither `version-id` nor `sysext-level` is given, the extension is bound to the
/// `SYSEXT_LEVEL` of the image as Flatcar advises its users, or to its `VERSION_ID` where the image
/// has no level.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Compatible {
    /// `image` (the default): the image's own; `_any`; or a literal
    pub id: Option<String>,
    /// `image` or a literal
    pub version_id: Option<String>,
    /// `image` or a literal
    pub sysext_level: Option<String>,
    /// `image` (the default), `x86-64`, `arm64`, `_any`, or `other`: one that the image is not
    pub architecture: Option<String>,
    /// whether systemd is to look for new units after a merge; by default, whether there are any
    pub reload_manager: Option<bool>,
    /// the name inside `extension-release.NAME` where it is not the extension's, for tests of
    /// systemd's refusal
    pub release_name: Option<String>,
}

/// One `[[file]]`: exactly one of `contents`, `source` and `link` says what it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSource {
    /// absolute, under /usr or /opt; `{name}` stands for the extension's name
    pub path: Spanned<String>,
    /// octal; 0644 when not given
    pub mode: Option<Spanned<String>>,
    /// what the file says; `{name}` stands for the extension's name
    pub contents: Option<String>,
    /// a file beside the recipe
    pub source: Option<Spanned<Utf8PathBuf>>,
    /// makes it a symbolic link to this
    pub link: Option<String>,
}

/// One `[[tree]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TreeSource {
    /// a directory beside the recipe that holds `usr` or `opt`
    pub source: Spanned<Utf8PathBuf>,
}

/// One `[[debian]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DebianSource {
    /// names of packages
    pub packages: Vec<Spanned<String>>,
    /// whether what they recommend is taken along
    #[serde(default)]
    pub recommends: bool,
    /// globs of paths that are left out
    #[serde(default)]
    pub exclude: Vec<Spanned<String>>,
}

/// One `[[archive]]`: a tar, alone or compressed, or a zip.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ArchiveSource {
    /// a file beside the recipe
    pub source: Option<Spanned<Utf8PathBuf>>,
    /// where it is fetched from: `https`, `http` or `file`
    pub url: Option<Spanned<String>>,
    /// SHA-256 of the archive, in hex
    pub sha256: Spanned<String>,
    /// how many leading parts of each name fall away
    #[serde(default)]
    pub strip: usize,
    /// the directory that the rest goes to; the root when not given
    pub into: Option<Spanned<String>>,
    /// globs of paths that are taken; all when not given
    #[serde(default)]
    pub include: Vec<Spanned<String>>,
    /// globs of paths that are left out
    #[serde(default)]
    pub exclude: Vec<Spanned<String>>,
}

/// One `[[image]]`: an extension that was built before, whatever it is packed as. Its files are taken,
/// and its extension-release is written anew.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageSource {
    /// an image or a directory beside the recipe
    pub source: Option<Spanned<Utf8PathBuf>>,
    /// where it is fetched from: `https`, `http` or `file`
    pub url: Option<Spanned<String>>,
    /// SHA-256 of the image, in hex; needed where it is fetched
    pub sha256: Option<Spanned<String>>,
    /// globs of paths that are left out
    #[serde(default)]
    pub exclude: Vec<Spanned<String>>,
}

/// What is done to the finished tree, in this order: `mask`, `script`, `etc`, `remove`, `move`,
/// `upholds`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Finish {
    /// globs of paths that are left out, whether there are any or not, as Portage's `INSTALL_MASK`
    #[serde(default)]
    pub mask: Vec<Spanned<String>>,
    /// a script beside the recipe, which is run in the tree
    pub script: Option<Spanned<Utf8PathBuf>>,
    /// what becomes of what belongs in /etc; it is left out when not given
    pub etc: Option<Etc>,
    /// globs of paths that are removed, each of which must cover something
    #[serde(default)]
    pub remove: Vec<Spanned<String>>,
    /// directories whose contents move to another, such as `/usr/sbin` to `/usr/bin`
    #[serde(default, rename = "move")]
    pub moves: BTreeMap<String, Spanned<String>>,
    /// what may be missing all the same: globs of the names of libraries, and of the paths of files
    /// that are linked with some
    #[serde(default)]
    pub missing_libraries: Vec<Spanned<String>>,
    /// units that a target holds up once the extension is merged: `[Install]` sections are not
    /// evaluated for extensions
    #[serde(default)]
    pub upholds: BTreeMap<String, Vec<String>>,
}

/// What becomes of what belongs in /etc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Etc {
    /// it lies in `/usr/share/NAME/etc`, and systemd-tmpfiles copies it
    Tmpfiles,
}

/// Where systemd-sysupdate finds the extension and its successors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Publish {
    /// the directory that holds `SHA256SUMS` and the images
    pub url: Spanned<String>,
}

impl Recipe {
    /// Reads and checks a recipe.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or says something that no recipe can say.
    pub fn load(path: &Utf8Path) -> Result<Self, RecipeError> {
        let text =
            fs::read_to_string(path).map_err(|source| RecipeError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Checks the text of a recipe; `path` is where it is said to come from and what the files it
    /// names lie beside.
    ///
    /// # Errors
    /// It is not TOML, or says something that no recipe can say.
    pub fn parse(text: &str, path: &Utf8Path) -> Result<Self, RecipeError> {
        let mut recipe: Self =
            toml::from_str(text).map_err(|error| RecipeError::from_toml(path, text, &error))?;
        path.clone_into(&mut recipe.path);
        text.clone_into(&mut recipe.text);
        recipe.check()?;
        Ok(recipe)
    }

    /// The same recipe for an extension of another name.
    #[must_use]
    pub fn with_name(&self, name: &str) -> Self {
        let span = self.name.span();
        Self { name: Spanned::new(span, name.to_owned()), ..self.clone() }
    }

    /// The same recipe, where a DDI is signed by this key pair.
    #[must_use]
    pub fn signed_by(&self, pair: &KeyPair) -> Self {
        let mut recipe = self.clone();
        recipe.pack.signer = Some(pair.clone());
        recipe
    }

    /// How it is packed: as asked for, else as the recipe says, else as squashfs.
    pub fn format(&self, asked: Option<Format>) -> Format {
        asked.or(self.pack.format).unwrap_or(Format::Squashfs)
    }

    /// The extension's name.
    pub fn name(&self) -> &str {
        self.name.get_ref()
    }

    /// A path that the recipe names, which lies beside it.
    pub fn beside(&self, path: &Utf8Path) -> Utf8PathBuf {
        self.path.parent().unwrap_or(Utf8Path::new("")).join(path)
    }

    /// An error about a place in the recipe.
    pub(super) fn error<T>(&self, at: &Spanned<T>, message: impl Into<String>, hint: &str) -> RecipeError {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        RecipeError::at(&self.path, &self.text, at.span().start, message.into(), hint)
    }

    /// Puts the extension's name in.
    pub(super) fn fill(&self, text: &str) -> String {
        text.replace("{name}", self.name())
    }

    fn check(&self) -> Result<(), RecipeError> {
        check_name(self.name()).map_err(|(message, hint)| self.error(&self.name, message, hint))?;
        let empty = self.files.is_empty() && self.trees.is_empty() && self.images.is_empty();
        if empty && self.debian.is_empty() && self.gentoo.is_empty() && self.archives.is_empty() {
            let hint = "add [[file]], [[tree]], [[archive]], [[image]], [[debian]] or [[gentoo]]";
            return Err(self.error(&self.name, "the recipe puts nothing into the extension", hint));
        }
        for file in &self.files {
            self.check_file(file)?;
        }
        for tree in &self.trees {
            self.check_source(&tree.source)?;
        }
        if let Some(script) = &self.finish.script {
            self.check_source(script)?;
            if !mangle::is_script(&self.beside(script.get_ref())) {
                let message = format!("`{}` is no script", script.get_ref());
                return Err(self.error(script, message, "name a file"));
            }
        }
        if let Some(version) = self.version.as_ref().filter(|version| !is_version(version.get_ref())) {
            let message = format!("`{}` cannot be a version", version.get_ref());
            let hint =
                "letters, digits, `.`, `+`, `~` and `^`; systemd compares it and puts it into file names";
            return Err(self.error(version, message, hint));
        }
        for source in &self.gentoo {
            source.check(self)?;
        }
        for source in &self.debian {
            for package in &source.packages {
                if !is_package_name(package.get_ref()) {
                    let message = format!("`{}` is not the name of a Debian package", package.get_ref());
                    let hint = "a name alone, in small letters; what else it needs is found";
                    return Err(self.error(package, message, hint));
                }
            }
        }
        for source in &self.archives {
            archive::check(self, source)?;
            if let Some(file) = &source.source {
                self.check_source(file)?;
            }
            if let Some(into) = source.into.as_ref().filter(|into| into.get_ref() != "/") {
                self.check_path(into, into.get_ref())?;
            }
        }
        for source in &self.images {
            image::check(self, source)?;
            source.source.as_ref().map_or(Ok(()), |file| self.check_source(file))?;
        }
        let images = self.images.iter().flat_map(|source| &source.exclude);
        let archives = self.archives.iter().flat_map(|source| source.include.iter().chain(&source.exclude));
        let gentoo =
            self.gentoo.iter().flat_map(|source| source.exclude.iter().chain(source.mask.iter().flatten()));
        let excludes =
            self.debian.iter().flat_map(|source| &source.exclude).chain(archives).chain(gentoo).chain(images);
        let missing = &self.finish.missing_libraries;
        for pattern in excludes.chain(&self.finish.remove).chain(&self.finish.mask).chain(missing) {
            if let Err(error) = globset::Glob::new(pattern.get_ref()) {
                let hint = "a glob such as \"/usr/share/doc/**\"";
                return Err(self.error(pattern, error.to_string(), hint));
            }
        }
        for (from, to) in &self.finish.moves {
            self.check_path(to, from)?;
            self.check_path(to, to.get_ref())?;
        }
        self.check_publish()?;
        self.check_packing()
    }

    fn check_publish(&self) -> Result<(), RecipeError> {
        let Some(Publish { url }) = &self.publish else { return Ok(()) };
        let plain = |c: char| !c.is_whitespace() && !c.is_control();
        let web = ["https://", "http://", "file:///"].iter().any(|scheme| url.get_ref().starts_with(scheme));
        if !web || !url.get_ref().chars().all(plain) {
            let message = format!("`{}` is not where something can be fetched from", url.get_ref());
            return Err(self.error(
                url,
                message,
                "a directory such as \"https://example.org/extensions/tool\"",
            ));
        }
        if self.version.is_none() {
            let hint = "say `version = \"1.2.3\"`: systemd-sysupdate tells images apart by it";
            return Err(self.error(url, "what is published needs a version", hint));
        }
        Ok(())
    }

    fn check_packing(&self) -> Result<(), RecipeError> {
        let pack = &self.pack;
        if let Some((level, what, expected)) = pack.wrong_level() {
            let message = format!("{} is no level of {what}", level.get_ref());
            return Err(self.error(level, message, &format!("it may be {expected}")));
        }
        match (&pack.private_key, &pack.certificate) {
            (Some(key), Some(certificate)) => {
                self.check_source(key)?;
                self.check_source(certificate)
            }
            (None, None) => Ok(()),
            (Some(one), None) | (None, Some(one)) => {
                let message = "a signature needs both a private-key and a certificate";
                Err(self.error(one, message, "name both, or neither"))
            }
        }
    }

    fn check_file(&self, file: &FileSource) -> Result<(), RecipeError> {
        let path = file.path.get_ref();
        let in_etc = self.finish.etc.is_some().then(|| path.strip_prefix("/etc/")).flatten();
        match in_etc {
            Some(rest) => self.check_path(&file.path, &format!("/usr/{rest}"))?,
            None => self.check_path(&file.path, path)?,
        }
        let kinds = [file.contents.is_some(), file.source.is_some(), file.link.is_some()];
        if kinds.into_iter().filter(|given| *given).count() != 1 {
            let message = format!("`{}` needs exactly one of contents, source and link", file.path.get_ref());
            return Err(self.error(&file.path, message, ""));
        }
        if let Some(mode) = &file.mode {
            parse_mode(mode.get_ref()).ok_or_else(|| {
                let message = format!("`{}` is not the mode of a file", mode.get_ref());
                self.error(mode, message, "four octal digits, such as \"0755\"")
            })?;
        }
        file.source.as_ref().map_or(Ok(()), |source| self.check_source(source))
    }

    fn check_path<T>(&self, at: &Spanned<T>, path: &str) -> Result<(), RecipeError> {
        let plain = path.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
                && is_kept(Utf8Path::new(rest))
        });
        if plain && !path.chars().any(char::is_control) {
            return Ok(());
        }
        let hint = "an extension holds absolute paths under /usr and /opt and nothing else; what belongs in \
                    /etc comes through Ignition, or with [finish] etc = \"tmpfiles\"";
        Err(self.error(at, format!("`{path}` is not a path that an extension can hold"), hint))
    }

    fn check_source(&self, source: &Spanned<Utf8PathBuf>) -> Result<(), RecipeError> {
        let path = self.beside(source.get_ref());
        if path.exists() {
            return Ok(());
        }
        let message = format!("`{}` does not exist", source.get_ref());
        Err(self.error(source, message, &format!("looked for {path}: sources lie beside the recipe")))
    }
}

impl ImageSource {
    /// A place in the recipe to tell of it.
    pub(super) fn at<'a>(&self, recipe: &'a Recipe) -> &'a Spanned<String> {
        let own = recipe.images.iter().find(|other| std::ptr::eq(*other, self));
        own.and_then(|source| source.url.as_ref().or(source.sha256.as_ref())).unwrap_or(&recipe.name)
    }
}

impl FileSource {
    /// Permission bits.
    pub(super) fn mode(&self) -> u32 {
        self.mode.as_ref().and_then(|mode| parse_mode(mode.get_ref())).unwrap_or(0o644)
    }
}

/// What systemd and a file name both allow. systemd-sysext compares names as versions and takes
/// what stands behind `_` for one.
pub(super) fn check_name(name: &str) -> Result<(), (String, &'static str)> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+~".contains(&byte);
    if name.is_empty() || name.starts_with('.') || name.len() > 200 || !name.bytes().all(plain) {
        let hint = "letters, digits, `-`, `_`, `.`, `+` and `~`, not starting with a dot";
        return Err((format!("`{name}` cannot name an extension"), hint));
    }
    if name.to_ascii_lowercase().ends_with(".raw") {
        return Err((format!("`{name}` ends with `.raw`"), "leave `.raw` to the image file"));
    }
    Ok(())
}

/// What strverscmp and a pattern of systemd-sysupdate both take: no `-`, which parts a name from
/// its version, and no `_`, behind which an architecture may stand.
fn is_version(version: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+~^".contains(&byte);
    version.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) && version.bytes().all(plain)
}

/// Debian policy 5.6.1.
fn is_package_name(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let rest = |byte: u8| alphanumeric(byte) || b"+-.".contains(&byte);
    // A trailing `-` would tell apt to remove the package.
    name.len() > 1
        && name.bytes().next().is_some_and(alphanumeric)
        && name.bytes().all(rest)
        && !name.ends_with('-')
}

fn parse_mode(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777 && mode & 0o400 != 0)
}
