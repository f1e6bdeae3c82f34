// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, BTreeSet};

use super::atom::{Atom, Blocker};
use super::backtracking::BacktrackRun;
use super::dependency::{Dependency, atoms};
use super::depgraph::{Depgraph, ParentAtom, ResolutionFailure};
use super::pool::{PackageId, PackagePool, differing_flags};
use super::resolve_error::{ResolveError, dependency_chain, rejected_candidates};

/// Limit of backtracking runs.
const MAXIMUM_RUNS: usize = 40;

/// The packages to be added to the installed ones so that the requested ones can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// the packages to be added, in the order in which they were selected
    pub added: Vec<ResolvedPackage>,
    /// installed packages that satisfy a dependency
    pub already_installed: Vec<ResolvedPackage>,
    /// packages that are neither added nor installed because of `package.provided`, with their dependants
    pub provided: Vec<ProvidedPackage>,
    /// warnings for the author of the recipe
    pub warnings: Vec<String>,
}

/// A package that counts as installed, with its dependants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvidedPackage {
    /// name and version of the entry of `package.provided`
    pub package: String,
    /// the dependants with their atoms
    pub parents: Vec<(PackageId, Atom)>,
}

/// A package with its dependants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedPackage {
    /// the package
    pub id: PackageId,
    /// the installed package in the same slot, which it hides
    pub hides: Option<PackageId>,
    /// the dependants with their atoms, in the order in which they were found; `None` where the recipe
    /// asks for the package
    pub parents: Vec<(Option<PackageId>, Atom)>,
}

/// Finds the packages to be added, as `emerge --usepkgonly` does on a root with the same packages: the
/// newest that satisfy the dependencies, installed packages in preference to others, and requested
/// packages in any case. After a conflict, packages that caused it are masked and others are tried.
///
/// An extension cannot remove packages of lower layers: where Portage would uninstall a blocked package,
/// this is an error.
///
/// # Errors
/// See [`ResolveError`]; the failure of the first run.
pub fn resolve(pool: &PackagePool, requested: &[Atom]) -> Result<Resolution, Box<ResolveError>> {
    let mut pending = vec![BTreeSet::new()];
    let mut seen: BTreeSet<BTreeSet<PackageId>> = BTreeSet::new();
    let mut first_error = None;
    while let Some(masked) = pending.pop() {
        if seen.len() >= MAXIMUM_RUNS || !seen.insert(masked.clone()) {
            continue;
        }
        let mut run = BacktrackRun::new(pool, requested, &masked);
        let result = run.run().and_then(|()| check_installed(&run.graph));
        let graph = &run.graph;
        let failure = match result {
            Ok(()) => match blocker_conflict(&run) {
                Some(error) => return Err(Box::new(first_error.unwrap_or(error))),
                None => match ambiguous_build(graph) {
                    Some(error) => return Err(Box::new(error)),
                    None => return Ok(resolution(graph)),
                },
            },
            Err(failure) => failure,
        };
        pending.extend(packages_to_mask(graph, &failure).into_iter().map(|id| {
            let mut masked = masked.clone();
            masked.insert(id);
            masked
        }));
        let error = describe(graph, failure);
        first_error.get_or_insert(error);
    }
    Err(Box::new(first_error.unwrap_or(ResolveError::NothingRequested)))
}

/// The packages that further runs mask after a failure, the preferred one last.
fn packages_to_mask(graph: &Depgraph<'_>, failure: &ResolutionFailure) -> Vec<PackageId> {
    match failure {
        ResolutionFailure::Unsatisfied(need) => {
            let Some(parent) = need.parent else { return Vec::new() };
            // Another version of the dependant does not help where only a USE flag is wrong.
            let flags_only = !need.atom.flags.is_empty()
                && graph.select(&need.atom.without_flags(), need.parent).is_some();
            if flags_only { Vec::new() } else { vec![parent] }
        }
        ResolutionFailure::OnlyInstalled(..) => Vec::new(),
        ResolutionFailure::SlotConflict { selected, other, need } => {
            let parents = graph.parents.get(selected).map(Vec::as_slice).unwrap_or_default();
            let satisfies = |id: PackageId, need: &ParentAtom| graph.satisfies(id, &need.atom, need.parent);
            let satisfies_all = |id: PackageId| parents.iter().all(|need| satisfies(id, need));
            if satisfies_all(*other) {
                return vec![*selected];
            }
            let (name, slot) = graph.pool.package(*selected).name_and_slot();
            let third_satisfies_all =
                graph.pool.available(name).iter().any(|id| {
                    graph.pool.package(*id).slot == slot && satisfies(*id, need) && satisfies_all(*id)
                });
            if third_satisfies_all { vec![*other, *selected] } else { vec![*selected, *other] }
        }
    }
}

