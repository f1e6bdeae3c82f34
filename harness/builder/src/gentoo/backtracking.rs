// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, BTreeSet};

use super::atom::Atom;
use super::choice;
use super::dependency::Dependency;
use super::requirement::Wanted;
use super::world::{Id, World};

/// One try to find all packages that are needed. It stops at the first thing that does not go; the
/// resolution then tries again without a package that was in the way.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) world: &'a World,
    asked: &'a [Atom],
    masked: &'a BTreeSet<Id>,
    /// what stands in each slot: packages that are taken, and installed ones that are needed
    graph: BTreeMap<(String, String), Id>,
    /// who needs each of them, the first one first
    pub(super) parents: BTreeMap<Id, Vec<Need>>,
    /// in the order in which they were found
    pub(super) order: Vec<Id>,
    pub(super) blockers: Vec<(Id, Atom)>,
    stack: Vec<Id>,
    groups: Vec<(Id, Vec<Dependency>)>,
    nobody: BTreeSet<String>,
}

/// Who needs a package, and how it says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    /// a package, or whoever asked
    pub(super) by: Option<Id>,
    pub(super) atom: Atom,
}

/// Why an attempt stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// nothing satisfies this
    Unsatisfied(Box<Need>),
    /// this is installed, and cannot be taken again as was asked
    OnlyInstalled(Box<Need>, Id),
    /// two packages for one slot
    Conflict {
        /// the one that was there
        there: Id,
        /// the one that is needed too
        other: Id,
        /// by whom
        need: Box<Need>,
    },
}

impl<'a> Attempt<'a> {
    pub(super) fn new(world: &'a World, asked: &'a [Atom], masked: &'a BTreeSet<Id>) -> Self {
        Self {
            world,
            asked,
            masked,
            graph: BTreeMap::new(),
            parents: BTreeMap::new(),
            order: Vec::new(),
            blockers: Vec::new(),
            stack: Vec::new(),
            groups: Vec::new(),
            nobody: BTreeSet::new(),
        }
    }

    /// Finds everything. What is decided first counts for what comes later: all that is asked for
    /// comes before what that needs, and plain dependencies come before groups of choices.
    pub(super) fn run(&mut self) -> Result<(), Stop> {
        let (world, asked) = (self.world, self.asked);
        for atom in asked.iter().filter(|atom| !world.is_provided(atom)) {
            let need = Box::new(Need { by: None, atom: atom.clone() });
            match self.select(atom, None) {
                None => return Err(Stop::Unsatisfied(need)),
                Some(id) if self.world.is_installed(id) => return Err(Stop::OnlyInstalled(need, id)),
                Some(id) => self.take(id, need)?,
            }
        }
        loop {
            while let Some(id) = self.stack.pop() {
                self.look_into(id)?;
            }
            let Some((id, items)) = self.groups.pop() else { return Ok(()) };
            self.need_all(id, &items)?;
        }
    }

    /// Goes through what a taken package needs.
    fn look_into(&mut self, id: Id) -> Result<(), Stop> {
        let needs = &self.world.package(id).dependencies;
        for items in [&needs.run, &needs.install, &needs.post] {
            let (groups, plain): (Vec<_>, Vec<_>) = items.iter().cloned().partition(is_group);
            if !groups.is_empty() {
                self.groups.push((id, groups));
            }
            self.need_all(id, &plain)?;
        }
        Ok(())
    }

    fn need_all(&mut self, by: Id, items: &[Dependency]) -> Result<(), Stop> {
        // What virtual packages on the way need is needed by them.
        let mut wanted: Vec<(Id, Vec<Atom>)> = vec![(by, Vec::new())];
        for Wanted { atom, by } in choice::decide(self, by, items, 0) {
            match wanted.iter_mut().find(|(other, _)| *other == by) {
                Some((_, atoms)) => atoms.push(atom),
                None => wanted.push((by, vec![atom])),
            }
        }
        for (by, atoms) in wanted {
            for (atom, child) in self.children(by, &atoms) {
                let need = Box::new(Need { by: Some(by), atom: atom.clone() });
                match child {
                    _ if atom.blocker.is_some() => self.blockers.push((by, atom)),
                    None => return Err(Stop::Unsatisfied(need)),
                    Some(child) => self.take(child, need)?,
                }
            }
        }
        Ok(())
    }

