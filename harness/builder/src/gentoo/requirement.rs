// SPDX-License-Identifier: Apache-2.0
//! Dependencies on the way to being decided: with the package that each atom is needed by, and with
//! virtual packages replaced by what they stand for.
use super::atom::{Atom, Operator};
use super::backtracking::Attempt;
use super::choice;
use super::dependency::Dependency;
use super::world::Id;

/// Ways to satisfy overlapping groups that are looked at. More would take long, and the groups are
/// then decided one after the other.
const MAXIMUM_COMBINATIONS: usize = 256;
/// How deep virtual packages may stand for each other.
const MAXIMUM_DEPTH: usize = 16;

/// An item of dependencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Requirement {
    /// a package
    Atom(Box<Wanted>),
    /// one of these
    AnyOf(Vec<Requirement>),
    /// all of these
    AllOf(Vec<Requirement>),
}

/// A package that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// which
    pub(super) atom: Atom,
    /// by whom
    pub(super) by: Id,
}

/// The wishes of a package. A virtual package becomes a choice among its versions, each together
/// with what it needs itself: whether `virtual/x` is best satisfied by one version or another is
/// a matter of what that brings along.
pub(super) fn wishes(attempt: &Attempt<'_>, by: Id, items: &[Dependency], depth: usize) -> Vec<Requirement> {
    items.iter().map(|item| wish(attempt, by, item, depth)).collect()
}

fn wish(attempt: &Attempt<'_>, by: Id, item: &Dependency, depth: usize) -> Requirement {
    match item {
        Dependency::Atom(atom) => virtual_choice(attempt, by, atom, depth)
            .unwrap_or_else(|| Requirement::Atom(Box::new(Wanted { atom: atom.clone(), by }))),
        Dependency::AllOf(inside) | Dependency::IfFlag { inside, .. } => {
            Requirement::AllOf(wishes(attempt, by, inside, depth))
        }
        Dependency::AnyOf(inside) => {
            let choices = wishes(attempt, by, inside, depth).into_iter().flat_map(|choice| match choice {
                Requirement::AnyOf(more) => more,
                other => vec![other],
            });
            Requirement::AnyOf(choices.collect())
        }
    }
}

/// The choice that a virtual package stands for; nothing for any other.
fn virtual_choice(attempt: &Attempt<'_>, by: Id, atom: &Atom, depth: usize) -> Option<Requirement> {
    if !atom.name.starts_with("virtual/") || atom.blocker.is_some() || depth >= MAXIMUM_DEPTH {
        return None;
    }
    let mut choices: Vec<Requirement> = candidates(attempt, by, atom, depth)
        .into_iter()
        .map(|id| {
            let package = attempt.world.package(id);
            let needs = choice::decide(attempt, id, &package.dependencies.run, depth + 1);
            let version = Some((Operator::Equal, package.version.clone()));
            let exact = Atom { version, slot: None, sub_slot: None, slot_operator: None, ..atom.clone() };
            let mut all: Vec<Requirement> = needs.into_iter().map(Box::new).map(Requirement::Atom).collect();
            all.push(Requirement::Atom(Box::new(Wanted { atom: exact, by })));
            Requirement::AllOf(all)
        })
        .collect();
    match choices.len() {
        0 => None,
        1 => choices.pop(),
        _ => Some(Requirement::AnyOf(choices)),
    }
}

