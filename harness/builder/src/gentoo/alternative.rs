// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use super::atom::Atom;
use super::depgraph::{Depgraph, ParentAtom};
use super::pool::PackageId;

/// How good an alternative of `|| ( ... )` is; the least is the best.
///
/// The order is that of Portage, as observed with `emerge --usepkgonly`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Preference {
    /// all packages are in the graph or installed
    Present,
    /// all packages are available
    Available,
    /// the USE flags of a package in the graph do not match
    UseMismatchInGraph,
    /// the USE flags of an installed package do not match
    UseMismatchInstalled,
    /// the USE flags of an available package do not match
    UseMismatch,
    /// a package is not available, but all are installed
    Installed,
    /// a package is not available, and some are installed
    PartlyInstalled,
    /// a package is not available, and one is installed in another version or slot
    OtherSlotInstalled,
    /// a package is not available, or would be downgraded
    Unavailable,
}

/// One alternative of `|| ( ... )`, rated.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Alternative {
    pub(super) atoms: Vec<ParentAtom>,
    pub(super) preference: Preference,
    /// whether all packages are available
    pub(super) is_available: bool,
    /// slots that neither the graph nor the base has
    pub(super) new_slots: usize,
    all_slots_installed: bool,
    in_graph: bool,
    requested: bool,
    /// the selected package of each name
    packages: BTreeMap<String, PackageId>,
}

/// The selected package of each slot, and the atoms that select it.
type Slots<'a> = BTreeMap<(String, String), (PackageId, Vec<&'a Atom>)>;

impl Alternative {
    /// Rates an alternative of a dependency of `parent`.
    pub(super) fn rate(graph: &Depgraph<'_>, parent: PackageId, atoms: Vec<ParentAtom>) -> Self {
        let parent = Some(parent);
        let positive: Vec<Atom> =
            atoms.iter().map(|need| &need.atom).filter(|atom| atom.blocker.is_none()).cloned().collect();
        let mut alternative = Self {
            atoms,
            preference: Preference::Unavailable,
            is_available: true,
            new_slots: 0,
            all_slots_installed: false,
            in_graph: false,
            requested: false,
            packages: BTreeMap::new(),
        };
        let mut flags_match = true;
        let mut is_downgrade = false;
        let mut slots = Slots::new();
        for atom in &positive {
            let Some(mut selected) = graph.select(&atom.without_flags(), parent) else {
                alternative.is_available = false;
                break;
            };
            if !atom.flags.is_empty() {
                match graph.select(atom, parent) {
                    Some(matching) => selected = matching,
                    None => flags_match = false,
                }
            }
            is_downgrade |= graph.is_unwanted_downgrade(selected);
            alternative.note(graph, &mut slots, atom, selected);
        }
        if alternative.is_available {
            alternative.requested = slots.values().any(|(id, _)| graph.is_requested(*id));
            alternative.count_slots(graph, slots.keys());
            alternative.preference =
                alternative.rate_available(graph, parent, &positive, flags_match, is_downgrade);
        } else {
            alternative.preference = alternative.rate_unavailable(graph, parent, &positive);
        }
        alternative
    }

    /// Notes the package that an atom selects, so that all atoms of a slot select one version where
    /// possible.
    fn note<'a>(&mut self, graph: &Depgraph<'_>, slots: &mut Slots<'a>, atom: &'a Atom, selected: PackageId) {
        let package = graph.pool.package(selected);
        let key = (package.name.clone(), package.slot.clone());
        let slot = slots.entry(key).or_insert_with(|| (selected, Vec::new()));
        slot.0 = selected;
        slot.1.push(atom);
        let Some(previous) = self.packages.get(&package.name).copied() else {
            self.packages.insert(package.name.clone(), selected);
            return;
        };
        let (mut matches, mut previous_matches) = (false, false);
        if graph.pool.package(previous).slot == package.slot {
            let matches_all =
                |id: PackageId| slot.1.iter().all(|atom| atom.matches(&graph.pool.package(id).candidate()));
            (matches, previous_matches) = (matches_all(selected), matches_all(previous));
            if previous_matches && !matches {
                return;
            }
        }
        let is_newer = package.version > graph.pool.package(previous).version;
        if is_newer || (matches && !previous_matches) {
            self.packages.insert(package.name.clone(), selected);
        }
    }

    fn count_slots<'a>(&mut self, graph: &Depgraph<'_>, slots: impl Iterator<Item = &'a (String, String)>) {
        let counted: Vec<_> = slots.filter(|(name, _)| !name.starts_with("virtual/")).collect();
        self.all_slots_installed =
            counted.iter().all(|(name, slot)| graph.pool.installed_in_slot(name, slot).is_some());
        self.new_slots = counted.iter().filter(|(name, slot)| graph.in_slot(name, slot).is_none()).count();
    }

    fn rate_available(
        &mut self,
        graph: &Depgraph<'_>,
        parent: Option<PackageId>,
        atoms: &[Atom],
        flags_match: bool,
        is_downgrade: bool,
    ) -> Preference {
        let counted = || atoms.iter().filter(|atom| !atom.name.starts_with("virtual/"));
        let installed = counted().all(|atom| !graph.pool.installed(&atom.name).is_empty());
        self.all_slots_installed &= installed;
        if is_downgrade {
            return Preference::Unavailable;
        }
        self.in_graph = counted().all(|atom| graph.contains(atom, parent));
        match (flags_match, self.in_graph) {
            (true, true) => Preference::Present,
            (true, false) if installed => Preference::Present,
            (true, false) => Preference::Available,
            (false, true) => Preference::UseMismatchInGraph,
            (false, false) if self.all_slots_installed => Preference::UseMismatchInstalled,
            (false, false) => Preference::UseMismatch,
        }
    }

    fn rate_unavailable(
        &mut self,
        graph: &Depgraph<'_>,
        parent: Option<PackageId>,
        atoms: &[Atom],
    ) -> Preference {
        let count = atoms.iter().filter(|atom| graph.installed(atom, parent).is_some()).count();
        if count == atoms.len() {
            self.all_slots_installed = true;
            Preference::Installed
        } else if count > 0 {
            Preference::PartlyInstalled
        } else if atoms.iter().any(|atom| !graph.pool.installed(&atom.name).is_empty()) {
            Preference::OtherSlotInstalled
        } else {
            Preference::Unavailable
        }
    }

    /// Whether this alternative precedes another of the same preference, although it follows in the text.
    pub(super) fn beats(&self, other: &Self, graph: &Depgraph<'_>) -> bool {
        if self.all_slots_installed && !other.all_slots_installed && !other.requested {
            return true;
        }
        let (mut upgrade, mut downgrade) = (false, false);
        for (name, id) in &self.packages {
            let Some(other) = other.packages.get(name) else { continue };
            let (version, other) = (&graph.pool.package(*id).version, &graph.pool.package(*other).version);
            upgrade |= version > other;
            downgrade |= version < other;
        }
        (upgrade && !downgrade) || (self.in_graph && !other.in_graph && (upgrade || !downgrade))
    }
}
