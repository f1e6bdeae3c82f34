// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;

use super::atom::{Atom, Blocker};
use super::backtracking::{Attempt, Need, Stop};
use super::dependency::{Dependency, atoms};
use super::refusal::{Refusal, chain, near};
use super::world::{Id, World};

/// How often a resolution is tried again without a package that was in the way.
const MAXIMUM_ATTEMPTS: usize = 40;

/// The packages that are to be added to those installed so that all that was asked is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// in the order in which they were found
    pub taken: Vec<Taken>,
    /// packages that are needed and installed already
    pub present: Vec<Taken>,
    /// what the author should know
    pub warnings: Vec<String>,
}

/// A package with all that need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// which
    pub id: Id,
    /// an installed package of another version or build in the same slot, which it hides
    pub hides: Option<Id>,
    /// who needs it, the first one first; `None` where it was asked for
    pub needs: Vec<(Option<Id>, Atom)>,
}

/// Finds the packages that are to be added, as `emerge --usepkgonly` does over a root with the same
/// packages: the newest that fit, packages that are installed rather than others, and what is asked
/// for anew in any case. Where that does not go, older packages are tried.
///
/// An extension cannot take away what a layer below has: where Portage would remove a package that
/// is in the way, the asked packages are refused.
///
/// # Errors
/// See [`Refusal`]; the one that the first attempt met.
pub fn resolve(world: &World, asked: &[Atom]) -> Result<Resolution, Box<Refusal>> {
    let mut pending = vec![BTreeSet::new()];
    let mut seen: BTreeSet<BTreeSet<Id>> = BTreeSet::new();
    let mut first = None;
    while let Some(masked) = pending.pop() {
        if seen.len() >= MAXIMUM_ATTEMPTS || !seen.insert(masked.clone()) {
            continue;
        }
        let mut attempt = Attempt::new(world, asked, &masked);
        let stop = match attempt.run().and_then(|()| unbroken(&attempt)) {
            Ok(()) => match blocked(&attempt) {
                Some(refusal) => return Err(Box::new(first.unwrap_or(refusal))),
                None => return Ok(finish(&attempt)),
            },
            Err(stop) => stop,
        };
        pending.extend(without(&attempt, &stop).into_iter().map(|id| {
            let mut masked = masked.clone();
            masked.insert(id);
            masked
        }));
        let refusal = refuse(&attempt, stop);
        first.get_or_insert(refusal);
    }
    Err(Box::new(first.unwrap_or(Refusal::Nothing)))
}

/// The packages to do without after a stop; the one to try first comes last.
fn without(attempt: &Attempt<'_>, stop: &Stop) -> Vec<Id> {
    match stop {
        Stop::Unsatisfied(need) => {
            let Some(by) = need.by else { return Vec::new() };
            // Another version of the package that asks would help little where a flag is wrong.
            let flags_only =
                !need.atom.flags.is_empty() && attempt.select(&need.atom.without_flags(), need.by).is_some();
            if flags_only { Vec::new() } else { vec![by] }
        }
        Stop::OnlyInstalled(..) => Vec::new(),
        Stop::Conflict { there, other, need } => {
            let needs = attempt.parents.get(there).map(Vec::as_slice).unwrap_or_default();
            if needs.iter().all(|need| attempt.fits(*other, &need.atom, need.by)) {
                return vec![*there];
            }
            // A third one may fit all of them.
            let name = &attempt.world.package(*there).name;
            let slot = &attempt.world.package(*there).slot;
            let fits_all = attempt.world.available(name).iter().any(|id| {
                attempt.world.package(*id).slot == *slot
                    && attempt.fits(*id, &need.atom, need.by)
                    && needs.iter().all(|need| attempt.fits(*id, &need.atom, need.by))
            });
            if fits_all { vec![*other, *there] } else { vec![*there, *other] }
        }
    }
}

fn refuse(attempt: &Attempt<'_>, stop: Stop) -> Refusal {
    match stop {
        Stop::Unsatisfied(need) => Refusal::Unsatisfied {
            chain: chain(attempt, need.by),
            near: near(attempt.world, &need.atom, need.by),
            wanted: need.atom.to_string(),
        },
        Stop::OnlyInstalled(need, id) => {
            let entry = attempt.world.entry(id);
            Refusal::OnlyInstalled { wanted: need.atom.to_string(), installed: entry.package.to_string() }
        }
        Stop::Conflict { there, other, need } => {
            let of = |id: Id, need: Option<&Need>| {
                let need = need.or_else(|| attempt.parents.get(&id).and_then(|needs| needs.first()));
                let mut steps = need.map(|need| chain(attempt, need.by)).unwrap_or_default();
                steps.extend(need.map(|need| need.atom.to_string()));
                (attempt.world.package(id).to_string(), steps)
            };
            let unfitting = attempt
                .parents
                .get(&there)
                .and_then(|needs| needs.iter().find(|need| !attempt.fits(other, &need.atom, need.by)));
            let package = attempt.world.package(other);
            Refusal::Conflict {
                name: package.name.clone(),
                slot: package.slot.clone(),
                sides: [of(there, unfitting), of(other, Some(&need))],
            }
        }
    }
}

/// Looks for a taken package that is, or has, something that another must not stand beside.
fn blocked(attempt: &Attempt<'_>) -> Option<Refusal> {
    let of_installed = attempt.world.all_installed().filter(|id| is_kept(attempt, *id)).flat_map(|id| {
        let needs = &attempt.world.package(id).dependencies;
        let all = [&needs.run, &needs.install, &needs.post].into_iter().flatten();
        // What stands in a group of choices counts only when it is chosen.
        let plain = all.filter(|item| matches!(item, Dependency::Atom(atom) if atom.blocker.is_some()));
        plain.flat_map(|item| atoms(std::slice::from_ref(item))).map(move |atom| (id, atom))
    });
    let of_taken = attempt.blockers.iter().map(|(id, atom)| (*id, atom));
    of_taken.chain(of_installed).find_map(|(id, atom)| blocks(attempt, id, atom))
}

