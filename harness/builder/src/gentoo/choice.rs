// SPDX-License-Identifier: Apache-2.0
//! The decision of `|| ( ... )` and of virtual packages.
//!
//! The order of preference is Portage's, as observed with `emerge --usepkgonly`: alternatives whose
//! packages are installed or in the graph, then those that are available, then those with mismatched USE
//! flags, then the others; of equal ones, those with upgrades, and the first (see [`Preference`]).
//!
//! [`Preference`]: super::alternative::Preference
use super::alternative::Alternative;
use super::atom::{Atom, Operator};
use super::dependency::Dependency;
use super::depgraph::{Depgraph, ParentAtom};
use super::pool::PackageId;
use super::requirement::{Requirement, combine_overlapping};
use crate::version_order::Comparison;

/// Limit of virtual packages that depend on virtual packages.
const MAXIMUM_DEPTH: usize = 16;

/// Decides every `|| ( ... )` of dependencies, and returns the remaining atoms. `depth` counts the virtual
/// packages that lead to the dependencies.
pub(super) fn decide(
    graph: &Depgraph<'_>,
    parent: PackageId,
    items: &[Dependency],
    depth: usize,
) -> Vec<ParentAtom> {
    let (requirements, combined) = combine_overlapping(expand_all(graph, parent, items, depth));
    Decision { graph, parent, combined }.all_of(&requirements)
}

/// The decision of one list of dependencies.
#[derive(Clone, Copy)]
struct Decision<'a, 'b> {
    graph: &'a Depgraph<'b>,
    parent: PackageId,
    /// whether overlapping groups were combined
    combined: bool,
}

impl Decision<'_, '_> {
    fn all_of(self, requirements: &[Requirement]) -> Vec<ParentAtom> {
        let mut decided = Vec::new();
        for requirement in requirements {
            match requirement {
                Requirement::Atom(_) if self.is_provided(requirement) => {}
                Requirement::Atom(need) => decided.push((**need).clone()),
                Requirement::AllOf(inside) => decided.extend(self.all_of(inside)),
                Requirement::AnyOf(inside) => decided.extend(self.any_of(inside)),
            }
        }
        decided
    }

    fn any_of(self, inside: &[Requirement]) -> Vec<ParentAtom> {
        let mut alternatives = Vec::new();
        for requirement in inside {
            if self.is_provided(requirement) {
                return Vec::new();
            }
            let atoms = self.all_of(std::slice::from_ref(requirement));
            alternatives.push(Alternative::rate(self.graph, self.parent, atoms));
        }
        let any_available = alternatives.iter().any(|alternative| alternative.is_available);
        let is_eligible = |alternative: &Alternative| alternative.is_available || !any_available;
        let eligible = alternatives.iter().filter(|alternative| is_eligible(alternative));
        let Some(preference) = eligible.map(|alternative| alternative.preference).min() else {
            return vec![ParentAtom { parent: Some(self.parent), atom: Atom::of_name(EMPTY_GROUP) }];
        };
        let equal = alternatives.into_iter().filter(|alternative| alternative.preference == preference);
        let best = self.sort(equal.collect()).into_iter().find(is_eligible);
        best.map(|alternative| alternative.atoms).unwrap_or_default()
    }

    fn is_provided(self, requirement: &Requirement) -> bool {
        match requirement {
            Requirement::Atom(need) => need.atom.blocker.is_none() && self.graph.pool.is_provided(&need.atom),
            Requirement::AllOf(inside) => inside.iter().all(|item| self.is_provided(item)),
            Requirement::AnyOf(inside) => inside.iter().any(|item| self.is_provided(item)),
        }
    }

    /// Sorts alternatives of the same preference, the best first.
    fn sort(self, mut alternatives: Vec<Alternative>) -> Vec<Alternative> {
        if self.combined {
            alternatives.sort_by_key(|alternative| alternative.new_slots);
        }
        for index in 1..alternatives.len() {
            let worse = (0..index).find(|other| alternatives[index].beats(&alternatives[*other], self.graph));
            if let Some(worse) = worse {
                let alternative = alternatives.remove(index);
                alternatives.insert(worse, alternative);
            }
        }
        alternatives
    }
}

/// The atom of a group without alternatives: a name that no package has.
const EMPTY_GROUP: &str = "one-of/nothing";