/// Turns a failure into an error with names in place of identifiers.
fn describe(graph: &Depgraph<'_>, failure: ResolutionFailure) -> ResolveError {
    match failure {
        ResolutionFailure::Unsatisfied(need) => ResolveError::Unsatisfied {
            chain: dependency_chain(graph, need.parent),
            candidates: rejected_candidates(graph.pool, &need.atom, need.parent),
            atom: need.atom.to_string(),
        },
        ResolutionFailure::OnlyInstalled(need, id) => {
            let entry = graph.pool.entry(id);
            ResolveError::OnlyInstalled { atom: need.atom.to_string(), installed: entry.package.to_string() }
        }
        ResolutionFailure::SlotConflict { selected, other, need } => {
            let side = |id: PackageId, need: Option<&ParentAtom>| {
                let need = need.or_else(|| graph.parents.get(&id).and_then(|parents| parents.first()));
                let mut chain = need.map(|need| dependency_chain(graph, need.parent)).unwrap_or_default();
                chain.extend(need.map(|need| need.atom.to_string()));
                (graph.pool.package(id).to_string(), chain)
            };
            let unsatisfied = graph.parents.get(&selected).and_then(|parents| {
                parents.iter().find(|need| !graph.satisfies(other, &need.atom, need.parent))
            });
            let package = graph.pool.package(other);
            ResolveError::SlotConflict {
                name: package.name.clone(),
                slot: package.slot.clone(),
                sides: [side(selected, unsatisfied), side(other, Some(&need))],
            }
        }
    }
}

/// The first blocker whose blocked package is present after the merge.
fn blocker_conflict(run: &BacktrackRun<'_>) -> Option<ResolveError> {
    let graph = &run.graph;
    let of_installed = graph.pool.all_installed().flat_map(|id| {
        // A blocker in a group applies only where its alternative was selected.
        let plain = graph
            .pool
            .package(id)
            .dependencies
            .iter()
            .filter(|item| matches!(item, Dependency::Atom(atom) if atom.blocker.is_some()));
        // Emerge merges a package before it removes the one that is replaced, whose strong blockers count.
        let applies = move |atom: &&Atom| atom.blocker == Some(Blocker::Strong) || is_visible(graph, id);
        plain.flat_map(|item| atoms(std::slice::from_ref(item))).filter(applies).map(move |atom| (id, atom))
    });
    let of_graph = run.blockers.iter().map(|(id, atom)| (*id, atom));
    of_graph.chain(of_installed).find_map(|(id, atom)| check_blocker(graph, id, atom))
}

fn check_blocker(graph: &Depgraph<'_>, blocking: PackageId, atom: &Atom) -> Option<ResolveError> {
    let pool = graph.pool;
    let strong = atom.blocker == Some(Blocker::Strong);
    let positive = Atom { blocker: None, ..atom.clone() };
    let blocked = graph.all_satisfying(&positive, Some(blocking)).into_iter().find(|id| {
        let same_slot = pool.package(*id).name_and_slot() == pool.package(blocking).name_and_slot();
        let both_installed = pool.is_installed(*id) && pool.is_installed(blocking);
        !both_installed && (strong || !same_slot)
    })?;
    let need = graph.parents.get(&blocked).and_then(|parents| parents.first());
    Some(ResolveError::BlockerConflict {
        chain: dependency_chain(graph, Some(blocking)),
        blocker: atom.to_string(),
        blocked: pool.package(blocked).to_string(),
        blocked_chain: need.map(|need| dependency_chain(graph, need.parent)).unwrap_or_default(),
        blocked_installed: pool.is_installed(blocked),
        blocking_installed: pool.is_installed(blocking),
    })
}

