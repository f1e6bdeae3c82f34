// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;

use super::atom::Atom;
use super::choice;
use super::dependency::Dependency;
use super::depgraph::{Depgraph, ParentAtom, ResolutionFailure};
use super::pool::{PackageId, PackagePool};

/// One run of the resolution. It stops at the first failure; the next run masks a package that caused the
/// failure.
#[derive(Debug)]
pub(super) struct BacktrackRun<'a> {
    pub(super) graph: Depgraph<'a>,
    /// the blockers of packages in the graph
    pub(super) blockers: Vec<(PackageId, Atom)>,
    /// packages whose dependencies are still to be added
    pending: Vec<PackageId>,
    /// dependencies that are decided when no package is pending
    groups: Vec<(PackageId, Vec<Dependency>)>,
}

impl<'a> BacktrackRun<'a> {
    pub(super) fn new(pool: &'a PackagePool, requested: &'a [Atom], masked: &'a BTreeSet<PackageId>) -> Self {
        let graph = Depgraph::new(pool, requested, masked);
        Self { graph, blockers: Vec::new(), pending: Vec::new(), groups: Vec::new() }
    }

    /// Adds the requested packages and their dependencies to the graph. Earlier decisions determine later
    /// ones: requested packages precede their dependencies, and plain dependencies precede choices.
    pub(super) fn run(&mut self) -> Result<(), ResolutionFailure> {
        let (pool, requested) = (self.graph.pool, self.graph.requested);
        for atom in requested.iter().filter(|atom| !pool.is_provided(atom)) {
            let need = Box::new(ParentAtom { parent: None, atom: atom.clone() });
            match self.graph.select(atom, None) {
                None => return Err(ResolutionFailure::Unsatisfied(need)),
                Some(id) if pool.is_installed(id) => {
                    return Err(ResolutionFailure::OnlyInstalled(need, id));
                }
                Some(id) => self.add(id, need)?,
            }
        }
        loop {
            while let Some(id) = self.pending.pop() {
                self.add_dependencies(id)?;
            }
            let Some((id, items)) = self.groups.pop() else { return Ok(()) };
            self.add_all(id, &items)?;
        }
    }

    fn add(&mut self, id: PackageId, need: Box<ParentAtom>) -> Result<(), ResolutionFailure> {
        if self.graph.add(id, need)? && !self.graph.pool.is_installed(id) {
            self.pending.push(id);
        }
        Ok(())
    }

    /// Adds the plain dependencies of a package, and defers its choices.
    fn add_dependencies(&mut self, id: PackageId) -> Result<(), ResolutionFailure> {
        let dependencies = &self.graph.pool.package(id).dependencies;
        for items in [&dependencies.run, &dependencies.install, &dependencies.post] {
            let (groups, plain): (Vec<_>, Vec<_>) = items.iter().cloned().partition(is_choice);
            if !groups.is_empty() {
                self.groups.push((id, groups));
            }
            self.add_all(id, &plain)?;
        }
        Ok(())
    }

    fn add_all(&mut self, parent: PackageId, items: &[Dependency]) -> Result<(), ResolutionFailure> {
        // The parent of a virtual package's dependency is the virtual package.
        let mut by_parent: Vec<(Option<PackageId>, Vec<Atom>)> = vec![(Some(parent), Vec::new())];
        for ParentAtom { parent, atom } in choice::decide(&self.graph, parent, items, 0) {
            match by_parent.iter_mut().find(|(other, _)| *other == parent) {
                Some((_, atoms)) => atoms.push(atom),
                None => by_parent.push((parent, vec![atom])),
            }
        }
        for (parent, atoms) in by_parent {
            for (atom, selected) in self.select_all(parent, &atoms) {
                if atom.blocker.is_some() {
                    self.blockers.extend(parent.map(|parent| (parent, atom)));
                    continue;
                }
                let need = Box::new(ParentAtom { parent, atom });
                match selected {
                    None => return Err(ResolutionFailure::Unsatisfied(need)),
                    Some(id) => self.add(id, need)?,
                }
            }
        }
        Ok(())
    }

    /// Selects a package for each atom; where several atoms have the same name (`>=a/b-1`, `<a/b-3`), as
    /// few packages as possible.
    fn select_all(&self, parent: Option<PackageId>, atoms: &[Atom]) -> Vec<(Atom, Option<PackageId>)> {
        let mut selected: Vec<(Atom, Option<PackageId>)> = Vec::new();
        for atom in atoms {
            let id = if atom.blocker.is_some() { None } else { self.graph.select(atom, parent) };
            selected.push((atom.clone(), id));
        }
        let names: BTreeSet<String> =
            selected.iter().filter(|(_, id)| id.is_some()).map(|(atom, _)| atom.name.clone()).collect();
        for name in names {
            self.minimise(parent, &name, &mut selected);
        }
        selected
    }

    fn minimise(&self, parent: Option<PackageId>, name: &str, selected: &mut [(Atom, Option<PackageId>)]) {
        let pool = self.graph.pool;
        let satisfies = |id: PackageId, atom: &Atom| self.graph.satisfies(id, atom, parent);
        let of_name = |entry: &&mut (Atom, Option<PackageId>)| entry.0.name == name && entry.1.is_some();
        let mut atoms: Vec<&mut (Atom, Option<PackageId>)> = selected.iter_mut().filter(of_name).collect();
        let mut packages: Vec<PackageId> = atoms.iter().filter_map(|entry| entry.1).collect();
        packages.sort_by(|left, right| {
            let is_available = |id: &PackageId| !pool.is_installed(*id);
            is_available(left).cmp(&is_available(right)).then_with(|| pool.compare(*left, *right))
        });
        packages.dedup();
        if packages.len() < 2 {
            return;
        }
        let mut kept = packages.clone();
        for package in packages {
            let by_others =
                |atom: &Atom| kept.iter().any(|other| *other != package && satisfies(*other, atom));
            let is_redundant =
                atoms.iter().filter(|(atom, _)| satisfies(package, atom)).all(|(atom, _)| by_others(atom));
            if is_redundant {
                kept.retain(|other| *other != package);
            }
        }
        for (atom, selected) in atoms.iter_mut().map(|entry| (&entry.0, &mut entry.1)) {
            let satisfying = kept.iter().copied().filter(|id| satisfies(*id, atom));
            *selected = satisfying.max_by(|left, right| pool.compare(*left, *right)).or(*selected);
        }
    }
}

/// Whether a dependency is a choice: a group, or a virtual package, which several packages can satisfy.
fn is_choice(item: &Dependency) -> bool {
    match item {
        Dependency::AnyOf(_) => true,
        Dependency::Atom(atom) => atom.name.starts_with("virtual/"),
        Dependency::AllOf(_) | Dependency::IfFlag { .. } => false,
    }
}
