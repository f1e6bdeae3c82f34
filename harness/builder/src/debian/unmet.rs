// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use loadgauge_host::Hint;

use super::record::Record;
use super::relation::{Relation, format_alternatives};

/// A dependency that cannot be satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmetDependency {
    /// the dependencies that lead to it from the requested package: `docker.io 26.1 needs containerd`
    pub chain: Vec<String>,
    /// why it cannot be satisfied
    pub cause: UnmetCause,
}

/// Why a dependency cannot be satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnmetCause {
    /// no package has or provides the name
    UnknownPackage {
        /// the name
        name: String,
        /// a package with a similar name
        similar: Option<String>,
    },
    /// no available version satisfies the relation
    NoSuchVersion {
        /// the relation
        relation: String,
        /// the available packages with their versions
        found: Vec<String>,
    },
    /// the package conflicts with another one
    Conflict {
        /// name and version of the package that declares the conflict
        package: String,
        /// the relation in its control file
        relation: String,
        /// name and version of the other package
        other: String,
        /// whether the other package is in the base, from which an extension can remove nothing
        base: bool,
    },
}

impl UnmetDependency {
    pub(super) fn new(cause: UnmetCause) -> Self {
        Self { chain: Vec::new(), cause }
    }

    /// Prepends the dependency of a package to the chain.
    pub(super) fn needed_by(mut self, package: &Record, alternatives: &[Relation]) -> Self {
        let needs = format_alternatives(alternatives);
        self.chain.insert(0, format!("{} {} needs {needs}", package.name, package.version));
        self
    }
}

impl Hint for UnmetDependency {
    fn hint(&self) -> Option<String> {
        let hint = match &self.cause {
            UnmetCause::UnknownPackage { similar: Some(similar), .. } => {
                return Some(format!("did you mean `{similar}`?"));
            }
            UnmetCause::UnknownPackage { .. } => {
                "look for the package on packages.debian.org, in the suite of the base"
            }
            UnmetCause::NoSuchVersion { .. } => {
                "make the base again or use another package: the archive and the base are of different releases"
            }
            UnmetCause::Conflict { base: true, .. } => {
                "use an alternative package: an extension can add packages to the base and replace them, but not \
                 remove them"
            }
            UnmetCause::Conflict { .. } => "remove one of them from the recipe",
        };
        Some(hint.to_owned())
    }
}

impl fmt::Display for UnmetDependency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for link in &self.chain {
            write!(formatter, "{link}; ")?;
        }
        match &self.cause {
            UnmetCause::UnknownPackage { name, .. } => {
                write!(formatter, "the archive has no package `{name}`")
            }
            UnmetCause::NoSuchVersion { relation, found } => {
                write!(formatter, "no version satisfies `{relation}`: found {}", found.join(", "))
            }
            UnmetCause::Conflict { package, relation, other, base } => {
                let of = if *base { " of the base" } else { "" };
                write!(
                    formatter,
                    "{package} is incompatible with {other}{of}: {package} declares `{relation}`"
                )
            }
        }
    }
}

impl std::error::Error for UnmetDependency {}