/// An added package of which the binhost has another build of the same version that would do as well, with
/// other USE flags. Portage takes the one with the flags of the SDK's profile, which are not known here.
fn ambiguous_build(graph: &Depgraph<'_>) -> Option<ResolveError> {
    let pool = graph.pool;
    graph.order.iter().copied().filter(|id| !pool.is_installed(*id)).find_map(|id| {
        let needs = graph.parents.get(&id).map(Vec::as_slice).unwrap_or_default();
        let does_as_well = |other: PackageId| {
            pool.is_allowed(other) && needs.iter().all(|need| graph.satisfies(other, &need.atom, need.parent))
        };
        let others: Vec<PackageId> = pool.other_builds(id).filter(|other| does_as_well(*other)).collect();
        let package = pool.package(id);
        let differing: BTreeSet<&str> =
            others.iter().flat_map(|other| differing_flags(package, pool.package(*other))).collect();
        let build = |id: &PackageId| {
            let enabled = |flag: &&str| pool.package(*id).flags.contains(*flag);
            let sign = |flag: &&str| format!("{}{flag}", if enabled(flag) { "" } else { "-" });
            differing.iter().map(sign).collect::<Vec<_>>().join(" ")
        };
        let builds: BTreeSet<String> = std::iter::once(&id).chain(&others).map(build).collect();
        (!others.is_empty()).then(|| ResolveError::AmbiguousBuild {
            chain: dependency_chain(graph, Some(id)),
            name: package.name.clone(),
            version: package.version.to_string(),
            builds: builds.into_iter().collect(),
        })
    })
}

/// Whether no added package hides an installed one.
fn is_visible(graph: &Depgraph<'_>, id: PackageId) -> bool {
    let (name, slot) = graph.pool.package(id).name_and_slot();
    graph.in_slot(name, slot) == Some(id)
}

/// Checks the dependencies of installed packages in the graph and of `@system`: an added package may hide
/// the one that satisfied them. Portage completes its graph in the same way when a version changes.
fn check_installed(graph: &Depgraph<'_>) -> Result<(), ResolutionFailure> {
    if hidden(graph).is_empty() {
        return Ok(());
    }
    let mut queue: Vec<PackageId> = graph.order.clone();
    queue.extend(graph.pool.installed_system().filter(|id| is_visible(graph, *id)));
    let mut seen: BTreeSet<PackageId> = queue.iter().copied().collect();
    while let Some(id) = queue.pop() {
        for atom in unconditional(graph, id) {
            let satisfying = graph.all_satisfying(atom, Some(id));
            if satisfying.is_empty()
                && let Some(failure) = hidden_dependency(graph, id, atom)
            {
                return Err(failure);
            }
            queue
                .extend(satisfying.into_iter().filter(|id| graph.pool.is_installed(*id) && seen.insert(*id)));
        }
    }
    Ok(())
}

/// The dependencies of a package that are in no group.
fn unconditional<'a>(graph: &Depgraph<'a>, id: PackageId) -> impl Iterator<Item = &'a Atom> {
    graph.pool.package(id).dependencies.iter().filter_map(|item| match item {
        Dependency::Atom(atom) if atom.blocker.is_none() => Some(atom),
        _ => None,
    })
}

/// The conflict between the installed package that satisfies a dependency and the one that hides it.
fn hidden_dependency(graph: &Depgraph<'_>, id: PackageId, atom: &Atom) -> Option<ResolutionFailure> {
    let other = graph.installed(atom, Some(id))?;
    let (name, slot) = graph.pool.package(other).name_and_slot();
    // A package may need the installed version that it replaces.
    if graph.pool.package(id).name_and_slot() == (name, slot) {
        return None;
    }
    let selected = graph.in_slot(name, slot)?;
    let need = Box::new(ParentAtom { parent: Some(id), atom: atom.clone() });
    Some(ResolutionFailure::SlotConflict { selected, other, need })
}

/// The added packages that hide an installed one of another version, with that one.
fn hidden(graph: &Depgraph<'_>) -> Vec<(PackageId, PackageId)> {
    let hides = |id: PackageId| {
        let package = graph.pool.package(id);
        let installed = graph.pool.installed_in_slot(&package.name, &package.slot)?;
        (graph.pool.package(installed).version != package.version).then_some((id, installed))
    };
    graph.order.iter().copied().filter(|id| !graph.pool.is_installed(*id)).filter_map(hides).collect()
}

