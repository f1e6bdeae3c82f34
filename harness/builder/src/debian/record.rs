// SPDX-License-Identifier: Apache-2.0
use super::control::Paragraph;
use super::relation::{Alternatives, Relation, RelationError, parse_alternatives, parse_relations};
use super::version::{Version, VersionError};

/// What an index or dpkg's status file says of a package, as far as it decides what goes with what.
///
/// Sources: Debian policy 5.3 and 7 for the fields, the Debian repository format for `Filename`,
/// `Size` and `SHA256`, which a status file does not have.
#[derive(Debug, Clone)]
pub struct Record {
    /// its name
    pub name: String,
    /// its version
    pub version: Version,
    /// `amd64`, `arm64` or `all`
    pub architecture: String,
    /// what must be there before and while it is used: `Pre-Depends` and `Depends`
    pub depends: Vec<Alternatives>,
    /// what mostly belongs to it
    pub recommends: Vec<Alternatives>,
    /// what must not be there: `Conflicts` and `Breaks`
    pub conflicts: Vec<Relation>,
    /// what it also counts as, with the version where it says one
    pub provides: Vec<(String, Option<Version>)>,
    /// how much a distribution wants it: 1 `required`, 2 `important`, 3 `standard`, 4 `optional`, 5 else
    pub priority: u8,
    /// the package file below the archive's URL
    pub file_name: String,
    /// SHA-256 of the package file, in hex
    pub sha256: String,
    /// bytes of the package file
    pub size: u64,
}

/// A record that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// a field that every record has is not there
    #[error("there is no `{0}`")]
    Missing(&'static str),
    /// its version cannot be read
    #[error(transparent)]
    Version(#[from] VersionError),
    /// a relation in it cannot be read
    #[error("in `{field}`: {source}")]
    Relation {
        /// the field
        field: &'static str,
        /// why not
        source: RelationError,
    },
}

impl Record {
    /// Reads a paragraph of a `Packages` index or of dpkg's status file.
    ///
    /// # Errors
    /// A field is missing or cannot be read.
    pub fn read(paragraph: Paragraph<'_>) -> Result<Self, RecordError> {
        let need = |name| paragraph.field(name).ok_or(RecordError::Missing(name));
        let optional = |name| paragraph.field(name).unwrap_or_default();
        let groups = |field: &'static str| {
            parse_alternatives(&optional(field)).map_err(|source| RecordError::Relation { field, source })
        };
        let relations = |field: &'static str| {
            parse_relations(&optional(field)).map_err(|source| RecordError::Relation { field, source })
        };
        let provides = relations("Provides")?.into_iter();
        Ok(Self {
            name: need("Package")?,
            version: need("Version")?.parse()?,
            architecture: need("Architecture")?,
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

    /// Whether a relation means this package, by its name or by what it provides.
    pub fn satisfies(&self, relation: &Relation) -> bool {
        let by_name = self.name == relation.name && relation.admits(&self.version);
        by_name
            || self
                .provides
                .iter()
                .any(|(name, version)| *name == relation.name && relation.admits_provided(version.as_ref()))
    }
}

/// Whether dpkg's status file says of a package that it is there: `install ok installed`, or held.
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
    fn a_record_is_read_and_satisfies_what_it_provides() {
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
    fn what_is_missing_or_broken_is_named() {
        let error = |text: &[u8]| Record::read(Paragraph::new(text)).expect_err("broken").to_string();
        assert_eq!(error(b"Package: a\n"), "there is no `Version`");
        assert_eq!(
            error(b"Package: a\nVersion: 1\nArchitecture: all\nDepends: (\n"),
            "in `Depends`: `(` is not a relation between packages"
        );
    }

    #[test]
    fn only_installed_packages_count() {
        let installed = |status: &str| is_installed(Paragraph::new(format!("Status: {status}\n").as_bytes()));
        assert!(installed("install ok installed") && installed("hold ok installed"));
        assert!(!installed("deinstall ok config-files") && !installed("install ok unpacked"));
    }
}
