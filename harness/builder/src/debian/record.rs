// SPDX-License-Identifier: Apache-2.0
use super::control::Paragraph;
use super::relation::{Alternatives, Relation, RelationError, parse_alternatives, parse_relations};
use super::version::{Version, VersionError};

/// The fields of a binary package that the resolution needs, from a `Packages` index or from dpkg's
/// status file.
///
/// Sources: Debian policy 5.3 and 7; for `Filename`, `Size` and `SHA256`, which a status file does not
/// have, the Debian repository format.
#[derive(Debug, Clone)]
pub struct Record {
    /// `Package`
    pub name: String,
    /// `Version`
    pub version: Version,
    /// `amd64`, `arm64` or `all`
    pub architecture: String,
    /// `Pre-Depends` and `Depends`
    pub depends: Vec<Alternatives>,
    /// `Recommends`
    pub recommends: Vec<Alternatives>,
    /// `Conflicts` and `Breaks`
    pub conflicts: Vec<Relation>,
    /// `Provides`: names with their versions, where they have one
    pub provides: Vec<(String, Option<Version>)>,
    /// `Priority`: 1 `required`, 2 `important`, 3 `standard`, 4 `optional`, 5 any other
    pub priority: u8,
    /// path of the package file, relative to the archive
    pub file_name: String,
    /// SHA-256 of the package file, in hex
    pub sha256: String,
    /// size of the package file in bytes
    pub size: u64,
}

/// A record that cannot be parsed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// a mandatory field is missing
    #[error("missing field `{0}`")]
    Missing(&'static str),
    /// its version is invalid
    #[error(transparent)]
    Version(#[from] VersionError),
    /// a relation is invalid
    #[error("invalid `{field}`: {source}")]
    Relation {
        /// name of the field
        field: &'static str,
        /// what is wrong
        source: RelationError,
    },
}

impl Record {
    /// Parses a paragraph of a `Packages` index or of dpkg's status file.
    ///
    /// # Errors
    /// A field is missing or invalid.
    pub fn read(paragraph: Paragraph<'_>) -> Result<Self, RecordError> {
        let required = |name| paragraph.field(name).ok_or(RecordError::Missing(name));
        let optional = |name| paragraph.field(name).unwrap_or_default();
        let groups = |field: &'static str| {
            parse_alternatives(&optional(field)).map_err(|source| RecordError::Relation { field, source })
        };
        let relations = |field: &'static str| {
            parse_relations(&optional(field)).map_err(|source| RecordError::Relation { field, source })
        };
        let provides = relations("Provides")?.into_iter();
        Ok(Self {
            name: required("Package")?,
            version: required("Version")?.parse()?,
            architecture: required("Architecture")?,
            depends: [groups("Pre-Depends")?, groups("Depends")?].concat(),
            recommends: groups("Recommends")?,
            conflicts: [relations("Conflicts")?, relations("Breaks")?].concat(),
            provides: provides.map(|one| (one.name, one.version.map(|(_, version)| version))).collect(),
            priority: priority(&optional("Priority")),
            file_name: optional("Filename"),
            sha256: optional("SHA256"),
            size: optional("Size").parse().unwrap_or(0),
        })
    }

    /// Whether this package satisfies a relation, by its name or by its `Provides`.
    pub fn satisfies(&self, relation: &Relation) -> bool {
        let by_name = self.name == relation.name && relation.admits(&self.version);
        by_name
            || self
                .provides
                .iter()
                .any(|(name, version)| *name == relation.name && relation.admits_provided(version.as_ref()))
    }
}

/// Whether a package of dpkg's status file is installed: `install ok installed`, or on hold.
pub(super) fn is_installed(paragraph: Paragraph<'_>) -> bool {
    paragraph.field("Status").is_some_and(|status| status.ends_with(" ok installed"))
}

fn priority(text: &str) -> u8 {
    match text {
        "required" => 1,
        "important" => 2,
        "standard" => 3,
        "optional" => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::super::relation::parse_relations;
    use super::*;

    #[test]
    fn a_record_is_parsed_and_satisfies_what_it_provides() {
        let text = b"Package: a\nVersion: 2\nArchitecture: amd64\nPre-Depends: b\nDepends: c | d\nBreaks: e (<< 1)\n\
                     Provides: v (= 3), w\nPriority: important\nFilename: pool/a\nSize: 7\nSHA256: ab\n";
        let record = Record::read(Paragraph::new(text)).expect("a record");
        assert_eq!(
            (record.depends.len(), record.conflicts.len(), record.priority, record.size),
            (2, 1, 2, 7)
        );
        let satisfies = |text: &str| record.satisfies(&parse_relations(text).expect("a relation")[0]);
        assert!(satisfies("a (= 2)") && satisfies("v (>= 3)") && satisfies("w"));
        assert!(!satisfies("a (>> 2)") && !satisfies("v (>> 3)") && !satisfies("w (= 1)"));
    }

    #[test]
    fn errors_name_the_field() {
        let error = |text: &[u8]| Record::read(Paragraph::new(text)).expect_err("invalid").to_string();
        assert_eq!(error(b"Package: a\n"), "missing field `Version`");
        assert_eq!(
            error(b"Package: a\nVersion: 1\nArchitecture: all\nDepends: (\n"),
            "invalid `Depends`: `(` is not a package relation, such as `libc6 (>= 2.38)`"
        );
    }

    #[test]
    fn only_installed_packages_count() {
        let installed = |status: &str| is_installed(Paragraph::new(format!("Status: {status}\n").as_bytes()));
        assert!(installed("install ok installed") && installed("hold ok installed"));
        assert!(!installed("deinstall ok config-files") && !installed("install ok unpacked"));
    }
}