fn blocks(attempt: &Attempt<'_>, by: Id, atom: &Atom) -> Option<Refusal> {
    let world = attempt.world;
    let strong = atom.blocker == Some(Blocker::Strong);
    let positive = Atom { blocker: None, ..atom.clone() };
    let hit = attempt.at_the_end(&positive, Some(by)).into_iter().find(|id| {
        let same_slot = world.package(*id).place() == world.package(by).place();
        let both_installed = world.is_installed(*id) && world.is_installed(by);
        !both_installed && (strong || !same_slot)
    })?;
    Some(Refusal::Blocked {
        chain: chain(attempt, Some(by)),
        blocker: atom.to_string(),
        blocked: world.package(hit).to_string(),
        blocked_chain: attempt
            .parents
            .get(&hit)
            .and_then(|needs| needs.first())
            .map(|need| chain(attempt, need.by))
            .unwrap_or_default(),
        installed: world.is_installed(hit),
        by_installed: world.is_installed(by),
    })
}

/// Whether an installed package is not hidden by one that is taken.
fn is_kept(attempt: &Attempt<'_>, id: Id) -> bool {
    let (name, slot) = attempt.world.package(id).place();
    attempt.at(name, slot) == Some(id)
}

/// Looks for an installed package that is needed and needs another that is hidden by one that does
/// not satisfy it.
fn unbroken(attempt: &Attempt<'_>) -> Result<(), Stop> {
    if hidden(attempt).is_empty() {
        return Ok(());
    }
    let mut queue: Vec<Id> = attempt.order.clone();
    let mut seen: BTreeSet<Id> = queue.iter().copied().collect();
    while let Some(id) = queue.pop() {
        for atom in needed(attempt, id) {
            let end = attempt.at_the_end(atom, Some(id));
            if end.is_empty()
                && let Some(stop) = broken(attempt, id, atom)
            {
                return Err(stop);
            }
            queue.extend(end.into_iter().filter(|id| attempt.world.is_installed(*id) && seen.insert(*id)));
        }
    }
    Ok(())
}

/// What a package needs for certain: what stands in no group of choices.
fn needed<'a>(attempt: &Attempt<'a>, id: Id) -> impl Iterator<Item = &'a Atom> {
    let needs = &attempt.world.package(id).dependencies;
    [&needs.run, &needs.install, &needs.post].into_iter().flatten().filter_map(|item| match item {
        Dependency::Atom(atom) if atom.blocker.is_none() => Some(atom),
        _ => None,
    })
}

/// The conflict between what an installed package needs and what took the place of that.
fn broken(attempt: &Attempt<'_>, id: Id, atom: &Atom) -> Option<Stop> {
    let before = attempt.installed(atom, Some(id))?;
    let (name, slot) = attempt.world.package(before).place();
    // One that replaces what it needs an earlier version of is let through.
    if attempt.world.package(id).place() == (name, slot) {
        return None;
    }
    let there = attempt.at(name, slot)?;
    Some(Stop::Conflict { there, other: before, need: Box::new(Need { by: Some(id), atom: atom.clone() }) })
}

/// Installed packages that are hidden by another version.
fn hidden(attempt: &Attempt<'_>) -> Vec<(Id, Id)> {
    let hides = |id: Id| {
        let package = attempt.world.package(id);
        let below = attempt.world.installed_in(&package.name, &package.slot)?;
        (attempt.world.package(below).version != package.version).then_some((id, below))
    };
    attempt.order.iter().copied().filter(|id| !attempt.world.is_installed(*id)).filter_map(hides).collect()
}

fn finish(attempt: &Attempt<'_>) -> Resolution {
    let world = attempt.world;
    let of = |id: &Id| {
        let (name, slot) = world.package(*id).place();
        let hides = world.installed_in(name, slot).filter(|_| !world.is_installed(*id));
        let needs = attempt.parents.get(id).into_iter().flatten();
        Taken { id: *id, hides, needs: needs.map(|need| (need.by, need.atom.clone())).collect() }
    };
    let (present, taken): (Vec<&Id>, Vec<&Id>) =
        attempt.order.iter().partition(|id| world.is_installed(**id));
    Resolution {
        taken: taken.into_iter().map(of).collect(),
        present: present.into_iter().map(of).collect(),
        warnings: provided(attempt).chain(broken_below(attempt)).collect(),
    }
}

/// What was asked for and is not taken, since it is said to be there.
fn provided(attempt: &Attempt<'_>) -> impl Iterator<Item = String> {
    let asked = attempt.asked().iter().filter(|atom| attempt.world.is_provided(atom));
    asked.map(|atom| format!("`{atom}` is not taken: `provided` says that it is there"))
}

/// Packages of the layers below that hidden ones leave without something they need. Portage does
/// not look at those that nothing asked has to do with; on a running system they break all the same.
fn broken_below(attempt: &Attempt<'_>) -> Vec<String> {
    let world = attempt.world;
    let mut warnings = Vec::new();
    for (id, below) in hidden(attempt) {
        for other in world.all_installed().filter(|other| is_kept(attempt, *other)) {
            let lost = needed(attempt, other).find(|atom| {
                attempt.fits(below, atom, Some(other)) && attempt.at_the_end(atom, Some(other)).is_empty()
            });
            if let Some(atom) = lost {
                let (other, id, below) = (world.package(other), world.package(id), world.package(below));
                warnings.push(format!("{other}, which is installed, needs {atom}, and {id} hides {below}"));
            }
        }
    }
    warnings
}
