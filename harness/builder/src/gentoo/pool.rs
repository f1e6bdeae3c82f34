// SPDX-License-Identifier: Apache-2.0
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::atom::{Atom, Candidate, is_name};
use super::package::Package;
use super::use_dependency::UseDependency;
use super::use_rule::UseRule;
use super::version::{Version, split_name};

/// The packages of a resolution: installed ones, and those of binhosts.
#[derive(Debug, Default)]
pub struct PackagePool {
    entries: Vec<Entry>,
    /// packages of binhosts by name, the newest first
    available: BTreeMap<String, Vec<PackageId>>,
    /// packages of the base and of earlier extensions by name, the newest first
    installed: BTreeMap<String, Vec<PackageId>>,
    /// `package.provided`
    provided: BTreeMap<String, Vec<Version>>,
    /// `package.use`
    use_rules: Vec<UseRule>,
    /// the names of the packages in `@system`
    system: BTreeSet<String>,
}

/// A package of a pool.
#[derive(Debug)]
pub struct Entry {
    /// the package
    pub package: Package,
    /// where it comes from
    pub origin: Origin,
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// a binhost, by its number
    Binhost(usize),
    /// a layer where it is installed: `the base`, or an earlier extension
    Layer(Arc<str>),
}

/// The identifier of a package in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId(usize);

/// An invalid entry of `package.provided`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a category, a name and a version, such as `virtual/mta-1`")]
pub struct ProvidedError(pub String);

impl PackagePool {
    /// Adds a package of a binhost.
    pub fn add_available(&mut self, package: Package, binhost: usize) {
        let id = self.add(package, Origin::Binhost(binhost));
        let name = self.package(id).name.clone();
        let list = self.available.entry(name).or_default();
        insert(&self.entries, list, id);
    }

    /// Adds an installed package of a layer, which hides one of an earlier layer in the same slot.
    pub fn add_installed(&mut self, package: Package, layer: &Arc<str>) {
        let id = self.add(package, Origin::Layer(Arc::clone(layer)));
        let entries = &self.entries;
        let package = &entries[id.0].package;
        let list = self.installed.entry(package.name.clone()).or_default();
        list.retain(|other| entries[other.0].package.slot != package.slot);
        insert(entries, list, id);
    }

    /// Adds an entry of `package.provided`, such as `virtual/mta-1`: a package that counts as installed.
    ///
    /// # Errors
    /// The entry is not a category, a name and a version.
    pub fn provide(&mut self, text: &str) -> Result<(), ProvidedError> {
        let (name, version) = parse_provided(text)?;
        self.provided.entry(name.to_owned()).or_default().push(version);
        Ok(())
    }

    /// Adds a name to `@system`: the dependencies of such packages must stay satisfied where they are
    /// installed.
    pub fn add_system(&mut self, name: &str) {
        self.system.insert(name.to_owned());
    }

    /// The installed packages of `@system`.
    pub fn installed_system(&self) -> impl Iterator<Item = PackageId> {
        self.system.iter().flat_map(|name| self.installed(name)).copied()
    }

    /// Builds of the version of a package with other USE flags.
    pub fn other_builds(&self, id: PackageId) -> impl Iterator<Item = PackageId> {
        let package = self.package(id);
        let others = self.available(&package.name).iter().copied();
        others.filter(move |other| {
            let other = self.package(*other);
            other.version == package.version
                && other.repository == package.repository
                && differing_flags(package, other).next().is_some()
        })
    }

    /// Adds a rule of `package.use`; of several rules for a flag, the last one applies.
    pub fn add_use_rule(&mut self, rule: UseRule) {
        self.use_rules.push(rule);
    }

    fn add(&mut self, package: Package, origin: Origin) -> PackageId {
        self.entries.push(Entry { package, origin });
        PackageId(self.entries.len() - 1)
    }

    /// A package with its origin.
    pub fn entry(&self, id: PackageId) -> &Entry {
        &self.entries[id.0]
    }

