// SPDX-License-Identifier: Apache-2.0
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8DirEntry, Utf8Path, Utf8PathBuf};
use include_dir::{Dir, DirEntry, include_dir};
use loadgauge_host::digest::Inputs;
use loadgauge_host::{Entry, FileError, Hint, Store, StoreError, fs, suggest};

use super::directory_recipe::recipe_of_directory;
use super::{ParseContext, ParseError, Scenario, Source};

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../scenarios");

/// The directory of a catalogue that contains recipes instead of scenarios.
const RECIPES: &str = "recipes";

/// A directory of scenario files and recipes.
#[derive(Debug, Clone)]
pub struct Catalogue {
    root: Utf8PathBuf,
    names: Vec<String>,
}

/// A scenario, recipe or image cannot be found or read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// the store refuses the embedded catalogue
    #[error("cannot write the built-in scenarios to the cache")]
    Store(#[from] StoreError),
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// the name of a file is not UTF-8, or has other characters than names of scenarios
    #[error("the name of `{path}` is not a valid name of a scenario")]
    Name {
        /// the file
        path: Utf8PathBuf,
    },
    /// no recipe has the name
    #[error("there is no recipe `{name}`")]
    NoRecipe {
        /// the name
        name: String,
        /// hint with the recipe that was probably meant
        near: Option<String>,
    },
    /// a recipe file or an image does not exist
    #[error("there is no file `{path}`")]
    NoFile {
        /// the file
        path: Utf8PathBuf,
    },
    /// the extension-release file of a directory lacks a field
    #[error("`{path}` has no {field}, so systemd-sysext would skip the extension")]
    Release {
        /// the file
        path: Utf8PathBuf,
        /// the field
        field: &'static str,
    },
    /// scenario files have errors
    #[error("{}", join(.0))]
    Parse(Vec<ParseError>),
}

impl CatalogueError {
    /// The error with the hints of all problems, for a terminal.
    pub fn report(&self) -> String {
        match self {
            Self::Parse(errors) => {
                let reports: Vec<String> = errors.iter().map(ParseError::report).collect();
                reports.join("\n")
            }
            other => other.to_string(),
        }
    }
}

impl Hint for CatalogueError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::File(error) if error.kind() == io::ErrorKind::NotFound => Some(
                "name a scenario file, or a directory of scenario files with `recipes/` in it".to_owned(),
            ),
            Self::File(error) => error.hint(),
            Self::Name { .. } => Some("use letters, digits, `-`, `_` and `.`".to_owned()),
            Self::NoRecipe { near, .. } => near.clone(),
            Self::NoFile { .. } => Some(
                "name an image file, a directory, a recipe file `*.toml`, or a recipe of the catalogue"
                    .to_owned(),
            ),
            Self::Release { .. } => {
                Some("add it, or remove the file: one for the image is then written".to_owned())
            }
            Self::Parse(errors) => match errors.as_slice() {
                [error] => error.hint(),
                _ => None,
            },
        }
    }
}

