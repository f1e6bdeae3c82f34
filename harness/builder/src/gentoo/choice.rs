// SPDX-License-Identifier: Apache-2.0
//! Which of the choices in `|| ( ... )` is taken.
//!
//! The order of preference is Portage's, as it can be observed with `emerge --usepkgonly`: choices
//! whose packages are there already or are taken anyway, then choices that can be had, then those
//! that fail for a USE flag, then the rest; and among equals, those with upgrades, and the first.
use std::collections::BTreeMap;

use super::atom::Atom;
use super::backtracking::Attempt;
use super::dependency::Dependency;
use super::requirement::{Requirement, Wanted, combine_overlapping, wishes};
use super::world::Id;

/// How good a choice is; the least is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// there, or taken anyway
    There,
    Available,
    WrongFlagsTaken,
    WrongFlagsInstalled,
    WrongFlags,
    /// a part is not available, and all of it is installed
    Installed,
    SomeInstalled,
    OtherSlotInstalled,
    Rest,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
struct Choice {
    wanted: Vec<Wanted>,
    rank: Rank,
    available: bool,
    installed_slots: bool,
    taken: bool,
    new_slots: usize,
    asked: bool,
    /// the package of each name
    packages: BTreeMap<String, Id>,
}

/// What dependencies come down to once every `|| ( ... )` is decided. `depth` counts the virtual
/// packages on the way.
pub(super) fn decide(attempt: &Attempt<'_>, by: Id, items: &[Dependency], depth: usize) -> Vec<Wanted> {
    let (wishes, combined) = combine_overlapping(wishes(attempt, by, items, depth));
    Decision { attempt, by, combined }.all_of(&wishes)
}

/// The deciding of one list of dependencies.
#[derive(Clone, Copy)]
struct Decision<'a, 'b> {
    attempt: &'a Attempt<'b>,
    by: Id,
    /// whether groups were made of overlapping ones
    combined: bool,
}

impl Decision<'_, '_> {
    fn all_of(self, wishes: &[Requirement]) -> Vec<Wanted> {
        let mut decided = Vec::new();
        for wish in wishes {
            match wish {
                Requirement::Atom(_) if self.is_provided(wish) => {}
                Requirement::Atom(wanted) => decided.push((**wanted).clone()),
                Requirement::AllOf(inside) => decided.extend(self.all_of(inside)),
                Requirement::AnyOf(inside) => decided.extend(self.any_of(inside)),
            }
        }
        decided
    }

    fn any_of(self, inside: &[Requirement]) -> Vec<Wanted> {
        let mut choices = Vec::new();
        for wish in inside {
            if self.is_provided(wish) {
                return Vec::new();
            }
            choices.push(Choice::judge(self, self.all_of(std::slice::from_ref(wish))));
        }
        let can_be_had = choices.iter().any(|choice| choice.available);
        let counts = |choice: &Choice| choice.available || !can_be_had;
        let Some(rank) = choices.iter().filter(|choice| counts(choice)).map(|choice| choice.rank).min()
        else {
            return vec![Wanted { atom: nothing(), by: self.by }];
        };
        let equals = choices.into_iter().filter(|choice| choice.rank == rank).collect();
        let best = self.promote(equals).into_iter().find(counts);
        best.map(|choice| choice.wanted).unwrap_or_default()
    }

    fn is_provided(self, wish: &Requirement) -> bool {
        match wish {
            Requirement::Atom(wanted) => {
                wanted.atom.blocker.is_none() && self.attempt.world.is_provided(&wanted.atom)
            }
            Requirement::AllOf(inside) => inside.iter().all(|wish| self.is_provided(wish)),
            Requirement::AnyOf(inside) => inside.iter().any(|wish| self.is_provided(wish)),
        }
    }

    /// Puts better choices before worse ones of the same rank.
    fn promote(self, mut choices: Vec<Choice>) -> Vec<Choice> {
        if self.combined {
            choices.sort_by_key(|choice| choice.new_slots);
        }
        for index in 1..choices.len() {
            let better = (0..index).find(|other| choices[index].beats(&choices[*other], self.attempt));
            if let Some(better) = better {
                let choice = choices.remove(index);
                choices.insert(better, choice);
            }
        }
        choices
    }
}

/// What a group without choices asks for: a name that no package has.
fn nothing() -> Atom {
    Atom {
        blocker: None,
        name: "one-of/nothing".to_owned(),
        version: None,
        slot: None,
        sub_slot: None,
        slot_operator: None,
        repository: None,
        flags: Vec::new(),
    }
}

