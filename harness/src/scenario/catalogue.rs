// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use loadgauge_host::suggest;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use include_dir::{Dir, DirEntry, include_dir};
use loadgauge_host::{Entry, Store, StoreError};
use sha2::{Digest as _, Sha256};

use super::{ParseError, Scenario, Surroundings};

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../scenarios");

/// The directory of a catalogue that holds recipes, and no scenarios.
const RECIPES: &str = "recipes";

/// A directory of scenario files, with the recipes and whatever else they name.
#[derive(Debug, Clone)]
pub struct Catalogue {
    root: Utf8PathBuf,
    names: Vec<String>,
}

/// Scenarios or recipes cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// the embedded catalogue has no place
    #[error("cannot lay out the built-in scenarios")]
    Store(#[from] StoreError),
    /// a file or directory cannot be read or written
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// with what
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// a file's name is not UTF-8 or cannot name a scenario
    #[error("`{path}` cannot name a scenario")]
    Name {
        /// the file
        path: Utf8PathBuf,
    },
    /// the recipe is not there
    #[error("there is no recipe `{name}`")]
    NoRecipe {
        /// what was asked for
        name: String,
        /// what may have been meant
        near: Option<String>,
    },
    /// scenario files are wrong
    #[error("{}", join(.0))]
    Parse(Vec<ParseError>),
}

impl CatalogueError {
    /// The error with all hints, for a terminal.
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
            Self::Store(_) => Some("set LOADGAUGE_CACHE to a directory that can be written".to_owned()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("a catalogue is a directory of scenario files, with recipes in `recipes/`".to_owned())
            }
            Self::Io { .. } => None,
            Self::Name { .. } => {
                Some("a scenario's name is made of letters, digits, `-`, `_` and `.`".to_owned())
            }
            Self::NoRecipe { near, .. } => near.clone(),
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
    /// The catalogue that is part of the binary, laid out in the store as files.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn embedded(store: &Store) -> Result<Self, CatalogueError> {
        let root = match store.entry("catalogue", &digest(&EMBEDDED))? {
            Entry::Ready(root) => root,
            Entry::Vacant(vacancy) => {
                lay_out(&EMBEDDED, vacancy.directory())?;
                vacancy.commit()?
            }
        };
        Self::at(root)
    }

    /// A catalogue of the user's own.
    ///
    /// # Errors
    /// The directory cannot be read, or a file in it cannot name a scenario.
    pub fn at(root: impl Into<Utf8PathBuf>) -> Result<Self, CatalogueError> {
        let root = root.into();
        let mut names = Vec::new();
        collect(&root, "", &mut names)?;
        names.sort();
        Ok(Self { root, names })
    }

    /// Where it lies.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// The names of its scenarios, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Reads one of its scenarios by name.
    ///
    /// # Errors
    /// The file cannot be read, or is wrong.
    pub fn load(&self, name: &str) -> Result<Scenario, CatalogueError> {
        self.read(self.root.join(format!("{name}.toml")), name.to_owned())
    }

    /// Reads a scenario file that stands anywhere. Recipes are looked for in `recipes/` beside
    /// it, then in the catalogue.
    ///
    /// # Errors
    /// The file cannot be read, is wrong, or its name cannot name a scenario.
    pub fn load_file(&self, path: &Utf8Path) -> Result<Scenario, CatalogueError> {
        let name = path.file_stem().filter(|name| is_name(name));
        let name = name.ok_or_else(|| CatalogueError::Name { path: path.to_owned() })?;
        self.read(path.to_owned(), name.to_owned())
    }

    /// The file of a recipe: a name in the catalogue, or a path.
    ///
    /// # Errors
    /// There is none.
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
        let text = fs::read_to_string(&file).map_err(fail("read", &file))?;
        let own = file.parent().unwrap_or(Utf8Path::new("")).join(RECIPES);
        let surroundings = Surroundings { name, recipes: vec![own, self.root.join(RECIPES)], file };
        Scenario::parse(&text, &surroundings).map_err(|error| CatalogueError::Parse(vec![error]))
    }
}

/// Whether a word can be (part of) a scenario's name, which becomes the name of a directory.
fn is_name(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    word.starts_with(|first: char| first.is_ascii_alphanumeric()) && word.bytes().all(plain)
}

/// Collects the names of the scenario files in a directory and those below it.
fn collect(directory: &Utf8Path, prefix: &str, names: &mut Vec<String>) -> Result<(), CatalogueError> {
    for entry in list(directory)? {
        let path = entry.path();
        let word = if path.is_dir() { path.file_name() } else { path.file_stem() };
        let word = word.unwrap_or_default();
        let is_scenario = path.is_file() && path.extension() == Some("toml");
        if is_scenario && !is_name(word) {
            return Err(CatalogueError::Name { path: path.to_owned() });
        }
        if is_scenario {
            names.push(format!("{prefix}{word}"));
        } else if path.is_dir() && is_name(word) && !(prefix.is_empty() && word == RECIPES) {
            collect(path, &format!("{prefix}{word}/"), names)?;
        }
    }
    Ok(())
}

fn list(directory: &Utf8Path) -> Result<Vec<camino::Utf8DirEntry>, CatalogueError> {
    let read = || directory.read_dir_utf8()?.collect::<Result<Vec<_>, _>>();
    read().map_err(fail("read", directory))
}

fn fail(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> CatalogueError {
    let path = path.to_owned();
    move |source| CatalogueError::Io { action, path, source }
}

/// Writes an embedded directory as files. What is embedded has no modes: a program is known by
/// its first bytes.
fn lay_out(directory: &Dir<'_>, to: &Utf8Path) -> Result<(), CatalogueError> {
    for entry in directory.entries() {
        let name = entry.path().file_name().unwrap_or_default();
        let path = to.join(name.to_string_lossy().as_ref());
        match entry {
            DirEntry::Dir(inner) => {
                fs::create_dir(&path).map_err(fail("create", &path))?;
                lay_out(inner, &path)?;
            }
            DirEntry::File(file) => {
                fs::write(&path, file.contents()).map_err(fail("write", &path))?;
                let program = file.contents().starts_with(b"#!") || file.contents().starts_with(b"\x7fELF");
                let mode = fs::Permissions::from_mode(if program { 0o755 } else { 0o644 });
                fs::set_permissions(&path, mode).map_err(fail("set the mode of", &path))?;
            }
        }
    }
    Ok(())
}

/// SHA-256 over the names and contents of an embedded directory, in hex.
fn digest(directory: &Dir<'_>) -> String {
    fn add(directory: &Dir<'_>, hash: &mut Sha256) {
        for entry in directory.entries() {
            hash.update(entry.path().to_string_lossy().as_bytes());
            match entry {
                DirEntry::Dir(inner) => {
                    hash.update(b"\0directory\0");
                    add(inner, hash);
                }
                DirEntry::File(file) => {
                    hash.update(format!("\0file {}\0", file.contents().len()));
                    hash.update(file.contents());
                }
            }
        }
    }
    let mut hash = Sha256::new();
    add(directory, &mut hash);
    hex::encode(hash.finalize())
}
