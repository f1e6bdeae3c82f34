// SPDX-License-Identifier: Apache-2.0
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::atom::{Atom, Candidate};
use super::package::Package;
use super::use_dependency::UseDependency;
use super::version::{Version, split_name};

/// All packages that a resolution knows: those that are installed, and those that can be.
#[derive(Debug, Default)]
pub struct World {
    entries: Vec<Entry>,
    /// of binhosts, the newest first
    available: BTreeMap<String, Vec<Id>>,
    /// of the base and earlier extensions, the newest first
    installed: BTreeMap<String, Vec<Id>>,
    provided: BTreeMap<String, Vec<Version>>,
    rules: Vec<UseRule>,
}

/// A package of a world.
#[derive(Debug)]
pub struct Entry {
    /// what is known of it
    pub package: Package,
    /// where it is
    pub origin: Origin,
}

/// Where a package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// on a binhost, the one of this number
    Binhost(usize),
    /// installed in a layer: `the base`, or an earlier extension
    Layer(Arc<str>),
}

/// Names a package of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(usize);

/// Which builds are taken where a binhost keeps several of one version: `app-misc/foo ssl -x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseRule {
    /// for which packages
    pub atom: Atom,
    /// what they must be built with
    pub flags: Vec<UseDependency>,
}

/// Something in the list of provided packages that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a category, a name and a version")]
pub struct ProvidedError(pub String);

impl World {
    /// Adds a package of a binhost.
    pub fn add_available(&mut self, package: Package, binhost: usize) {
        let id = self.add(package, Origin::Binhost(binhost));
        let name = self.package(id).name.clone();
        let place = self.available.entry(name).or_default();
        insert(&self.entries, place, id);
    }

    /// Adds a package that a layer has. One of an earlier layer that stands in the same slot is
    /// hidden by it.
    pub fn add_installed(&mut self, package: Package, layer: &Arc<str>) {
        let id = self.add(package, Origin::Layer(Arc::clone(layer)));
        let entries = &self.entries;
        let package = &entries[id.0].package;
        let place = self.installed.entry(package.name.clone()).or_default();
        place.retain(|other| entries[other.0].package.slot != package.slot);
        insert(entries, place, id);
    }

    /// Lets a package count as installed that nothing is known of: `virtual/mta-1`.
    ///
    /// # Errors
    /// It is not a category, a name and a version.
    pub fn provide(&mut self, text: &str) -> Result<(), ProvidedError> {
        let wrong = || ProvidedError(text.to_owned());
        let (name, version) = split_name(text).ok_or_else(wrong)?;
        if !super::atom::is_name(name) {
            return Err(wrong());
        }
        self.provided.entry(name.to_owned()).or_default().push(version);
        Ok(())
    }

    /// Restricts which builds are taken. The last rule that names a flag counts.
    pub fn restrict(&mut self, rule: UseRule) {
        self.rules.push(rule);
    }

    fn add(&mut self, package: Package, origin: Origin) -> Id {
        self.entries.push(Entry { package, origin });
        Id(self.entries.len() - 1)
    }

    /// A package and where it is.
    pub fn entry(&self, id: Id) -> &Entry {
        &self.entries[id.0]
    }

    /// A package.
    pub fn package(&self, id: Id) -> &Package {
        &self.entries[id.0].package
    }

    /// Whether a package is installed already.
    pub fn is_installed(&self, id: Id) -> bool {
        matches!(self.entries[id.0].origin, Origin::Layer(_))
    }

    /// Packages of binhosts by this name, the newest first.
    pub fn available(&self, name: &str) -> &[Id] {
        self.available.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Installed packages of this name, the newest first.
    pub fn installed(&self, name: &str) -> &[Id] {
        self.installed.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Everything that is installed.
    pub fn all_installed(&self) -> impl Iterator<Item = Id> {
        self.installed.values().flatten().copied()
    }

    /// What is installed in a slot.
    pub fn installed_in(&self, name: &str, slot: &str) -> Option<Id> {
        self.installed(name).iter().copied().find(|id| self.package(*id).slot == slot)
    }

    /// Whether an atom is satisfied by a provided package.
    pub fn is_provided(&self, atom: &Atom) -> bool {
        let versions = self.provided.get(&atom.name).map(Vec::as_slice).unwrap_or_default();
        versions.iter().any(|version| {
            // Nothing is known of slots and flags, so they are not asked for.
            let plain = Atom { slot: None, sub_slot: None, repository: None, ..atom.without_flags() };
            let (slot, repository) = ("0", "");
            plain.matches(&Candidate { name: &atom.name, version, slot, sub_slot: slot, repository })
        })
    }

    /// Whether the rules allow a build.
    pub fn is_allowed(&self, id: Id) -> bool {
        self.forbidding(id).is_none()
    }

    /// What the rules ask and a build does not have.
    pub fn forbidding(&self, id: Id) -> Option<&UseDependency> {
        let package = self.package(id);
        let mut counting: BTreeMap<&str, &UseDependency> = BTreeMap::new();
        for rule in self.rules.iter().filter(|rule| rule.atom.matches(&package.candidate())) {
            counting.extend(rule.flags.iter().map(|flag| (flag.flag.as_str(), flag)));
        }
        // A flag that this version does not know cannot be asked of it.
        counting
            .into_values()
            .find(|flag| package.known_flags.contains(&flag.flag) && !flag.matches(package, &BTreeSet::new()))
    }

    /// Order of two packages of one name: by version, then by build.
    pub fn compare(&self, left: Id, right: Id) -> Ordering {
        compare(self.package(left), self.package(right))
    }
}

fn compare(left: &Package, right: &Package) -> Ordering {
    left.version
        .cmp(&right.version)
        .then_with(|| left.build_time.cmp(&right.build_time))
        .then_with(|| left.build_id.cmp(&right.build_id))
}

/// Keeps a list in order, the newest first; of equal ones, the one that came first.
fn insert(entries: &[Entry], list: &mut Vec<Id>, id: Id) {
    let package = &entries[id.0].package;
    let at = list.partition_point(|other| compare(&entries[other.0].package, package) != Ordering::Less);
    list.insert(at, id);
}