impl Choice {
    fn judge(decision: Decision<'_, '_>, wanted: Vec<Wanted>) -> Self {
        let Decision { attempt, by, .. } = decision;
        let all = wanted;
        let wanted: Vec<Atom> =
            all.iter().map(|wanted| &wanted.atom).filter(|atom| atom.blocker.is_none()).cloned().collect();
        let mut choice = Self {
            wanted: all,
            rank: Rank::Rest,
            available: true,
            installed_slots: false,
            taken: false,
            new_slots: 0,
            asked: false,
            packages: BTreeMap::new(),
        };
        let mut flags_fit = true;
        let mut downgrade = false;
        let mut slots: BTreeMap<(String, String), (Id, Vec<&Atom>)> = BTreeMap::new();
        for atom in &wanted {
            let Some(mut found) = attempt.select(&atom.without_flags(), Some(by)) else {
                choice.available = false;
                break;
            };
            if !atom.flags.is_empty() {
                match attempt.select(atom, Some(by)) {
                    Some(fitting) => found = fitting,
                    None => flags_fit = false,
                }
            }
            downgrade |= attempt.is_unwanted_downgrade(found);
            choice.note(attempt, &mut slots, atom, found);
        }
        if choice.available {
            choice.asked = slots.values().any(|(id, _)| attempt.is_asked(*id));
            choice.count_slots(attempt, slots.keys());
            choice.rank = choice.rank_of_available(attempt, by, &wanted, flags_fit, downgrade);
        } else {
            choice.rank = choice.rank_of_unavailable(attempt, by, &wanted);
        }
        choice
    }

    /// Remembers which package an atom selects, so that one version is chosen for all atoms of a
    /// slot where that is possible.
    fn note<'a>(
        &mut self,
        attempt: &Attempt<'_>,
        slots: &mut BTreeMap<(String, String), (Id, Vec<&'a Atom>)>,
        atom: &'a Atom,
        found: Id,
    ) {
        let package = attempt.world.package(found);
        let place = (package.name.clone(), package.slot.clone());
        let slot = slots.entry(place).or_insert_with(|| (found, Vec::new()));
        slot.0 = found;
        slot.1.push(atom);
        let Some(previous) = self.packages.get(&package.name).copied() else {
            self.packages.insert(package.name.clone(), found);
            return;
        };
        let (mut fits, mut previous_fits) = (false, false);
        if attempt.world.package(previous).slot == package.slot {
            let all = |id: Id| slot.1.iter().all(|atom| atom.matches(&attempt.world.package(id).candidate()));
            (fits, previous_fits) = (all(found), all(previous));
            if previous_fits && !fits {
                return;
            }
        }
        let newer = package.version > attempt.world.package(previous).version;
        if newer || (fits && !previous_fits) {
            self.packages.insert(package.name.clone(), found);
        }
    }

    fn count_slots<'a>(&mut self, attempt: &Attempt<'_>, slots: impl Iterator<Item = &'a (String, String)>) {
        let counted: Vec<_> = slots.filter(|(name, _)| !name.starts_with("virtual/")).collect();
        self.installed_slots =
            counted.iter().all(|(name, slot)| attempt.world.installed_in(name, slot).is_some());
        self.new_slots = counted.iter().filter(|(name, slot)| attempt.at(name, slot).is_none()).count();
    }

    fn rank_of_available(
        &mut self,
        attempt: &Attempt<'_>,
        by: Id,
        wanted: &[Atom],
        flags_fit: bool,
        downgrade: bool,
    ) -> Rank {
        let counted = || wanted.iter().filter(|atom| !atom.name.starts_with("virtual/"));
        let installed = counted().all(|atom| !attempt.world.installed(&atom.name).is_empty());
        self.installed_slots &= installed;
        if downgrade {
            return Rank::Rest;
        }
        self.taken = counted().all(|atom| attempt.takes(atom, by));
        match (flags_fit, self.taken) {
            (true, true) => Rank::There,
            (true, false) if installed => Rank::There,
            (true, false) => Rank::Available,
            (false, true) => Rank::WrongFlagsTaken,
            (false, false) if self.installed_slots => Rank::WrongFlagsInstalled,
            (false, false) => Rank::WrongFlags,
        }
    }

    fn rank_of_unavailable(&mut self, attempt: &Attempt<'_>, by: Id, wanted: &[Atom]) -> Rank {
        let installed = |atom: &&Atom| attempt.installed(atom, Some(by)).is_some();
        let count = wanted.iter().filter(installed).count();
        if count == wanted.len() {
            self.installed_slots = true;
            Rank::Installed
        } else if count > 0 {
            Rank::SomeInstalled
        } else if wanted.iter().any(|atom| !attempt.world.installed(&atom.name).is_empty()) {
            Rank::OtherSlotInstalled
        } else {
            Rank::Rest
        }
    }

    /// Whether this one is put before one that stands before it.
    fn beats(&self, other: &Self, attempt: &Attempt<'_>) -> bool {
        if self.installed_slots && !other.installed_slots && !other.asked {
            return true;
        }
        let (mut upgrade, mut downgrade) = (false, false);
        for (name, id) in &self.packages {
            let Some(other) = other.packages.get(name) else { continue };
            let versions = (&attempt.world.package(*id).version, &attempt.world.package(*other).version);
            upgrade |= versions.0 > versions.1;
            downgrade |= versions.0 < versions.1;
        }
        (upgrade && !downgrade) || (self.taken && !other.taken && (upgrade || !downgrade))
    }
}