    /// Selects a package for each atom, and where several atoms speak of one name (`>=a/b-1`,
    /// `<a/b-3`), no more packages than are needed.
    fn children(&self, by: Id, atoms: &[Atom]) -> Vec<(Atom, Option<Id>)> {
        let mut selected: Vec<(Atom, Option<Id>)> = Vec::new();
        for atom in atoms {
            let id = if atom.blocker.is_some() { None } else { self.select(atom, Some(by)) };
            selected.push((atom.clone(), id));
        }
        let names: BTreeSet<String> =
            selected.iter().filter(|(_, id)| id.is_some()).map(|(atom, _)| atom.name.clone()).collect();
        for name in names {
            self.minimise(by, &name, &mut selected);
        }
        selected
    }

    fn minimise(&self, by: Id, name: &str, selected: &mut [(Atom, Option<Id>)]) {
        let of_name = |entry: &&mut (Atom, Option<Id>)| entry.0.name == name && entry.1.is_some();
        let mut atoms: Vec<&mut (Atom, Option<Id>)> = selected.iter_mut().filter(of_name).collect();
        let mut packages: Vec<Id> = atoms.iter().filter_map(|entry| entry.1).collect();
        packages.sort_by(|left, right| {
            let installed = |id: &Id| !self.world.is_installed(*id);
            installed(left).cmp(&installed(right)).then_with(|| self.world.compare(*left, *right))
        });
        packages.dedup();
        if packages.len() < 2 {
            return;
        }
        let mut kept = packages.clone();
        for package in packages {
            let others =
                |atom: &Atom| kept.iter().any(|other| *other != package && self.fits(*other, atom, Some(by)));
            let spare = atoms
                .iter()
                .filter(|(atom, _)| self.fits(package, atom, Some(by)))
                .all(|(atom, _)| others(atom));
            if spare {
                kept.retain(|other| *other != package);
            }
        }
        for (atom, child) in atoms.iter_mut().map(|entry| (&entry.0, &mut entry.1)) {
            let fitting = kept.iter().copied().filter(|id| self.fits(*id, atom, Some(by)));
            *child = fitting.max_by(|left, right| self.world.compare(*left, *right)).or(*child);
        }
    }

    /// Puts a package into its slot.
    fn take(&mut self, id: Id, need: Box<Need>) -> Result<(), Stop> {
        let place = self.place(id);
        let there = self.graph.get(&place).copied();
        match there {
            None => {
                self.graph.insert(place, id);
                self.order.push(id);
                if !self.world.is_installed(id) {
                    self.stack.push(id);
                }
                self.parents.entry(id).or_default().push(*need);
            }
            Some(there) if there == id || self.fits(there, &need.atom, need.by) => {
                self.parents.entry(there).or_default().push(*need);
            }
            // A package that replaces what it needs an earlier version of.
            Some(_) if self.world.is_installed(id) && need.by.is_some_and(|by| self.place(by) == place) => {}
            Some(there) => return Err(Stop::Conflict { there, other: id, need }),
        }
        Ok(())
    }

