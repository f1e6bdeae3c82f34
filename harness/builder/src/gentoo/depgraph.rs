// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, BTreeSet};

use super::atom::Atom;
use super::pool::{PackageId, PackagePool};

/// The packages that were selected so far, and their dependants. Portage's word for it is depgraph.
#[derive(Debug)]
pub(super) struct Depgraph<'a> {
    pub(super) pool: &'a PackagePool,
    /// the atoms that the recipe asks for
    pub(super) requested: &'a [Atom],
    /// packages that are not selected because of an earlier conflict
    masked: &'a BTreeSet<PackageId>,
    /// the package in each slot: packages to be added, and installed ones that are needed
    slots: BTreeMap<(String, String), PackageId>,
    /// the dependants of each package, in the order in which they were found
    pub(super) parents: BTreeMap<PackageId, Vec<ParentAtom>>,
    /// the packages in the order in which they were selected
    pub(super) order: Vec<PackageId>,
    no_flags: BTreeSet<String>,
}

/// An atom, and the package that depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParentAtom {
    /// the dependant; `None` where the recipe asks for the package
    pub(super) parent: Option<PackageId>,
    pub(super) atom: Atom,
}

/// Why a resolution failed.
#[derive(Debug)]
pub(super) enum ResolutionFailure {
    /// no package satisfies a dependency
    Unsatisfied(Box<ParentAtom>),
    /// a requested package is installed, and no binhost has it
    OnlyInstalled(Box<ParentAtom>, PackageId),
    /// two packages are needed in the same slot
    SlotConflict {
        /// the package that was selected first
        selected: PackageId,
        /// the package that is needed too
        other: PackageId,
        /// the dependency on the other
        need: Box<ParentAtom>,
    },
}

impl<'a> Depgraph<'a> {
    pub(super) fn new(pool: &'a PackagePool, requested: &'a [Atom], masked: &'a BTreeSet<PackageId>) -> Self {
        Self {
            pool,
            requested,
            masked,
            slots: BTreeMap::new(),
            parents: BTreeMap::new(),
            order: Vec::new(),
            no_flags: BTreeSet::new(),
        }
    }

    /// Adds a package to its slot, and returns whether it is new in the graph.
    pub(super) fn add(&mut self, id: PackageId, need: Box<ParentAtom>) -> Result<bool, ResolutionFailure> {
        let key = self.slot_key(id);
        match self.slots.get(&key).copied() {
            None => {
                self.slots.insert(key, id);
                self.order.push(id);
                self.parents.entry(id).or_default().push(*need);
                return Ok(true);
            }
            Some(selected) if selected == id || self.satisfies(selected, &need.atom, need.parent) => {
                self.parents.entry(selected).or_default().push(*need);
            }
            // A package may need the installed version that it replaces.
            Some(_)
                if self.pool.is_installed(id)
                    && need.parent.is_some_and(|parent| self.slot_key(parent) == key) => {}
            Some(selected) => return Err(ResolutionFailure::SlotConflict { selected, other: id, need }),
        }
        Ok(false)
    }