/// The requirements of dependencies. A virtual package becomes a choice among its versions, each with its
/// own dependencies, since these decide which version is the best.
fn expand_all(
    graph: &Depgraph<'_>,
    parent: PackageId,
    items: &[Dependency],
    depth: usize,
) -> Vec<Requirement> {
    items.iter().map(|item| expand(graph, parent, item, depth)).collect()
}

fn expand(graph: &Depgraph<'_>, parent: PackageId, item: &Dependency, depth: usize) -> Requirement {
    match item {
        Dependency::Atom(atom) => expand_virtual(graph, parent, atom, depth).unwrap_or_else(|| {
            Requirement::Atom(Box::new(ParentAtom { parent: Some(parent), atom: atom.clone() }))
        }),
        Dependency::AllOf(inside) | Dependency::IfFlag { inside, .. } => {
            Requirement::AllOf(expand_all(graph, parent, inside, depth))
        }
        Dependency::AnyOf(inside) => {
            let items = expand_all(graph, parent, inside, depth).into_iter().flat_map(|item| match item {
                Requirement::AnyOf(nested) => nested,
                other => vec![other],
            });
            Requirement::AnyOf(items.collect())
        }
    }
}

/// The choice among the versions of a virtual package; `None` for any other package.
fn expand_virtual(graph: &Depgraph<'_>, parent: PackageId, atom: &Atom, depth: usize) -> Option<Requirement> {
    if !atom.name.starts_with("virtual/") || atom.blocker.is_some() || depth >= MAXIMUM_DEPTH {
        return None;
    }
    let mut alternatives: Vec<Requirement> = virtual_candidates(graph, parent, atom, depth)
        .into_iter()
        .map(|id| {
            let package = graph.pool.package(id);
            let needs = decide(graph, id, &package.dependencies.run, depth + 1);
            let version = Some((Operator::Compare(Comparison::Equal), package.version.clone()));
            let exact = Atom { version, slot: None, sub_slot: None, slot_operator: None, ..atom.clone() };
            let mut all: Vec<Requirement> = needs.into_iter().map(Box::new).map(Requirement::Atom).collect();
            all.push(Requirement::Atom(Box::new(ParentAtom { parent: Some(parent), atom: exact })));
            Requirement::AllOf(all)
        })
        .collect();
    match alternatives.len() {
        0 => None,
        1 => alternatives.pop(),
        _ => Some(Requirement::AnyOf(alternatives)),
    }
}

/// The versions of a virtual package whose dependencies are available, the newest first: the one that would
/// be selected, and one of each other slot.
fn virtual_candidates(graph: &Depgraph<'_>, parent: PackageId, atom: &Atom, depth: usize) -> Vec<PackageId> {
    let parent = Some(parent);
    let atom = atom.without_flags();
    let is_possible = |id: &PackageId| {
        let needs = decide(graph, *id, &graph.pool.package(*id).dependencies.run, depth + 1);
        let mut needs = needs.iter().filter(|need| need.atom.blocker.is_none());
        needs.all(|need| graph.select(&need.atom.without_flags(), need.parent).is_some())
    };
    let mut found: Vec<PackageId> = graph.select(&atom, parent).filter(is_possible).into_iter().collect();
    if atom.sub_slot.is_none() {
        let mut slots: Vec<(String, String)> = Vec::new();
        let all = graph.pool.available(&atom.name).iter().chain(graph.pool.installed(&atom.name));
        for id in all.filter(|id| graph.satisfies(**id, &atom, parent)) {
            let package = graph.pool.package(*id);
            let slot = (package.slot.clone(), package.sub_slot.clone());
            let is_found = found.iter().any(|id| {
                let found = graph.pool.package(*id);
                (&found.slot, &found.sub_slot) == (&slot.0, &slot.1)
            });
            if !is_found && !slots.contains(&slot) {
                slots.push(slot);
            }
        }
        for (slot, sub_slot) in slots {
            let exact = Atom { slot: Some(slot), sub_slot: Some(sub_slot), ..atom.clone() };
            found.extend(graph.select(&exact, parent).filter(is_possible));
        }
    }
    found.sort_by(|left, right| graph.pool.compare(*right, *left));
    found.dedup();
    found
}
