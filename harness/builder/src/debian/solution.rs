// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::fmt;

use super::record::Record;
use super::relation::{Relation, show};
use super::version::Version;

/// The packages that are to be added to a base so that those asked for work.
#[derive(Debug, Clone, Default)]
pub struct Solution {
    /// in the order of their names
    pub added: Vec<Added>,
    /// what was needed and was there already
    pub present: Vec<Present>,
    /// whether a choice of the packages led into a conflict, and another was made
    pub second_choice: bool,
}

/// A package that is added.
#[derive(Debug, Clone)]
pub struct Added {
    /// the package
    pub record: Record,
    /// why it is added
    pub reason: Reason,
    /// the base's own version of it, which the extension covers
    pub replaces: Option<Version>,
}

/// A relation that something present fulfils already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// the present package
    pub name: String,
    /// its version
    pub version: Version,
    /// whose relation it fulfils
    pub needed_by: String,
}

/// Why a package is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// the recipe names it
    Asked,
    /// another package needs it
    Needed {
        /// which
        by: String,
        /// in the words of its control file
        relation: String,
    },
    /// another package recommends it
    Recommended {
        /// which
        by: String,
    },
    /// the base's version does not go with another package that is added
    Outdated {
        /// which
        by: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => formatter.write_str("the recipe asks for it"),
            Self::Needed { by, relation } => write!(formatter, "{by} needs {relation}"),
            Self::Recommended { by } => write!(formatter, "{by} recommends it"),
            Self::Outdated { by } => write!(formatter, "the base's version does not go with {by}"),
        }
    }
}

/// Packages cannot be added: from the one asked for, along what each needs, to what is amiss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsatisfiable {
    /// `docker.io 26.1 needs containerd (>= 1.7)`, and so on
    pub chain: Vec<String>,
    /// what is amiss at the end of it
    pub cause: Amiss,
}

/// Why a package cannot be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amiss {
    /// nothing of the name is there, nor anything that provides it
    Unknown {
        /// the name
        name: String,
        /// a name that is there and looks like it
        near: Option<String>,
    },
    /// it is there in other versions only
    Version {
        /// what is asked for
        relation: String,
        /// the versions that there are
        found: Vec<String>,
    },
    /// it does not go with something else
    Conflict {
        /// name and version of the one
        one: String,
        /// the relation in its control file
        relation: String,
        /// name and version of the other
        other: String,
        /// whether the other belongs to the base, which nothing can be taken from
        base: bool,
    },
}

impl Unsatisfiable {
    pub(super) fn new(cause: Amiss) -> Self {
        Self { chain: Vec::new(), cause }
    }

    /// The same, seen from a package that needs what cannot be had.
    pub(super) fn below(mut self, package: &Record, needs: &[Relation]) -> Self {
        self.chain.insert(0, format!("{} {} needs {}", package.name, package.version, show(needs)));
        self
    }
}

impl Hint for Unsatisfiable {
    fn hint(&self) -> Option<String> {
        let hint = match &self.cause {
            Amiss::Unknown { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Amiss::Unknown { .. } => "look for its name on packages.debian.org; the archive of the base's suite is the \
                                      one that counts"
                .to_owned(),
            Amiss::Version { .. } => {
                "the archive and the base do not go together: make the base again, or take another package".to_owned()
            }
            Amiss::Conflict { base: true, .. } => {
                "an extension can add to the base and cover parts of it, and take nothing away: look for an alternative \
                 package"
                    .to_owned()
            }
            Amiss::Conflict { .. } => "leave one of them out of the recipe".to_owned(),
        };
        Some(hint)
    }
}

impl fmt::Display for Unsatisfiable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for link in &self.chain {
            write!(formatter, "{link}; ")?;
        }
        match &self.cause {
            Amiss::Unknown { name, .. } => write!(formatter, "the archive has no package `{name}`"),
            Amiss::Version { relation, found } => {
                write!(formatter, "`{relation}` is not to be had: there is {}", found.join(", "))
            }
            Amiss::Conflict { one, relation, other, base } => {
                let of = if *base { " of the base" } else { "" };
                write!(formatter, "{one} does not go with {other}{of}: it declares `{relation}`")
            }
        }
    }
}

impl std::error::Error for Unsatisfiable {}
