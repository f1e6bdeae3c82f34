// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an extension holds the packages that it holds, and which it needs and finds below it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// packages that go into the extension
    pub taken: Vec<Explained>,
    /// packages that are needed and there already
    pub present: Vec<Explained>,
}

/// A package, and who needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// its name and version
    pub package: String,
    /// who needs it
    pub needs: Vec<Need>,
    /// what else there is to say: where it is, or what it hides
    pub note: Option<String>,
}

/// One reason for a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// the package that needs it; nothing where the recipe asks for it
    pub by: Option<String>,
    /// how that says so
    pub how: String,
}

impl Explanation {
    /// Adds what is said of further packages.
    pub fn extend(&mut self, other: Self) {
        self.taken.extend(other.taken);
        self.present.extend(other.present);
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, list) in [("in the extension", &self.taken), ("there already", &self.present)] {
            writeln!(formatter, "{title}:{}", if list.is_empty() { " nothing" } else { "" })?;
            for explained in list {
                write!(formatter, "{explained}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = self.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        writeln!(formatter, "  {}{note}", self.package)?;
        for Need { by, how } in &self.needs {
            match by {
                Some(by) => writeln!(formatter, "    {by} needs `{how}`")?,
                None => writeln!(formatter, "    the recipe asks for `{how}`")?,
            }
        }
        Ok(())
    }
}
