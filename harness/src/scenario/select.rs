// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Hint, suggest};
use regex::Regex;

use super::Scenario;
use super::catalogue::{Catalogue, CatalogueError};
use crate::check::regex_message;

/// An argument that selects scenarios.
#[derive(Debug)]
enum Pattern {
    /// a regular expression that a whole name must match
    Name(Regex),
    /// `tag:NAME`
    Tag(String),
    /// a scenario file
    File(Utf8PathBuf),
}

/// A pattern is not valid or selects nothing, or a scenario cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// the pattern is not a regular expression
    #[error("`{pattern}` is not a regular expression: {cause}")]
    Pattern {
        /// the pattern
        pattern: String,
        /// message of the parser
        cause: String,
    },
    /// scenario files cannot be read
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// the pattern matches nothing
    #[error("`{pattern}` selects no scenario")]
    Nothing {
        /// the pattern
        pattern: String,
        /// the most similar name or tag, or all
        near: Vec<String>,
    },
    /// two files have the same name, so that their results would have it too
    #[error("two scenarios have the name `{name}`")]
    DuplicateName {
        /// the name
        name: String,
    },
}

impl Hint for SelectError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Pattern { pattern, .. } if pattern.contains('*') => Some(format!(
                "write `.*` for any characters: '{}'",
                pattern.replace(".*", "*").replace('*', ".*")
            )),
            Self::Pattern { .. } => {
                Some("write a name, a regular expression, `tag:NAME` or a file `*.toml`".to_owned())
            }
            Self::Catalogue(error) => error.hint(),
            Self::Nothing { near, .. } if near.is_empty() => Some("the catalogue is empty".to_owned()),
            Self::Nothing { near, pattern } => {
                let star = pattern.contains('*') && !pattern.contains(".*");
                let star = if star { "write `.*` for any characters; " } else { "" };
                Some(match near.as_slice() {
                    [only] => format!("{star}did you mean `{only}`?"),
                    all => format!("{star}choose one of {}", all.join(", ")),
                })
            }
            Self::DuplicateName { .. } => Some("rename one of the files".to_owned()),
        }
    }
}

impl Pattern {
    /// Reads a pattern: `tag:NAME`, a path that ends in `.toml`, or a regular expression that a
    /// whole name must match.
    ///
    /// # Errors
    /// It is not a regular expression.
    fn parse(text: &str) -> Result<Self, SelectError> {
        if let Some(tag) = text.strip_prefix("tag:") {
            return Ok(Self::Tag(tag.to_owned()));
        }
        let path = Utf8Path::new(text);
        if path.extension() == Some("toml") {
            return Ok(Self::File(path.to_owned()));
        }
        // Parsed alone first: `a)(b` must not become valid through the parentheses around it.
        let alone = Regex::new(text).and_then(|_| Regex::new(&format!("^(?:{text})$")));
        alone
            .map(Self::Name)
            .map_err(|error| SelectError::Pattern { pattern: text.to_owned(), cause: regex_message(&error) })
    }
}

/// Reads the scenarios that patterns select, sorted by name; without patterns, all scenarios of the
/// catalogue.
///
/// Only files that a pattern may select are read. A tag selects among all files, so that every error in
/// the catalogue is reported.
///
/// # Errors
/// A pattern is not valid or selects nothing, or scenario files have errors: the problems of all files
/// are reported at once.
pub fn select(catalogue: &Catalogue, patterns: &[String]) -> Result<Vec<Scenario>, SelectError> {
    let mut loader = Loader { catalogue, scenarios: Vec::new(), errors: Vec::new() };
    if patterns.is_empty() {
        catalogue.names().iter().try_for_each(|name| loader.add(name))?;
    }
    for text in patterns {
        match Pattern::parse(text)? {
            Pattern::Name(regex) => loader.by_name(text, &regex)?,
            Pattern::Tag(tag) => loader.by_tag(text, &tag)?,
            Pattern::File(path) => loader.by_file(&path)?,
        }
    }
    if !loader.errors.is_empty() {
        return Err(CatalogueError::Parse(loader.errors).into());
    }
    loader.scenarios.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(loader.scenarios)
}

struct Loader<'catalogue> {
    catalogue: &'catalogue Catalogue,
    scenarios: Vec<Scenario>,
    errors: Vec<super::ParseError>,
}

impl Loader<'_> {
    fn by_name(&mut self, text: &str, regex: &Regex) -> Result<(), SelectError> {
        let names = self.catalogue.names();
        let matching: Vec<&String> = names.iter().filter(|name| regex.is_match(name)).collect();
        if matching.is_empty() {
            let near = near(text, names);
            return Err(SelectError::Nothing { pattern: text.to_owned(), near });
        }
        matching.into_iter().try_for_each(|name| self.add(name))
    }

    fn by_tag(&mut self, text: &str, tag: &str) -> Result<(), SelectError> {
        let mut tags = Vec::new();
        let mut found = false;
        for name in self.catalogue.names() {
            let Some(scenario) = self.read(self.catalogue.load(name))? else { continue };
            tags.extend(scenario.tags.iter().map(|tag| format!("tag:{tag}")));
            if scenario.tags.iter().any(|own| own == tag) {
                found = true;
                self.keep(scenario)?;
            }
        }
        if found || !self.errors.is_empty() {
            return Ok(());
        }
        tags.sort();
        tags.dedup();
        Err(SelectError::Nothing { pattern: text.to_owned(), near: near(text, &tags) })
    }

    fn by_file(&mut self, path: &Utf8Path) -> Result<(), SelectError> {
        match self.read(self.catalogue.load_file(path))? {
            Some(scenario) => self.keep(scenario),
            None => Ok(()),
        }
    }

    fn add(&mut self, name: &str) -> Result<(), SelectError> {
        match self.read(self.catalogue.load(name))? {
            Some(scenario) => self.keep(scenario),
            None => Ok(()),
        }
    }

    /// Collects the errors of a file, so that those of the other files are reported too.
    fn read(&mut self, result: Result<Scenario, CatalogueError>) -> Result<Option<Scenario>, SelectError> {
        match result {
            Ok(scenario) => Ok(Some(scenario)),
            Err(CatalogueError::Parse(errors)) => {
                self.errors.extend(errors);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps a scenario once, however many patterns select it.
    fn keep(&mut self, scenario: Scenario) -> Result<(), SelectError> {
        match self.scenarios.iter().find(|kept| kept.name == scenario.name) {
            Some(kept) if kept.file == scenario.file => Ok(()),
            Some(_) => Err(SelectError::DuplicateName { name: scenario.name }),
            None => {
                self.scenarios.push(scenario);
                Ok(())
            }
        }
    }
}

/// The name that is most similar to an unknown one, or all names.
fn near(text: &str, known: &[String]) -> Vec<String> {
    let near = suggest::nearest(text, known.iter().map(String::as_str));
    near.map_or_else(|| known.to_vec(), |near| vec![near.to_owned()])
}