fn resolution(graph: &Depgraph<'_>) -> Resolution {
    let pool = graph.pool;
    let resolved = |id: &PackageId| {
        let (name, slot) = pool.package(*id).name_and_slot();
        let hides = pool.installed_in_slot(name, slot).filter(|_| !pool.is_installed(*id));
        let parents = graph.parents.get(id).into_iter().flatten();
        let parents = parents.map(|need| (need.parent, need.atom.clone())).collect();
        ResolvedPackage { id: *id, hides, parents }
    };
    let (installed, added): (Vec<&PackageId>, Vec<&PackageId>) =
        graph.order.iter().partition(|id| pool.is_installed(**id));
    Resolution {
        added: added.into_iter().map(resolved).collect(),
        already_installed: installed.into_iter().map(resolved).collect(),
        provided: provided(graph),
        warnings: provided_warnings(graph).chain(broken_dependencies(graph)).collect(),
    }
}

/// The packages of `package.provided` that satisfy dependencies of added packages, by name.
fn provided(graph: &Depgraph<'_>) -> Vec<ProvidedPackage> {
    let pool = graph.pool;
    let mut found: BTreeMap<String, Vec<(PackageId, Atom)>> = BTreeMap::new();
    for id in graph.order.iter().copied().filter(|id| !pool.is_installed(*id)) {
        let dependencies = &pool.package(id).dependencies;
        let items = dependencies.iter().flat_map(|item| atoms(std::slice::from_ref(item)));
        for atom in items.filter(|atom| atom.blocker.is_none()) {
            if let Some(version) = pool.provided(atom) {
                found.entry(format!("{}-{version}", atom.name)).or_default().push((id, atom.clone()));
            }
        }
    }
    found.into_iter().map(|(package, parents)| ProvidedPackage { package, parents }).collect()
}

/// Warnings for requested packages that are not added since they count as installed.
fn provided_warnings(graph: &Depgraph<'_>) -> impl Iterator<Item = String> {
    let provided = graph.requested.iter().filter(|atom| graph.pool.is_provided(atom));
    provided
        .map(|atom| format!("`{atom}` is not added: it counts as installed because of `package-provided`"))
}

/// Warnings for installed packages whose dependencies are hidden. Portage does not check those that are not
/// in the graph, but they break on a running system.
fn broken_dependencies(graph: &Depgraph<'_>) -> Vec<String> {
    let pool = graph.pool;
    let mut warnings = Vec::new();
    for (id, hidden) in hidden(graph) {
        for other in pool.all_installed().filter(|other| is_visible(graph, *other)) {
            let broken = unconditional(graph, other).find(|atom| {
                graph.satisfies(hidden, atom, Some(other))
                    && graph.all_satisfying(atom, Some(other)).is_empty()
            });
            if let Some(atom) = broken {
                let (other, id, hidden) = (pool.package(other), pool.package(id), pool.package(hidden));
                warnings.push(format!("the installed {other} needs `{atom}`, but {id} hides {hidden}"));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::index::Metadata;
    use super::super::package::Package;
    use super::*;

    fn package(name: &str, values: &[(&str, &str)]) -> Package {
        let metadata: Metadata =
            values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Package::read(name, &metadata).expect("a package")
    }

    /// A base with gawk, which needs an old readline, and a binhost with a bash that needs a new one.
    fn readline() -> PackagePool {
        let mut pool = PackagePool::default();
        let base = Arc::from("the base");
        pool.add_installed(package("sys-libs/readline-7.0", &[("SLOT", "0/7")]), &base);
        pool.add_installed(package("sys-apps/gawk-5.3", &[("RDEPEND", "sys-libs/readline:0/7=")]), &base);
        pool.add_available(package("sys-libs/readline-8.2", &[("SLOT", "0/8")]), 0);
        pool.add_available(package("app-shells/bash-5.2", &[("RDEPEND", "sys-libs/readline:0/8=")]), 0);
        pool
    }

    #[test]
    fn the_dependencies_of_system_packages_stay_satisfied() {
        let mut pool = readline();
        let requested = [Atom::parse("app-shells/bash").expect("an atom")];
        let resolution = resolve(&pool, &requested).expect("no system package is broken");
        assert_eq!(resolution.warnings.len(), 1, "{:?}", resolution.warnings);
        pool.add_system("sys-apps/gawk");
        let error = resolve(&pool, &requested).expect_err("gawk is broken");
        assert!(
            matches!(&*error, ResolveError::SlotConflict { name, .. } if name == "sys-libs/readline"),
            "{error}"
        );
        assert!(error.to_string().contains("sys-libs/readline:0/7="), "{error}");
    }
}
