// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use serde::{Deserialize, Serialize};

/// The reasons for the packages of an extension, and the packages that it needs from the base.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// packages in the extension
    pub taken: Vec<Explained>,
    /// packages of the base that are needed
    pub present: Vec<Explained>,
    /// packages that are needed and not in the base, and count as installed by a setting
    #[serde(default)]
    pub provided: Vec<Explained>,
}

/// A package with the reasons for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// its name and version
    pub package: String,
    /// the reasons for it
    pub needs: Vec<Need>,
    /// the place of the package, or the package that it hides
    pub note: Option<String>,
}

/// A reason for a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// the package that needs it; `None` where the recipe asks for it
    pub by: Option<String>,
    /// the dependency as that package writes it
    pub how: String,
}

impl Explanation {
    /// Adds further packages.
    pub fn extend(&mut self, other: Self) {
        self.taken.extend(other.taken);
        self.present.extend(other.present);
        self.provided.extend(other.provided);
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, list) in [("in the extension", &self.taken), ("in the base", &self.present)] {
            writeln!(formatter, "{title}:{}", if list.is_empty() { " nothing" } else { "" })?;
            for explained in list {
                write!(formatter, "{explained}")?;
            }
        }
        if !self.provided.is_empty() {
            writeln!(formatter, "counts as installed:")?;
            self.provided.iter().try_for_each(|explained| write!(formatter, "{explained}"))?;
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
