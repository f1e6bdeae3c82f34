// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::fmt;

use loadgauge_host::Hint;

use super::atom::Atom;
use super::depgraph::Depgraph;
use super::package::Package;
use super::pool::{Origin, PackageId, PackagePool};

/// Limit of the rejected candidates in an error.
const MAXIMUM_CANDIDATES: usize = 5;

/// Limit of a chain of dependencies.
const MAXIMUM_CHAIN: usize = 1000;

/// Why packages cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// no package satisfies a dependency
    Unsatisfied {
        /// the dependencies that lead to it from the requested atom
        chain: Vec<String>,
        /// the atom
        atom: String,
        /// packages of the name, and why each does not satisfy the atom
        candidates: Vec<String>,
    },
    /// a requested package is installed, and no binhost has it
    OnlyInstalled {
        /// the requested atom
        atom: String,
        /// the installed package
        installed: String,
    },
    /// two packages are needed in the same slot
    SlotConflict {
        /// category and name
        name: String,
        /// the slot
        slot: String,
        /// the two packages, each with the dependencies that lead to it
        sides: [(String, Vec<String>); 2],
    },
    /// a package blocks another one
    BlockerConflict {
        /// the dependencies that lead to the blocking package
        chain: Vec<String>,
        /// the blocker
        blocker: String,
        /// the blocked package
        blocked: String,
        /// the dependencies that lead to the blocked package
        blocked_chain: Vec<String>,
        /// whether the blocked package is in a lower layer, from which an extension cannot remove it
        blocked_installed: bool,
        /// whether the blocking package is in a lower layer
        blocking_installed: bool,
    },
    /// the binhost has several builds of a version that satisfy all dependencies
    AmbiguousBuild {
        /// the dependencies that lead to the package
        chain: Vec<String>,
        /// category and name
        name: String,
        /// its version
        version: String,
        /// the USE flags of each build that differ
        builds: Vec<String>,
    },
    /// no package is requested
    NothingRequested,
}

impl Hint for ResolveError {
    fn hint(&self) -> Option<String> {
        if let Self::AmbiguousBuild { name, builds, .. } = self {
            let flags = builds.first().map(String::as_str).unwrap_or_default();
            return Some(format!("choose a build, such as package-use = [\"{name} {flags}\"]"));
        }
        let hint = match self {
            Self::Unsatisfied { candidates, .. } if candidates.is_empty() => {
                "build the package for the binhost, or add it to `package-provided` if the base has its files"
            }
            Self::Unsatisfied { .. } => "build one of these packages for the binhost as required",
            Self::OnlyInstalled { .. } => "remove the package from the recipe: the base has it",
            Self::SlotConflict { .. } => "ask for versions with compatible dependencies",
            Self::BlockerConflict { blocked_installed: true, .. }
            | Self::BlockerConflict { blocking_installed: true, .. } => {
                "use another package: an extension cannot remove packages of the layers below it"
            }
            Self::BlockerConflict { .. } => "remove one of the packages from the recipe",
            Self::NothingRequested | Self::AmbiguousBuild { .. } => "add a package to the recipe",
        };
        Some(hint.to_owned())
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsatisfied { chain, atom, candidates } => {
                write!(formatter, "no package satisfies `{atom}`")?;
                write_chain(formatter, chain)?;
                for line in candidates {
                    write!(formatter, "\n  {line}")?;
                }
                Ok(())
            }
            Self::OnlyInstalled { atom, installed } => {
                write!(
                    formatter,
                    "cannot add `{atom}`: the binhost does not have it, and {installed} is installed"
                )
            }
            Self::SlotConflict { name, slot, sides: [left, right] } => {
                write!(formatter, "slot conflict: two versions of `{name}` are needed in slot `{slot}`")?;
                for (package, chain) in [left, right] {
                    write!(formatter, "\n  {package}")?;
                    write_chain(formatter, chain)?;
                }
                Ok(())
            }
            Self::BlockerConflict {
                chain,
                blocker,
                blocked,
                blocked_chain,
                blocked_installed,
                blocking_installed,
            } => {
                let blocking = chain.last().map(String::as_str).unwrap_or_default();
                let installed = |installed: bool| if installed { "the installed " } else { "" };
                write!(
                    formatter,
                    "{}`{blocking}` blocks {}`{blocked}` by `{blocker}`",
                    installed(*blocking_installed),
                    installed(*blocked_installed)
                )?;
                write_chain(formatter, &chain[..chain.len().saturating_sub(1)])?;
                write_chain(formatter, blocked_chain)
            }
            Self::AmbiguousBuild { chain, name, version, builds } => {
                write!(
                    formatter,
                    "the binhost has {} builds of {name}-{version} with different USE flags",
                    builds.len()
                )?;
                write_chain(formatter, &chain[..chain.len().saturating_sub(1)])?;
                builds.iter().try_for_each(|flags| write!(formatter, "\n  `{flags}`"))
            }
            Self::NothingRequested => formatter.write_str("no packages are requested"),
        }
    }
}

