// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use super::record::Record;
use super::version::Version;

/// The packages that must be added to a base so that the requested ones can be used.
#[derive(Debug, Clone, Default)]
pub(super) struct Solution {
    /// packages to be added, by name
    pub added: Vec<AddedPackage>,
    /// dependencies that installed packages satisfy
    pub already_installed: Vec<InstalledDependency>,
    /// dropped dependencies on excluded packages: the package, and the one that depends on it with its
    /// relation
    pub excluded: Vec<(String, String, String)>,
    /// whether a choice led to a conflict and was replaced by another one
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "apt chooses otherwise after a conflict, which tests consider")
    )]
    pub backtracked: bool,
}

/// A package that is added.
#[derive(Debug, Clone)]
pub(super) struct AddedPackage {
    /// the package
    pub record: Record,
    /// why it is added
    pub reason: Reason,
    /// the version in the base, which the extension hides
    pub replaces: Option<Version>,
}

/// A dependency that an installed package satisfies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InstalledDependency {
    /// name of the installed package
    pub name: String,
    /// its version
    pub version: Version,
    /// name of the package that depends on it
    pub needed_by: String,
}

/// Why a package is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// the recipe names it
    Requested,
    /// another package depends on it
    Dependency {
        /// name of that package
        by: String,
        /// the relation as in its control file
        relation: String,
    },
    /// another package recommends it
    Recommended {
        /// name of that package
        by: String,
    },
    /// the version in the base is incompatible with another added package
    Upgrade {
        /// name of that package
        by: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => formatter.write_str("the recipe asks for it"),
            Self::Dependency { by, relation } => write!(formatter, "{by} needs {relation}"),
            Self::Recommended { by } => write!(formatter, "{by} recommends it"),
            Self::Upgrade { by } => write!(formatter, "the base's version is incompatible with {by}"),
        }
    }
}