    /// Selects the package for an atom: one in the graph, else an installed one, else the newest available
    /// one. A requested package is selected from the binhost even if it is installed.
    pub(super) fn select(&self, atom: &Atom, parent: Option<PackageId>) -> Option<PackageId> {
        let unmasked = |list: &'a [PackageId]| {
            list.iter().copied().filter(|id| !self.masked.contains(id) && self.satisfies(*id, atom, parent))
        };
        let available = unmasked(self.pool.available(&atom.name)).find(|id| self.pool.is_allowed(*id));
        let installed = unmasked(self.pool.installed(&atom.name)).next();
        let highest =
            available.into_iter().chain(installed).max_by(|left, right| self.pool.compare(*left, *right))?;
        for candidate in available.into_iter().chain(installed) {
            let Some(selected) = self.slots.get(&self.slot_key(candidate)).copied() else { continue };
            let is_outdated = self.pool.package(selected).slot != self.pool.package(highest).slot
                && self.pool.compare(selected, highest).is_lt();
            if self.satisfies(selected, atom, parent) && !is_outdated {
                return Some(selected);
            }
        }
        match (available, installed) {
            (Some(available), Some(_)) if self.is_requested(available) => Some(available),
            (available, installed) => installed.or(available),
        }
    }

    /// Whether a package is the one that a requested atom selects.
    pub(super) fn is_requested(&self, id: PackageId) -> bool {
        let package = self.pool.package(id);
        self.requested.iter().filter(|atom| self.satisfies(id, atom, None)).any(|atom| {
            // An atom without a slot selects the slot of the newest version.
            let mut newer = self.pool.available(&atom.name).iter().filter(|other| {
                !self.masked.contains(other)
                    && self.satisfies(**other, atom, None)
                    && self.pool.compare(**other, id).is_gt()
            });
            newer.all(|other| self.pool.package(*other).slot == package.slot)
        })
    }

    /// Whether a package satisfies an atom of its dependant.
    pub(super) fn satisfies(&self, id: PackageId, atom: &Atom, parent: Option<PackageId>) -> bool {
        let flags = parent.map_or(&self.no_flags, |parent| &self.pool.package(parent).flags);
        self.pool.package(id).satisfies(atom, flags)
    }

    /// The newest installed package that satisfies an atom.
    pub(super) fn installed(&self, atom: &Atom, parent: Option<PackageId>) -> Option<PackageId> {
        self.pool.installed(&atom.name).iter().copied().find(|id| self.satisfies(*id, atom, parent))
    }

    /// The package that is in a slot after the merge: the selected one, else the installed one.
    pub(super) fn in_slot(&self, name: &str, slot: &str) -> Option<PackageId> {
        let selected = self.slots.get(&(name.to_owned(), slot.to_owned())).copied();
        selected.or_else(|| self.pool.installed_in_slot(name, slot))
    }

    /// Whether a package in the graph satisfies an atom.
    pub(super) fn contains(&self, atom: &Atom, parent: Option<PackageId>) -> bool {
        self.selected(&atom.name).any(|id| self.satisfies(id, atom, parent))
    }

    /// All packages that satisfy an atom after the merge.
    pub(super) fn all_satisfying(&self, atom: &Atom, parent: Option<PackageId>) -> Vec<PackageId> {
        let installed = self.pool.installed(&atom.name).iter().copied();
        let kept = installed.filter(|id| !self.slots.contains_key(&self.slot_key(*id)));
        kept.chain(self.selected(&atom.name)).filter(|id| self.satisfies(*id, atom, parent)).collect()
    }

    /// Whether a package would replace a newer one that is installed or selected.
    pub(super) fn is_unwanted_downgrade(&self, id: PackageId) -> bool {
        let package = self.pool.package(id);
        let same_slot = Atom { slot: Some(package.slot.clone()), ..Atom::of_name(&package.name) };
        let Some(highest) = self.select(&same_slot, None) else { return false };
        let is_present = self.pool.is_installed(highest) || self.parents.contains_key(&highest);
        if !is_present || package.version >= self.pool.package(highest).version {
            return false;
        }
        // The downgrade is wanted where all packages of the slot on the binhost are older.
        let mut others = self
            .pool
            .available(&package.name)
            .iter()
            .map(|other| self.pool.package(*other))
            .filter(|other| other.slot == package.slot)
            .peekable();
        others.peek().is_none() || others.any(|other| other.version >= package.version)
    }

    fn selected<'b>(&'b self, name: &'b str) -> impl Iterator<Item = PackageId> + 'b {
        let start = (name.to_owned(), String::new());
        self.slots.range(start..).take_while(move |((other, _), _)| other == name).map(|(_, id)| *id)
    }

    fn slot_key(&self, id: PackageId) -> (String, String) {
        let (name, slot) = self.pool.package(id).name_and_slot();
        (name.to_owned(), slot.to_owned())
    }
}
