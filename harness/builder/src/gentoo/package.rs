// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::fmt;

use super::atom::{Atom, Candidate, is_name};
use super::dependency::{self, Dependency, DependencyError};
use super::index::Metadata;
use super::use_dependency::Flags;
use super::version::{Version, split_name};

/// A built package: one of a binhost, or one that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// category and name
    pub name: String,
    /// its version
    pub version: Version,
    /// its slot
    pub slot: String,
    /// its sub-slot; the slot where it has none
    pub sub_slot: String,
    /// where its ebuild came from; empty where that is not known
    pub repository: String,
    /// flags that it knows
    pub known_flags: BTreeSet<String>,
    /// flags that it was built with
    pub flags: BTreeSet<String>,
    /// what it needs, and what it blocks: `RDEPEND`, `PDEPEND` and `IDEPEND`, reduced
    pub dependencies: Dependencies,
    /// counts how often this version was built for a binhost that keeps several builds
    pub build_id: u64,
    /// seconds since 1970
    pub build_time: u64,
    /// the package file, of a package of a binhost
    pub file: Option<PackageFile>,
    /// a line about it
    pub description: String,
    /// its licence, as Gentoo writes it
    pub license: String,
    /// where it comes from, of an installed package alone
    pub homepage: String,
}

/// What a package needs, by when it is needed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dependencies {
    /// to run
    pub run: Vec<Dependency>,
    /// to run, and it may come later
    pub post: Vec<Dependency>,
    /// to be installed: its install hooks use it
    pub install: Vec<Dependency>,
}

/// A package file of a binhost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// relative to the binhost
    pub path: String,
    /// bytes, where the index says that
    pub size: Option<u64>,
    /// SHA-1 in hex, where the index says that
    pub sha1: Option<String>,
    /// MD5 in hex, where the index says that
    pub md5: Option<String>,
}

/// What is written about a package cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// its name or version
    #[error("`{0}` is not a category, a name and a version")]
    Name(String),
    /// its slot
    #[error("`{0}` is not a slot")]
    Slot(String),
    /// what it needs
    #[error("its {key} cannot be read")]
    Dependency {
        /// `RDEPEND` ..
        key: &'static str,
        /// why not
        source: DependencyError,
    },
}

impl Package {
    /// Reads what an index, a package file or a package database says of a package; `name` is the
    /// category, the name and the version together.
    ///
    /// # Errors
    /// See [`PackageError`].
    pub fn read(name: &str, metadata: &Metadata) -> Result<Self, PackageError> {
        let wrong = || PackageError::Name(name.to_owned());
        let (category_and_name, version) = split_name(name).ok_or_else(wrong)?;
        if !is_name(category_and_name) {
            return Err(wrong());
        }
        let value = |key: &str| metadata.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
        let (slot, sub_slot) = read_slot(value("SLOT").unwrap_or("0"))?;
        let flags: BTreeSet<String> = words(value("USE")).map(str::to_owned).collect();
        let known = words(value("IUSE")).map(|flag| flag.trim_start_matches(['+', '-']));
        let known_flags = known.chain(words(value("IUSE_EFFECTIVE"))).map(str::to_owned).collect();
        let depend = |key: &'static str| {
            let items = dependency::parse(value(key).unwrap_or_default())
                .map_err(|source| PackageError::Dependency { key, source })?;
            Ok(dependency::reduce(&items, &flags))
        };
        let dependencies =
            Dependencies { run: depend("RDEPEND")?, post: depend("PDEPEND")?, install: depend("IDEPEND")? };
        let number = |key: &str| value(key).and_then(|value| value.parse().ok()).unwrap_or(0);
        let text = |keys: [&str; 2]| keys.into_iter().find_map(value).unwrap_or_default().to_owned();
        Ok(Self {
            name: category_and_name.to_owned(),
            version,
            slot,
            sub_slot,
            repository: text(["REPO", "repository"]),
            known_flags,
            dependencies,
            flags,
            build_id: number("BUILD_ID"),
            build_time: number("BUILD_TIME"),
            file: None,
            description: text(["DESC", "DESCRIPTION"]),
            license: text(["LICENSE", "LICENSE"]),
            homepage: text(["HOMEPAGE", "HOMEPAGE"]),
        })
    }

    /// Reads a package of an index, with where its file lies.
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
            md5: given("MD5").map(|digest| digest.to_ascii_lowercase()),
        });
        Ok(package)
    }

    /// What an atom is compared with.
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate {
            name: &self.name,
            version: &self.version,
            slot: &self.slot,
            sub_slot: &self.sub_slot,
            repository: &self.repository,
        }
    }

    /// Whether the package satisfies an atom of a package whose enabled flags are `parent`.
    pub fn satisfies(&self, atom: &Atom, parent: &BTreeSet<String>) -> bool {
        atom.matches(&self.candidate()) && atom.flags.iter().all(|flag| flag.matches(self, parent))
    }

    /// Name and slot: of these, one can be installed at a time.
    pub fn place(&self) -> (&str, &str) {
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

/// Flags that the profile gives to every package. An index does not tell them.
fn is_of_profile(flag: &str) -> bool {
    ["elibc_", "kernel_", "userland_"].iter().any(|prefix| flag.starts_with(prefix))
        || matches!(flag, "amd64" | "arm64" | "x86" | "arm" | "prefix" | "prefix-guest" | "prefix-stack")
}

fn words(value: Option<&str>) -> impl Iterator<Item = &str> {
    value.unwrap_or_default().split_ascii_whitespace()
}

fn read_slot(text: &str) -> Result<(String, String), PackageError> {
    let (slot, sub_slot) = text.split_once('/').unwrap_or((text, text));
    // The grammar is the one of atoms.
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
    fn an_entry_of_an_index_is_read_with_its_defaults() {
        let package = Package::of_index(&metadata(&[("CPV", "app-misc/foo-1.0-r1")])).expect("a package");
        assert_eq!(package.place(), ("app-misc/foo", "0"));
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
    fn what_cannot_be_read_is_refused() {
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
