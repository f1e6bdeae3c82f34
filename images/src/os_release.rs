// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The fields of an os-release or extension-release file.
///
/// Format: os-release(5). Values may be bare, in single or in double quotes; Flatcar has used
/// all three over its releases, so the file is parsed and never searched as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OsRelease {
    fields: BTreeMap<String, String>,
}

/// A line of an os-release file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {cause}")]
pub struct OsReleaseError {
    /// 1-based
    pub line: usize,
    /// what is wrong with it
    pub cause: String,
}

impl OsRelease {
    /// Reads a whole file. Of a field set twice the last one counts, as in a shell.
    ///
    /// # Errors
    /// A line that is neither empty, a comment nor an assignment, or one with an open quote.
    pub fn parse(text: &str) -> Result<Self, OsReleaseError> {
        let mut fields = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fail = |cause: String| OsReleaseError { line: index + 1, cause };
            let (name, value) =
                line.split_once('=').ok_or_else(|| fail(format!("`{line}` is not an assignment")))?;
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(fail(format!("`{name}` is not a field name")));
            }
            fields.insert(name.to_owned(), unquote(value).map_err(fail)?);
        }
        Ok(Self { fields })
    }

    /// The value of a field, or nothing where it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// All fields, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Takes off one layer of shell quoting.
fn unquote(value: &str) -> Result<String, String> {
    let mut result = String::with_capacity(value.len());
    let mut characters = value.chars();
    let mut quote = None;
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None | Some('"'), '\\') => match characters.next() {
                Some(next) => result.push(next),
                None => return Err("a backslash ends the line".to_owned()),
            },
            _ => result.push(character),
        }
    }
    match quote {
        Some(open) => Err(format!("the quote `{open}` is not closed")),
        None => Ok(result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_style_that_flatcar_has_used() {
        let release = OsRelease::parse(
            "# comment\nNAME=\"Flatcar Container Linux by Kinvolk\"\nID=flatcar\nVERSION_ID='3654.0.0'\nBUILD_ID=\n",
        )
        .expect("a valid file");
        assert_eq!(release.get("NAME"), Some("Flatcar Container Linux by Kinvolk"));
        assert_eq!(release.get("VERSION_ID"), Some("3654.0.0"));
        assert_eq!(release.get("BUILD_ID"), None);
    }

    #[test]
    fn names_the_line_that_is_wrong() {
        let error = OsRelease::parse("ID=flatcar\nVERSION_ID=\"1\n").expect_err("an open quote");
        assert_eq!(error.line, 2);
    }
}
