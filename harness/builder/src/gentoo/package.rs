// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::fmt;

use super::atom::{Atom, Candidate, is_name};
use super::dependency::{self, Dependency, DependencyError};
use super::index::Metadata;
use super::use_dependency::Flags;
use super::version::{Version, split_name};

/// A binary package of a binhost, or an installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// category and name
    pub name: String,
    /// the version
    pub version: Version,
    /// the slot
    pub slot: String,
    /// the sub-slot; equal to the slot where the package has none
    pub sub_slot: String,
    /// the repository of the ebuild; empty where unknown
    pub repository: String,
    /// its USE flags (`IUSE`, `IUSE_EFFECTIVE`)
    pub known_flags: BTreeSet<String>,
    /// USE flags that it was built with
    pub flags: BTreeSet<String>,
    /// dependencies and blockers, with conditionals evaluated
    pub dependencies: Dependencies,
    /// `BUILD_ID`: the number of the build, on a binhost with several builds of a version
    pub build_id: u64,
    /// `BUILD_TIME` in seconds since 1970
    pub build_time: u64,
    /// the package file on the binhost; `None` for an installed package
    pub file: Option<PackageFile>,
}

/// The dependencies of a package by kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dependencies {
    /// `RDEPEND`
    pub run: Vec<Dependency>,
    /// `PDEPEND`
    pub post: Vec<Dependency>,
    /// `IDEPEND`, which the install hooks use
    pub install: Vec<Dependency>,
}

/// A package file on a binhost, as in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// path relative to the binhost
    pub path: String,
    /// size in bytes, if the index has it
    pub size: Option<u64>,
    /// SHA-1 in hex, if the index has it
    pub sha1: Option<String>,
}

/// Metadata of a package that are invalid.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// the name or version is invalid
    #[error("`{0}` is not a category, a name and a version, such as `app-misc/foo-1.0`")]
    Name(String),
    /// the slot is invalid
    #[error("`{0}` is not a slot")]
    Slot(String),
    /// a dependency is invalid
    #[error("invalid {key}")]
    Dependency {
        /// `RDEPEND`, `PDEPEND` or `IDEPEND`
        key: &'static str,
        /// what is wrong
        source: DependencyError,
    },
}

impl Dependencies {
    /// All dependencies of any kind.
    pub fn iter(&self) -> impl Iterator<Item = &Dependency> {
        [&self.run, &self.install, &self.post].into_iter().flatten()
    }
}

impl Package {
    /// Parses the metadata of a package from an index, a package file or a package database; `name` is
    /// `CATEGORY/NAME-VERSION`.
    ///
    /// # Errors
    /// See [`PackageError`].
    pub fn read(name: &str, metadata: &Metadata) -> Result<Self, PackageError> {
        let invalid = || PackageError::Name(name.to_owned());
        let (category_and_name, version) = split_name(name).ok_or_else(invalid)?;
        if !is_name(category_and_name) {
            return Err(invalid());
        }
        let value = |key: &str| metadata.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
        let (slot, sub_slot) = read_slot(value("SLOT").unwrap_or("0"))?;
        let flags: BTreeSet<String> = tokens(value("USE")).map(str::to_owned).collect();
        let known = tokens(value("IUSE")).map(|flag| flag.trim_start_matches(['+', '-']));
        let known_flags = known.chain(tokens(value("IUSE_EFFECTIVE"))).map(str::to_owned).collect();
        let depend = |key: &'static str| {
            let items = dependency::parse(value(key).unwrap_or_default())
                .map_err(|source| PackageError::Dependency { key, source })?;
            Ok(dependency::reduce(&items, &flags))
        };
        let dependencies =
            Dependencies { run: depend("RDEPEND")?, post: depend("PDEPEND")?, install: depend("IDEPEND")? };
        let number = |key: &str| value(key).and_then(|value| value.parse().ok()).unwrap_or(0);
        Ok(Self {
            name: category_and_name.to_owned(),
            version,
            slot,
            sub_slot,
            // An index has the first key, a database the second.
            repository: value("REPO").or_else(|| value("repository")).unwrap_or_default().to_owned(),
            known_flags,
            dependencies,
            flags,
            build_id: number("BUILD_ID"),
            build_time: number("BUILD_TIME"),
            file: None,
        })
    }

    /// Parses a package of an index, with its package file.
    ///
    /// # Errors
    /// See [`PackageError`].
    pub fn of_index(metadata: &Metadata) -> Result<Self, PackageError> {
        let name = metadata.get("CPV").map(String::as_str).unwrap_or_default();
        let mut package = Self::read(name, metadata)?;
        let given = |key: &str| metadata.get(key).filter(|value| !value.is_empty()).cloned();
        package.file = Some(PackageFile {
            path: given("PATH").unwrap_or_else(|| format!("{name}.tbz2")),
            size: given("SIZE").and_then(|size| size.parse().ok()),
            sha1: given("SHA1").map(|digest| digest.to_ascii_lowercase()),
        });
        Ok(package)
    }

    /// The properties that an atom is matched against.
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate {
            name: &self.name,
            version: &self.version,
            slot: &self.slot,
            sub_slot: &self.sub_slot,
            repository: &self.repository,
        }
    }

    /// Whether the package satisfies an atom; `parent` has the enabled USE flags of the dependant.
    pub fn satisfies(&self, atom: &Atom, parent: &BTreeSet<String>) -> bool {
        atom.matches(&self.candidate()) && atom.flags.iter().all(|flag| flag.matches(self, parent))
    }

    /// Name and slot: one package of each can be installed at a time.
    pub fn name_and_slot(&self) -> (&str, &str) {
        (&self.name, &self.slot)
    }
}

