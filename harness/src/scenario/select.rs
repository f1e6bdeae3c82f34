// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::Hint;
use loadgauge_host::suggest;
use regex::Regex;

use super::Scenario;
use super::catalogue::{Catalogue, CatalogueError};

/// Which scenarios are meant by what was given on the command line.
#[derive(Debug)]
pub enum Pattern {
    /// a regular expression for the whole name
    Name(Regex),
    /// `tag:NAME`
    Tag(String),
    /// a scenario file of the user's own
    File(camino::Utf8PathBuf),
}

/// A pattern that cannot be used, or that means nothing.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// it is not a regular expression
    #[error("`{pattern}` is not a regular expression: {cause}")]
    Pattern {
        /// as it was given
        pattern: String,
        /// what is wrong with it
        cause: String,
    },
    /// scenario files cannot be read
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// nothing is meant
    #[error("no scenario is selected by `{pattern}`")]
    Nothing {
        /// the pattern
        pattern: String,
        /// names or tags that are like it, or all
        near: Vec<String>,
    },
    /// two files have the same name, and so would their results
    #[error("two scenarios are called `{name}`")]
    Twice {
        /// the name
        name: String,
    },
}

impl Hint for SelectError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Pattern { pattern, .. } if pattern.contains('*') => Some(format!(
                "any characters are `.*`: try '{}'",
                pattern.replace(".*", "*").replace('*', ".*")
            )),
            Self::Pattern { .. } => Some("a name, a regular expression, `tag:NAME`, or a file".to_owned()),
            Self::Catalogue(error) => error.hint(),
            Self::Nothing { near, .. } if near.is_empty() => Some("the catalogue is empty".to_owned()),
            Self::Nothing { near, pattern } => {
                let star = pattern.contains('*') && !pattern.contains(".*");
                let star = if star { "any characters are `.*`; " } else { "" };
                Some(format!("{star}there is {}", near.join(", ")))
            }
            Self::Twice { .. } => Some("rename one of the files".to_owned()),
        }
    }
}

impl Pattern {
    /// Reads a pattern: `tag:NAME`, a path that ends in `.toml`, or a regular expression that a
    /// whole name must match.
    ///
    /// # Errors
    /// It is not a regular expression.
    pub fn parse(text: &str) -> Result<Self, SelectError> {
        if let Some(tag) = text.strip_prefix("tag:") {
            return Ok(Self::Tag(tag.to_owned()));
        }
        let path = Utf8Path::new(text);
        if path.extension() == Some("toml") {
            return Ok(Self::File(path.to_owned()));
        }
        // Read alone first, so that `a)(b` is not made right by what is put around it.
        let alone = Regex::new(text).and_then(|_| Regex::new(&format!("^(?:{text})$")));
        alone
            .map(Self::Name)
            .map_err(|error| SelectError::Pattern { pattern: text.to_owned(), cause: last_line(&error) })
    }
}

/// What a regular expression's error says in the end, after it has drawn the place.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Reads the scenarios that the patterns mean, sorted by name; all of the catalogue where there
/// are no patterns.
///
/// Only what can be meant is read: a broken file that no pattern names does no harm, unless tags
/// are asked for.
///
/// # Errors
/// A pattern cannot be read or selects nothing, or a scenario file is wrong: then the problems of
/// all files that were read are in the error.
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
        let meant: Vec<&String> = names.iter().filter(|name| regex.is_match(name)).collect();
        if meant.is_empty() {
            let near = near(text, names);
            return Err(SelectError::Nothing { pattern: text.to_owned(), near });
        }
        meant.into_iter().try_for_each(|name| self.add(name))
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

    /// Puts the problems of a wrong file aside, so that the others' are told too.
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

    /// Keeps a scenario once, however many patterns mean it.
    fn keep(&mut self, scenario: Scenario) -> Result<(), SelectError> {
        match self.scenarios.iter().find(|kept| kept.name == scenario.name) {
            Some(kept) if kept.file == scenario.file => Ok(()),
            Some(_) => Err(SelectError::Twice { name: scenario.name }),
            None => {
                self.scenarios.push(scenario);
                Ok(())
            }
        }
    }
}

/// The known words that are like one that is not known, or all.
fn near(text: &str, known: &[String]) -> Vec<String> {
    let near = suggest::nearest(text, known.iter().map(String::as_str));
    near.map_or_else(|| known.to_vec(), |near| vec![near.to_owned()])
}