fn join(errors: &[ParseError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("\n")
}

impl Catalogue {
    /// Opens the catalogue in the binary, which is written to the store.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn embedded(store: &Store) -> Result<Self, CatalogueError> {
        let root = match store.entry("catalogue", &digest(&EMBEDDED))? {
            Entry::Ready(root) => root,
            Entry::Vacant(vacancy) => {
                extract(&EMBEDDED, vacancy.directory()).map_err(StoreError::from)?;
                vacancy.commit()?
            }
        };
        Self::at(root)
    }

    /// Opens a catalogue of the user.
    ///
    /// # Errors
    /// The directory cannot be read, or the name of a file is not a valid name of a scenario.
    pub fn at(root: impl Into<Utf8PathBuf>) -> Result<Self, CatalogueError> {
        let root = root.into();
        let mut names = Vec::new();
        collect(&root, "", &mut names)?;
        names.sort();
        Ok(Self { root, names })
    }

    /// The directory.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// The names of its scenarios, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Reads one of its scenarios.
    ///
    /// # Errors
    /// The file cannot be read, or has errors.
    pub fn load(&self, name: &str) -> Result<Scenario, CatalogueError> {
        self.read(self.root.join(format!("{name}.toml")), name.to_owned())
    }

    /// Reads a scenario file outside the catalogue. Its recipes are searched in `recipes/` next to it,
    /// then in the catalogue.
    ///
    /// # Errors
    /// The file cannot be read, has errors, or its name is not a valid name of a scenario.
    pub fn load_file(&self, path: &Utf8Path) -> Result<Scenario, CatalogueError> {
        let name = path.file_stem().filter(|name| is_name(name));
        let name = name.ok_or_else(|| CatalogueError::Name { path: path.to_owned() })?;
        self.read(path.to_owned(), name.to_owned())
    }

    /// The extension that an argument `FILE|DIRECTORY|RECIPE` names: a file `*.toml` is a recipe, a plain
    /// name that is not a file is a recipe of the catalogue, and any other file is an image. A directory
    /// gets a recipe in the store that has it as its tree.
    ///
    /// # Errors
    /// The file does not exist, or the catalogue has no such recipe.
    pub fn extension(&self, argument: &Utf8Path, store: &Store) -> Result<Source, CatalogueError> {
        let is_path = argument.as_str().contains('/');
        if argument.is_dir() && (is_path || self.recipe(argument.as_str()).is_err()) {
            return Ok(Source::Recipe(recipe_of_directory(argument, store)?));
        }
        let is_recipe_file = argument.extension() == Some("toml");
        let is_name = !is_path && argument.extension().is_none();
        if is_name && !argument.is_file() {
            return Ok(Source::Recipe(self.recipe(argument.as_str())?));
        }
        if !argument.is_file() {
            return Err(CatalogueError::NoFile { path: argument.to_owned() });
        }
        let path = camino::absolute_utf8(argument).map_err(FileError::at("resolve", argument))?;
        Ok(if is_recipe_file { Source::Recipe(path) } else { Source::Image(path) })
    }

    /// The file of a recipe, given its name in the catalogue or its path.
    ///
    /// # Errors
    /// The catalogue has no such recipe.
    pub fn recipe(&self, name: &str) -> Result<Utf8PathBuf, CatalogueError> {
        let given = Utf8Path::new(name);
        if given.extension() == Some("toml") {
            return Ok(given.to_owned());
        }
        let path = self.root.join(RECIPES).join(format!("{name}.toml"));
        if path.is_file() {
            return Ok(path);
        }
        let known = self.recipes()?;
        let near = suggest::did_you_mean(name, known.iter().map(String::as_str));
        Err(CatalogueError::NoRecipe { name: name.to_owned(), near })
    }

    /// The names of its recipes, sorted.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn recipes(&self) -> Result<Vec<String>, CatalogueError> {
        let directory = self.root.join(RECIPES);
        let mut names = Vec::new();
        if directory.is_dir() {
            for entry in list(&directory)? {
                names.extend(entry.file_name().strip_suffix(".toml").map(str::to_owned));
            }
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, file: Utf8PathBuf, name: String) -> Result<Scenario, CatalogueError> {
        let text = fs::read_to_string(&file)?;
        let next_to_it = file.parent().unwrap_or(Utf8Path::new("")).join(RECIPES);
        let context = ParseContext { name, recipes: vec![next_to_it, self.root.join(RECIPES)], file };
        Scenario::parse(&text, &context).map_err(|error| CatalogueError::Parse(vec![error]))
    }
}

/// Whether a text can be a part of a scenario's name, which becomes the name of a directory.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(plain)
}

/// Collects the names of the scenario files in a directory and in those below it.
fn collect(directory: &Utf8Path, prefix: &str, names: &mut Vec<String>) -> Result<(), CatalogueError> {
    for entry in list(directory)? {
        let path = entry.path();
        let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
        let name = name.unwrap_or_default();
        let is_scenario = path.is_file() && path.extension() == Some("toml");
        if is_scenario && !is_name(name) {
            return Err(CatalogueError::Name { path: path.to_owned() });
        }
        if is_scenario {
            names.push(format!("{prefix}{name}"));
        } else if path.is_dir() && is_name(name) && !(prefix.is_empty() && name == RECIPES) {
            collect(path, &format!("{prefix}{name}/"), names)?;
        }
    }
    Ok(())
}

fn list(directory: &Utf8Path) -> Result<Vec<Utf8DirEntry>, FileError> {
    let read = || directory.read_dir_utf8()?.collect::<Result<Vec<_>, _>>();
    read().map_err(FileError::at("list", directory))
}

/// Writes an embedded directory. Embedded files have no modes: programs are recognised by their first
/// bytes.
fn extract(directory: &Dir<'_>, to: &Utf8Path) -> Result<(), FileError> {
    for entry in directory.entries() {
        let name = entry.path().file_name().unwrap_or_default();
        let path = to.join(name.to_string_lossy().as_ref());
        match entry {
            DirEntry::Dir(inner) => {
                fs::create_dir(&path)?;
                extract(inner, &path)?;
            }
            DirEntry::File(file) => {
                fs::write(&path, file.contents())?;
                let program = file.contents().starts_with(b"#!") || file.contents().starts_with(b"\x7fELF");
                fs::set_permissions(&path, Permissions::from_mode(if program { 0o755 } else { 0o644 }))?;
            }
        }
    }
    Ok(())
}

/// The digest of the names and contents of an embedded directory.
fn digest(directory: &Dir<'_>) -> String {
    fn add(directory: &Dir<'_>, inputs: &mut Inputs) {
        for entry in directory.entries() {
            let path = entry.path().to_string_lossy();
            match entry {
                DirEntry::Dir(inner) => add(inner, inputs),
                DirEntry::File(file) => inputs.add(&path, file.contents()),
            }
        }
    }
    let mut inputs = Inputs::default();
    add(directory, &mut inputs);
    inputs.finish()
}