    /// The package that an atom stands for: one that is taken, else one that is installed, else the
    /// newest that there is. What was asked for is taken anew even where it is installed.
    pub(super) fn select(&self, atom: &Atom, by: Option<Id>) -> Option<Id> {
        let unmasked = |list: &'a [Id]| {
            list.iter().copied().filter(|id| !self.masked.contains(id) && self.fits(*id, atom, by))
        };
        let available = unmasked(self.world.available(&atom.name)).find(|id| self.world.is_allowed(*id));
        let installed = unmasked(self.world.installed(&atom.name)).next();
        let highest =
            available.into_iter().chain(installed).max_by(|left, right| self.world.compare(*left, *right))?;
        for top in available.into_iter().chain(installed) {
            let Some(taken) = self.graph.get(&self.place(top)).copied() else { continue };
            let outdone = self.world.package(taken).slot != self.world.package(highest).slot
                && self.world.compare(taken, highest).is_lt();
            if self.fits(taken, atom, by) && !outdone {
                return Some(taken);
            }
        }
        match (available, installed) {
            (Some(available), Some(_)) if self.is_asked(available) => Some(available),
            (available, installed) => installed.or(available),
        }
    }

    /// What was asked for.
    pub(super) fn asked(&self) -> &'a [Atom] {
        self.asked
    }

    /// Whether a package is what one of the asked atoms stands for.
    pub(super) fn is_asked(&self, id: Id) -> bool {
        let package = self.world.package(id);
        self.asked.iter().filter(|atom| self.fits(id, atom, None)).any(|atom| {
            // What is asked for without a slot is of the highest one.
            let mut higher = self.world.available(&atom.name).iter().filter(|other| {
                !self.masked.contains(other)
                    && self.fits(**other, atom, None)
                    && self.world.compare(**other, id).is_gt()
            });
            higher.all(|other| self.world.package(*other).slot == package.slot)
        })
    }

    /// Whether a package satisfies an atom of another.
    pub(super) fn fits(&self, id: Id, atom: &Atom, by: Option<Id>) -> bool {
        let flags = by.map_or(&self.nobody, |by| &self.world.package(by).flags);
        self.world.package(id).satisfies(atom, flags)
    }

    /// The newest installed package that satisfies an atom.
    pub(super) fn installed(&self, atom: &Atom, by: Option<Id>) -> Option<Id> {
        self.world.installed(&atom.name).iter().copied().find(|id| self.fits(*id, atom, by))
    }

    /// What stands in a slot at the end: what is taken, else what is installed.
    pub(super) fn at(&self, name: &str, slot: &str) -> Option<Id> {
        let taken = self.graph.get(&(name.to_owned(), slot.to_owned())).copied();
        taken.or_else(|| self.world.installed_in(name, slot))
    }

    /// Whether something in the graph satisfies an atom.
    pub(super) fn takes(&self, atom: &Atom, by: Id) -> bool {
        let start = (atom.name.clone(), String::new());
        let of_name = self.graph.range(start..).take_while(|((name, _), _)| *name == atom.name);
        of_name.into_iter().any(|(_, id)| self.fits(*id, atom, Some(by)))
    }

    /// Everything that satisfies an atom at the end, whoever asks.
    pub(super) fn at_the_end(&self, atom: &Atom, by: Option<Id>) -> Vec<Id> {
        let installed = self.world.installed(&atom.name).iter().copied();
        let kept = installed.filter(|id| !self.graph.contains_key(&self.place(*id)));
        let start = (atom.name.clone(), String::new());
        let taken =
            self.graph.range(start..).take_while(|((name, _), _)| *name == atom.name).map(|(_, id)| *id);
        kept.chain(taken).filter(|id| self.fits(*id, atom, by)).collect()
    }

    /// Whether a package would take the place of a newer one that is there.
    pub(super) fn is_unwanted_downgrade(&self, id: Id) -> bool {
        let package = self.world.package(id);
        let slot = Atom {
            blocker: None,
            name: package.name.clone(),
            version: None,
            slot: Some(package.slot.clone()),
            sub_slot: None,
            slot_operator: None,
            repository: None,
            flags: Vec::new(),
        };
        let Some(highest) = self.select(&slot, None) else { return false };
        let there = self.world.is_installed(highest) || self.parents.contains_key(&highest);
        if !there || self.world.package(id).version >= self.world.package(highest).version {
            return false;
        }
        let similar = || {
            let list = self.world.available(&package.name).iter().copied();
            list.filter(|other| self.world.package(*other).slot == package.slot)
        };
        let wanted = similar().next().is_some()
            && similar().all(|other| self.world.package(other).version < package.version);
        !wanted
    }

    fn place(&self, id: Id) -> (String, String) {
        let (name, slot) = self.world.package(id).place();
        (name.to_owned(), slot.to_owned())
    }
}

/// Whether an item is decided late. The deciding of a virtual package is the choice among those
/// that it stands for.
fn is_group(item: &Dependency) -> bool {
    match item {
        Dependency::AnyOf(_) => true,
        Dependency::Atom(atom) => atom.name.starts_with("virtual/"),
        Dependency::AllOf(_) | Dependency::IfFlag { .. } => false,
    }
}
