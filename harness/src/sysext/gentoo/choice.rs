// SPDX-License-Identifier: Apache-2.0
//! Which of the choices in `|| ( ... )` is taken.
//!
//! The order of preference is Portage's, as it can be observed with `emerge --usepkgonly`: choices
//! whose packages are there already or are taken anyway, then choices that can be had, then those
//! that fail for a USE flag, then the rest; and among equals, those with upgrades, and the first.
use std::collections::BTreeMap;

use super::atom::Atom;
use super::attempt::Attempt;
use super::dependency::{Dependency, atoms};
use super::world::Id;

/// Choices that are made of overlapping groups. More would take long, and the groups are then
/// decided one after the other.
const MAXIMUM_COMBINATIONS: usize = 256;

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
    atoms: Vec<Atom>,
    rank: Rank,
    available: bool,
    installed_slots: bool,
    taken: bool,
    new_slots: usize,
    asked: bool,
    /// the package of each name
    packages: BTreeMap<String, Id>,
}

/// The atoms that dependencies come down to once every `|| ( ... )` is decided.
pub(super) fn decide(attempt: &Attempt<'_>, parent: Id, items: &[Dependency]) -> Vec<Atom> {
    let (items, combined) = combine_overlapping(items);
    all_of(attempt, parent, &items, combined)
}

fn all_of(attempt: &Attempt<'_>, parent: Id, items: &[Dependency], combined: bool) -> Vec<Atom> {
    let mut decided = Vec::new();
    for item in items {
        match item {
            Dependency::Atom(atom) if atom.blocker.is_none() && attempt.world.is_provided(atom) => {}
            Dependency::Atom(atom) => decided.push(atom.clone()),
            Dependency::AllOf(inside) | Dependency::IfFlag { inside, .. } => {
                decided.extend(all_of(attempt, parent, inside, combined));
            }
            Dependency::AnyOf(inside) => decided.extend(any_of(attempt, parent, inside, combined)),
        }
    }
    decided
}