/// Versions of a virtual package that can be had with all they need, the newest first: the one that
/// would be selected, and one of each other slot.
fn candidates(attempt: &Attempt<'_>, by: Id, atom: &Atom, depth: usize) -> Vec<Id> {
    let atom = atom.without_flags();
    let possible = |id: &Id| {
        let needs = choice::decide(attempt, *id, &attempt.world.package(*id).dependencies.run, depth + 1);
        let mut wanted = needs.iter().filter(|wanted| wanted.atom.blocker.is_none());
        wanted.all(|wanted| attempt.select(&wanted.atom.without_flags(), Some(wanted.by)).is_some())
    };
    let mut found: Vec<Id> = attempt.select(&atom, Some(by)).filter(possible).into_iter().collect();
    if atom.sub_slot.is_none() {
        let mut slots: Vec<(String, String)> = Vec::new();
        let all = attempt.world.available(&atom.name).iter().chain(attempt.world.installed(&atom.name));
        for id in all.filter(|id| attempt.fits(**id, &atom, Some(by))) {
            let package = attempt.world.package(*id);
            let slot = (package.slot.clone(), package.sub_slot.clone());
            let known = found.iter().any(|id| {
                let found = attempt.world.package(*id);
                (&found.slot, &found.sub_slot) == (&slot.0, &slot.1)
            });
            if !known && !slots.contains(&slot) {
                slots.push(slot);
            }
        }
        for (slot, sub_slot) in slots {
            let exact = Atom { slot: Some(slot), sub_slot: Some(sub_slot), ..atom.clone() };
            found.extend(attempt.select(&exact, Some(by)).filter(possible));
        }
    }
    found.sort_by(|left, right| attempt.world.compare(*right, *left));
    found.dedup();
    found
}

/// Makes one group of groups that name the same package: `|| ( a b ) || ( b c )` is better
/// satisfied by `b` than by `a` and `c`. Tells whether there were any.
pub(super) fn combine_overlapping(wishes: Vec<Requirement>) -> (Vec<Requirement>, bool) {
    let mut result = Vec::new();
    let mut clusters: Vec<Vec<Requirement>> = Vec::new();
    for wish in flat(wishes) {
        if !matches!(wish, Requirement::AnyOf(_)) {
            result.push(wish);
            continue;
        }
        let (touching, mut apart): (Vec<_>, Vec<_>) =
            clusters.into_iter().partition(|cluster| cluster.iter().any(|other| overlap(&wish, other)));
        let mut cluster: Vec<Requirement> = touching.into_iter().flatten().collect();
        if !cluster.contains(&wish) {
            cluster.push(wish);
        }
        apart.push(cluster);
        clusters = apart;
    }
    let mut combined = false;
    for cluster in clusters {
        let count = cluster.iter().map(|group| choices(group).len()).fold(1_usize, usize::saturating_mul);
        if cluster.len() > 1 && count <= MAXIMUM_COMBINATIONS {
            combined = true;
            result.push(combine(&cluster));
        } else {
            result.extend(cluster);
        }
    }
    (result, combined)
}

/// Groups of all, opened.
fn flat(wishes: Vec<Requirement>) -> Vec<Requirement> {
    let opened = wishes.into_iter().flat_map(|wish| match wish {
        Requirement::AllOf(inside) => flat(inside),
        other => vec![other],
    });
    opened.collect()
}

fn choices(group: &Requirement) -> &[Requirement] {
    match group {
        Requirement::AnyOf(inside) => inside,
        other => std::slice::from_ref(other),
    }
}

fn overlap(left: &Requirement, right: &Requirement) -> bool {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    names(left, &mut ours);
    names(right, &mut theirs);
    ours.iter().any(|name| theirs.contains(name))
}

fn names<'a>(wish: &'a Requirement, found: &mut Vec<&'a str>) {
    match wish {
        Requirement::Atom(wanted) if wanted.atom.blocker.is_none() => found.push(&wanted.atom.name),
        Requirement::Atom(_) => {}
        Requirement::AnyOf(inside) | Requirement::AllOf(inside) => {
            inside.iter().for_each(|wish| names(wish, found))
        }
    }
}

/// Every way to take one choice of each group.
fn combine(groups: &[Requirement]) -> Requirement {
    let mut ways: Vec<Vec<Requirement>> = vec![Vec::new()];
    for group in groups {
        let mut longer = Vec::new();
        for way in &ways {
            for choice in choices(group) {
                let mut way = way.clone();
                let more = match choice {
                    Requirement::AllOf(inside) => inside.as_slice(),
                    other => std::slice::from_ref(other),
                };
                for item in more {
                    if !way.contains(item) {
                        way.push(item.clone());
                    }
                }
                longer.push(way);
            }
        }
        ways = longer;
    }
    Requirement::AnyOf(ways.into_iter().map(Requirement::AllOf).collect())
}
