// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::ops::Range;

use memchr::memmem;

use super::control::{Paragraph, paragraphs};
use super::record::{Record, RecordError, is_installed};

/// Packages by name: those of a base, or those of an archive.
///
/// An archive has about 70,000 packages: only the names are parsed at first, and a record when it is
/// looked up.
#[derive(Debug, Default)]
pub struct Index {
    text: Vec<u8>,
    by_name: HashMap<String, Vec<Range<usize>>>,
    providers: HashMap<String, Vec<Range<usize>>>,
}

/// A record of an index that cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[error("cannot parse the index entry of `{package}`")]
pub struct IndexError {
    /// name of the package
    pub package: String,
    /// what is wrong with the entry
    pub source: RecordError,
}

impl Index {
    /// The packages of an archive's `Packages`, in all their versions.
    pub fn of_archive(text: Vec<u8>) -> Self {
        Self::with(text, |_| true)
    }

    /// The installed packages of dpkg's status file.
    pub fn of_status(text: Vec<u8>) -> Self {
        Self::with(text, is_installed)
    }

    fn with(text: Vec<u8>, included: impl Fn(Paragraph<'_>) -> bool) -> Self {
        let mut by_name: HashMap<String, Vec<Range<usize>>> = HashMap::new();
        let mut providers: HashMap<String, Vec<Range<usize>>> = HashMap::new();
        let finder = memmem::Finder::new(b"\nProvides:");
        for (range, bytes) in paragraph_ranges(&text) {
            let paragraph = Paragraph::new(bytes);
            let Some(name) = paragraph.field("Package") else { continue };
            if !included(paragraph) {
                continue;
            }
            if finder.find(bytes).is_some() {
                let field = paragraph.field("Provides").unwrap_or_default();
                // An invalid field is an error when the record is looked up.
                for one in super::relation::parse_relations(&field).unwrap_or_default() {
                    providers.entry(one.name).or_default().push(range.clone());
                }
            }
            by_name.entry(name).or_default().push(range);
        }
        Self { text, by_name, providers }
    }

    /// All versions of a package.
    ///
    /// # Errors
    /// A record cannot be parsed.
    pub fn named(&self, name: &str) -> Result<Vec<Record>, IndexError> {
        self.read(self.by_name.get(name))
    }

    /// The packages whose `Provides` has a name.
    ///
    /// # Errors
    /// A record cannot be parsed.
    pub fn providing(&self, name: &str) -> Result<Vec<Record>, IndexError> {
        self.read(self.providers.get(name))
    }

    /// `Filename` of a version of a package: its path relative to the archive.
    pub(super) fn file_name(&self, name: &str, version: &str) -> Option<String> {
        let mut paragraphs =
            self.by_name.get(name)?.iter().map(|range| Paragraph::new(&self.text[range.clone()]));
        paragraphs.find(|one| one.field("Version").as_deref() == Some(version))?.field("Filename")
    }

    /// The paragraph of a record.
    pub(super) fn paragraph(&self, record: &Record) -> Option<&[u8]> {
        let ranges = self.by_name.get(&record.name)?;
        let same = |range: &&Range<usize>| {
            let version = Paragraph::new(&self.text[(*range).clone()]).field("Version");
            version.as_deref() == Some(record.version.as_str())
        };
        ranges.iter().find(same).map(|range| &self.text[range.clone()])
    }

    /// Adds a package as installed, in place of its other versions.
    pub(super) fn with_installed(self, paragraph: &[u8]) -> Self {
        let name = Paragraph::new(paragraph).field("Package");
        let mut text = Vec::new();
        for (_, bytes) in paragraph_ranges(&self.text) {
            if Paragraph::new(bytes).field("Package") != name {
                text.extend_from_slice(bytes);
                text.push(b'\n');
            }
        }
        text.extend_from_slice(b"Status: install ok installed\n");
        text.extend_from_slice(paragraph);
        text.push(b'\n');
        Self::of_status(text)
    }

    /// The names of all packages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    fn read(&self, ranges: Option<&Vec<Range<usize>>>) -> Result<Vec<Record>, IndexError> {
        let ranges = ranges.map(Vec::as_slice).unwrap_or_default();
        let record = |range: &Range<usize>| {
            let paragraph = Paragraph::new(&self.text[range.clone()]);
            Record::read(paragraph).map_err(|source| {
                let package = paragraph.field("Package").unwrap_or_default();
                IndexError { package, source }
            })
        };
        ranges.iter().map(record).collect()
    }
}

/// Paragraphs with their ranges in the text.
fn paragraph_ranges(text: &[u8]) -> impl Iterator<Item = (Range<usize>, &[u8])> {
    let start = text.as_ptr() as usize;
    paragraphs(text).map(move |paragraph| {
        let bytes = paragraph.bytes();
        let at = bytes.as_ptr() as usize - start;
        (at..at + bytes.len(), bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"Package: a\nVersion: 1\nArchitecture: all\nProvides: v, w (= 2)\n\n\
        Package: a\nVersion: 2\nArchitecture: all\n\nPackage: v\nVersion: 1\nArchitecture: all\n";

    #[test]
    fn packages_are_found_by_name_and_by_provides() {
        let index = Index::of_archive(TEXT.to_vec());
        let versions = |records: Vec<Record>| -> Vec<String> {
            records.iter().map(|record| format!("{} {}", record.name, record.version)).collect()
        };
        assert_eq!(versions(index.named("a").expect("read")), ["a 1", "a 2"]);
        assert_eq!(versions(index.providing("w").expect("read")), ["a 1"]);
        assert_eq!(versions(index.named("nobody").expect("read")), [""; 0]);
        let mut names: Vec<&str> = index.names().collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "v"]);
    }

    #[test]
    fn an_installed_package_replaces_its_older_version() {
        let archive = Index::of_archive(TEXT.to_vec());
        let status =
            b"Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\nProvides: v\n"
                .to_vec();
        let newest = archive.named("a").expect("read").pop().expect("a package");
        let installed = Index::of_status(status).with_installed(archive.paragraph(&newest).expect("there"));
        let found = installed.named("a").expect("read");
        assert_eq!((found.len(), found[0].version.as_str()), (1, "2"));
        assert!(installed.providing("v").expect("read").is_empty());
    }

    #[test]
    fn an_invalid_record_is_named_when_it_is_looked_up() {
        let index = Index::of_archive(b"Package: a\nVersion: _\nArchitecture: all\n".to_vec());
        let error = index.named("a").expect_err("invalid");
        assert_eq!(error.to_string(), "cannot parse the index entry of `a`");
    }
}