fn any_of(attempt: &Attempt<'_>, parent: Id, inside: &[Dependency], combined: bool) -> Vec<Atom> {
    let mut choices = Vec::new();
    for item in inside {
        if is_provided(attempt, item) {
            return Vec::new();
        }
        let atoms = all_of(attempt, parent, std::slice::from_ref(item), combined);
        choices.push(Choice::judge(attempt, parent, atoms));
    }
    let can_be_had = choices.iter().any(|choice| choice.available);
    let counts = |choice: &Choice| choice.available || !can_be_had;
    let Some(rank) = choices.iter().filter(|choice| counts(choice)).map(|choice| choice.rank).min() else {
        return vec![nothing()];
    };
    let equals = choices.into_iter().filter(|choice| choice.rank == rank).collect();
    let best = promote(attempt, equals, combined).into_iter().find(counts);
    best.map(|choice| choice.atoms).unwrap_or_default()
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

fn is_provided(attempt: &Attempt<'_>, item: &Dependency) -> bool {
    match item {
        Dependency::Atom(atom) => atom.blocker.is_none() && attempt.world.is_provided(atom),
        Dependency::AllOf(inside) | Dependency::IfFlag { inside, .. } => {
            inside.iter().all(|item| is_provided(attempt, item))
        }
        Dependency::AnyOf(inside) => inside.iter().any(|item| is_provided(attempt, item)),
    }
}

impl Choice {
    fn judge(attempt: &Attempt<'_>, parent: Id, atoms: Vec<Atom>) -> Self {
        let wanted: Vec<Atom> = atoms.iter().filter(|atom| atom.blocker.is_none()).cloned().collect();
        let mut choice = Self {
            atoms,
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
            let Some(mut found) = attempt.select(&atom.without_flags(), Some(parent)) else {
                choice.available = false;
                break;
            };
            if !atom.flags.is_empty() {
                match attempt.select(atom, Some(parent)) {
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
            choice.rank = choice.rank_of_available(attempt, parent, &wanted, flags_fit, downgrade);
        } else {
            choice.rank = choice.rank_of_unavailable(attempt, parent, &wanted);
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
        parent: Id,
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
        self.taken = counted().all(|atom| attempt.takes(atom, parent));
        match (flags_fit, self.taken) {
            (true, true) => Rank::There,
            (true, false) if installed => Rank::There,
            (true, false) => Rank::Available,
            (false, true) => Rank::WrongFlagsTaken,
            (false, false) if self.installed_slots => Rank::WrongFlagsInstalled,
            (false, false) => Rank::WrongFlags,
        }
    }

    fn rank_of_unavailable(&mut self, attempt: &Attempt<'_>, parent: Id, wanted: &[Atom]) -> Rank {
        let installed = |atom: &&Atom| attempt.installed(atom, Some(parent)).is_some();
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

/// Puts better choices before worse ones of the same rank.
fn promote(attempt: &Attempt<'_>, mut choices: Vec<Choice>, combined: bool) -> Vec<Choice> {
    if combined {
        choices.sort_by_key(|choice| choice.new_slots);
    }
    for index in 1..choices.len() {
        if let Some(better) = (0..index).find(|other| choices[index].beats(&choices[*other], attempt)) {
            let choice = choices.remove(index);
            choices.insert(better, choice);
        }
    }
    choices
}

/// Makes one group of groups that name the same package: `|| ( a b ) || ( b c )` is better
/// satisfied by `b` than by `a` and `c`. Tells whether there were any.
fn combine_overlapping(items: &[Dependency]) -> (Vec<Dependency>, bool) {
    let mut result: Vec<Dependency> =
        items.iter().filter(|item| !matches!(item, Dependency::AnyOf(_))).cloned().collect();
    let mut clusters: Vec<Vec<&Dependency>> = Vec::new();
    for group in items.iter().filter(|item| matches!(item, Dependency::AnyOf(_))) {
        let (touching, mut apart): (Vec<_>, Vec<_>) =
            clusters.into_iter().partition(|cluster| cluster.iter().any(|other| overlap(group, other)));
        let mut cluster: Vec<&Dependency> = touching.into_iter().flatten().collect();
        if !cluster.contains(&group) {
            cluster.push(group);
        }
        apart.push(cluster);
        clusters = apart;
    }
    let mut combined = false;
    for cluster in clusters {
        let sizes = cluster.iter().map(|group| choices(group).len());
        let count = sizes.fold(1_usize, usize::saturating_mul);
        if cluster.len() > 1 && count <= MAXIMUM_COMBINATIONS {
            combined = true;
            result.push(combine(&cluster));
        } else {
            result.extend(cluster.into_iter().cloned());
        }
    }
    (result, combined)
}

fn choices(group: &Dependency) -> &[Dependency] {
    match group {
        Dependency::AnyOf(inside) => inside,
        other => std::slice::from_ref(other),
    }
}

fn overlap(left: &Dependency, right: &Dependency) -> bool {
    let names = |group: &Dependency| -> Vec<String> {
        let found = atoms(std::slice::from_ref(group));
        found.into_iter().filter(|atom| atom.blocker.is_none()).map(|atom| atom.name.clone()).collect()
    };
    let right = names(right);
    names(left).iter().any(|name| right.contains(name))
}

/// Every way to take one choice of each group.
fn combine(groups: &[&Dependency]) -> Dependency {
    let mut ways: Vec<Vec<Dependency>> = vec![Vec::new()];
    for group in groups {
        let longer = ways.iter().flat_map(|way| {
            choices(group).iter().map(move |choice| {
                let mut way = way.clone();
                for item in match choice {
                    Dependency::AllOf(inside) => inside.as_slice(),
                    other => std::slice::from_ref(other),
                } {
                    if !way.contains(item) {
                        way.push(item.clone());
                    }
                }
                way
            })
        });
        ways = longer.collect();
    }
    Dependency::AnyOf(ways.into_iter().map(Dependency::AllOf).collect())
}