impl Flags for Package {
    fn knows(&self, flag: &str) -> bool {
        self.known_flags.contains(flag) || is_of_profile(flag)
    }

    fn enabled(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }
}

/// Whether a flag is one of those that the profile adds to every package; an index does not list them.
fn is_of_profile(flag: &str) -> bool {
    ["elibc_", "kernel_", "userland_"].iter().any(|prefix| flag.starts_with(prefix))
        || matches!(flag, "amd64" | "arm64" | "x86" | "arm" | "prefix" | "prefix-guest" | "prefix-stack")
}

fn tokens(value: Option<&str>) -> impl Iterator<Item = &str> {
    value.unwrap_or_default().split_ascii_whitespace()
}

fn read_slot(text: &str) -> Result<(String, String), PackageError> {
    let (slot, sub_slot) = text.split_once('/').unwrap_or((text, text));
    // The syntax is that of an atom's slot.
    match Atom::parse(&format!("a/b:{slot}/{sub_slot}")) {
        Ok(Atom {
            slot: Some(slot),
            sub_slot: Some(sub_slot),
            slot_operator: None,
            repository: None,
            ..
        }) => Ok((slot, sub_slot)),
        _ => Err(PackageError::Slot(text.to_owned())),
    }
}

impl fmt::Display for Package {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.name, self.version)?;
        if self.repository.is_empty() { Ok(()) } else { write!(formatter, "::{}", self.repository) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(lines: &[(&str, &str)]) -> Metadata {
        lines.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn index_entries_are_parsed_with_defaults() {
        let package = Package::of_index(&metadata(&[("CPV", "app-misc/foo-1.0-r1")])).expect("a package");
        assert_eq!(package.name_and_slot(), ("app-misc/foo", "0"));
        assert_eq!(package.sub_slot, "0");
        assert_eq!(package.file.expect("a file").path, "app-misc/foo-1.0-r1.tbz2");
        let package = Package::of_index(&metadata(&[
            ("CPV", "app-misc/foo-1.0"),
            ("SLOT", "3/5.1"),
            ("IUSE", "+ssl -x y"),
            ("USE", "ssl elibc_glibc"),
            ("RDEPEND", "ssl? ( dev-libs/openssl:0/3= ) x? ( x11-libs/libX11 ) || ( a/b c/d )"),
            ("PATH", "app-misc/foo/foo-1.0-2.xpak"),
            ("SHA1", "AB"),
            ("BUILD_ID", "2"),
            ("REPO", "gentoo"),
        ]))
        .expect("a package");
        assert_eq!((package.slot.as_str(), package.sub_slot.as_str(), package.build_id), ("3", "5.1", 2));
        assert_eq!(package.to_string(), "app-misc/foo-1.0::gentoo");
        let needs: Vec<String> = package.dependencies.run.iter().map(ToString::to_string).collect();
        assert_eq!(needs, ["dev-libs/openssl:0/3=", "|| ( a/b c/d )"]);
        let satisfies = |text: &str| package.satisfies(&Atom::parse(text).expect(text), &BTreeSet::new());
        assert!(satisfies("app-misc/foo:3[ssl,-x,y(-)?]") && satisfies("app-misc/foo[elibc_glibc,-amd64]"));
        assert!(
            !satisfies("app-misc/foo[-ssl]") && !satisfies("app-misc/foo[z]") && !satisfies("app-misc/foo:0")
        );
        let file = package.file.expect("a file");
        assert_eq!((file.path.as_str(), file.sha1.as_deref()), ("app-misc/foo/foo-1.0-2.xpak", Some("ab")));
    }

    #[test]
    fn invalid_metadata_are_refused() {
        for lines in [
            &[("CPV", "foo-1")][..],
            &[("CPV", "a/foo")],
            &[("CPV", "a/foo-1"), ("SLOT", "0/1/2")],
            &[("CPV", "a/foo-1"), ("SLOT", "0=")],
            &[("CPV", "a/foo-1"), ("SLOT", "0::x")],
            &[("CPV", "a/foo-1"), ("RDEPEND", "|| (")],
            &[],
        ] {
            assert!(Package::of_index(&metadata(lines)).is_err(), "{lines:?}");
        }
    }
}
