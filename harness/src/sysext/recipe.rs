// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use toml::Spanned;

use super::pack::Packing;
use super::recipe_error::RecipeError;
use super::signing::KeyPair;
use super::stage::is_kept;

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

/// What is done to the finished tree, in this order.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Finish {
    /// globs of paths that are removed
    #[serde(default)]
    pub remove: Vec<Spanned<String>>,
    /// directories whose contents move to another, such as `/usr/sbin` to `/usr/bin`
    #[serde(default, rename = "move")]
    pub moves: BTreeMap<String, Spanned<String>>,
    /// units that a target holds up once the extension is merged: `[Install]` sections are not
    /// evaluated for extensions
    #[serde(default)]
    pub upholds: BTreeMap<String, Vec<String>>,
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
        if self.files.is_empty() && self.trees.is_empty() && self.debian.is_empty() {
            let hint = "add [[file]], [[tree]] or [[debian]]";
            return Err(self.error(&self.name, "the recipe puts nothing into the extension", hint));
        }
        for file in &self.files {
            self.check_file(file)?;
        }
        for tree in &self.trees {
            self.check_source(&tree.source)?;
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
        let excludes = self.debian.iter().flat_map(|source| &source.exclude);
        for pattern in excludes.chain(&self.finish.remove) {
            if let Err(error) = globset::Glob::new(pattern.get_ref()) {
                let hint = "a glob such as \"/usr/share/doc/**\"";
                return Err(self.error(pattern, error.to_string(), hint));
            }
        }
        for (from, to) in &self.finish.moves {
            self.check_path(to, from)?;
            self.check_path(to, to.get_ref())?;
        }
        self.check_packing()
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
        self.check_path(&file.path, file.path.get_ref())?;
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
                    /etc comes through Ignition";
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