fn write_chain(formatter: &mut fmt::Formatter<'_>, chain: &[String]) -> fmt::Result {
    if chain.is_empty() { Ok(()) } else { write!(formatter, "\n    needed by {}", chain.join(" -> ")) }
}

/// The dependencies that lead to a package: the requested atom, and each package from there.
pub(super) fn dependency_chain(graph: &Depgraph<'_>, id: Option<PackageId>) -> Vec<String> {
    let mut chain = Vec::new();
    let mut next = id;
    while let Some(id) = next {
        chain.push(graph.pool.package(id).to_string());
        // The first parent was in the graph before the package, so the chain is finite.
        let Some(need) = graph.parents.get(&id).and_then(|parents| parents.first()) else { break };
        next = need.parent.filter(|parent| *parent != id);
        if next.is_none() {
            chain.push(format!("`{}`", need.atom));
        }
        if chain.len() > MAXIMUM_CHAIN {
            break;
        }
    }
    chain.reverse();
    chain
}

/// The packages of an atom's name, and why each does not satisfy the atom.
pub(super) fn rejected_candidates(pool: &PackagePool, atom: &Atom, parent: Option<PackageId>) -> Vec<String> {
    let no_flags = BTreeSet::new();
    let flags = parent.map_or(&no_flags, |parent| &pool.package(parent).flags);
    let all = pool.available(&atom.name).iter().chain(pool.installed(&atom.name));
    let mut lines: Vec<String> = all
        .take(MAXIMUM_CANDIDATES)
        .map(|id| {
            let package = pool.package(*id);
            let origin = match &pool.entry(*id).origin {
                Origin::Binhost(_) => "on the binhost".to_owned(),
                Origin::Layer(layer) => format!("in {layer}"),
            };
            let by_rule = || pool.use_mismatch(*id).map(|flag| format!("`package-use` requires `{flag}`"));
            let reason = mismatch(package, atom, flags)
                .or_else(by_rule)
                .unwrap_or_else(|| "its own dependencies cannot be satisfied".to_owned());
            format!("{package} {origin}: {reason}")
        })
        .collect();
    // Builds of one version often fail for the same reason.
    lines.dedup();
    lines
}

/// The first property of a package that does not match an atom.
fn mismatch(package: &Package, atom: &Atom, flags: &BTreeSet<String>) -> Option<String> {
    if let Some((operator, version)) = &atom.version
        && !operator.matches(&package.version, version)
    {
        return Some("another version".to_owned());
    }
    if !atom.without_flags().matches(&package.candidate()) {
        let anywhere = Atom { repository: None, ..atom.without_flags() };
        if anywhere.matches(&package.candidate()) {
            return Some(format!("its repository is `{}`", package.repository));
        }
        return Some(format!("its slot is `{}/{}`", package.slot, package.sub_slot));
    }
    let flag = atom.flags.iter().find(|flag| !flag.matches(package, flags))?;
    if package.known_flags.contains(&flag.flag) {
        let built = if package.flags.contains(&flag.flag) { "with" } else { "without" };
        return Some(format!("it was built {built} `{}`", flag.flag));
    }
    Some(format!("it has no USE flag `{}`", flag.flag))
}