    /// A package.
    pub fn package(&self, id: PackageId) -> &Package {
        &self.entries[id.0].package
    }

    /// Whether a package is installed.
    pub fn is_installed(&self, id: PackageId) -> bool {
        matches!(self.entries[id.0].origin, Origin::Layer(_))
    }

    /// The packages of binhosts of a name, the newest first.
    pub fn available(&self, name: &str) -> &[PackageId] {
        self.available.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The installed packages of a name, the newest first.
    pub fn installed(&self, name: &str) -> &[PackageId] {
        self.installed.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// All installed packages.
    pub fn all_installed(&self) -> impl Iterator<Item = PackageId> {
        self.installed.values().flatten().copied()
    }

    /// The installed package in a slot.
    pub fn installed_in_slot(&self, name: &str, slot: &str) -> Option<PackageId> {
        self.installed(name).iter().copied().find(|id| self.package(*id).slot == slot)
    }

    /// Whether an entry of `package.provided` satisfies an atom.
    pub fn is_provided(&self, atom: &Atom) -> bool {
        self.provided(atom).is_some()
    }

    /// The version of an entry of `package.provided` that satisfies an atom.
    pub fn provided(&self, atom: &Atom) -> Option<&Version> {
        let versions = self.provided.get(&atom.name).map(Vec::as_slice).unwrap_or_default();
        versions.iter().find(|version| {
            // An entry has no slot, repository or USE flags, so they are not compared.
            let version_only = Atom { slot: None, sub_slot: None, repository: None, ..atom.without_flags() };
            let (slot, repository) = ("0", "");
            version_only.matches(&Candidate { name: &atom.name, version, slot, sub_slot: slot, repository })
        })
    }

    /// Whether the USE flags of a package follow the rules.
    pub fn is_allowed(&self, id: PackageId) -> bool {
        self.use_mismatch(id).is_none()
    }

    /// The required flag of a rule that a package does not follow.
    pub fn use_mismatch(&self, id: PackageId) -> Option<&UseDependency> {
        let package = self.package(id);
        let mut required: BTreeMap<&str, &UseDependency> = BTreeMap::new();
        for rule in self.use_rules.iter().filter(|rule| rule.packages.matches(&package.candidate())) {
            required.extend(rule.flags.iter().map(|flag| (flag.flag.as_str(), flag)));
        }
        // A rule does not apply to versions without the flag.
        required
            .into_values()
            .find(|flag| package.known_flags.contains(&flag.flag) && !flag.matches(package, &BTreeSet::new()))
    }

    /// The order of two packages of the same name: by version, build time and build id.
    pub fn compare(&self, left: PackageId, right: PackageId) -> Ordering {
        compare(self.package(left), self.package(right))
    }
}

/// Parses an entry of `package.provided`.
///
/// # Errors
/// The entry is not a category, a name and a version.
pub(super) fn parse_provided(text: &str) -> Result<(&str, Version), ProvidedError> {
    split_name(text).filter(|(name, _)| is_name(name)).ok_or_else(|| ProvidedError(text.to_owned()))
}

/// The USE flags that are enabled in one of two builds only.
pub(super) fn differing_flags<'a>(left: &'a Package, right: &'a Package) -> impl Iterator<Item = &'a str> {
    let known = move |flag: &&String| left.known_flags.contains(*flag) || right.known_flags.contains(*flag);
    left.flags.symmetric_difference(&right.flags).filter(known).map(String::as_str)
}

fn compare(left: &Package, right: &Package) -> Ordering {
    left.version
        .cmp(&right.version)
        .then_with(|| left.build_time.cmp(&right.build_time))
        .then_with(|| left.build_id.cmp(&right.build_id))
}

/// Inserts a package into a list that is sorted by age, the newest first; of equal ones, the first stays
/// first.
fn insert(entries: &[Entry], list: &mut Vec<PackageId>, id: PackageId) {
    let package = &entries[id.0].package;
    let at = list.partition_point(|other| compare(&entries[other.0].package, package) != Ordering::Less);
    list.insert(at, id);
}
