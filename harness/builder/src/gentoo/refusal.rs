// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::fmt;

use super::atom::Atom;
use super::backtracking::Attempt;
use super::package::Package;
use super::world::{Id, Origin, World};

/// Candidates that are named for something that is missing.
const MAXIMUM_NEAR: usize = 5;

/// Why packages that were asked for cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// nothing satisfies a dependency
    Unsatisfied {
        /// from what was asked for to the package that needs it
        chain: Vec<String>,
        /// what it needs
        wanted: String,
        /// packages of that name, and why each does not do
        near: Vec<String>,
    },
    /// a package was asked for that is installed, and no binhost has it
    OnlyInstalled {
        /// as it was asked for
        wanted: String,
        /// what is installed
        installed: String,
    },
    /// two packages are needed for one slot
    Conflict {
        /// category and name
        name: String,
        /// the slot
        slot: String,
        /// each of them, with the chain that leads to it
        sides: [(String, Vec<String>); 2],
    },
    /// two packages that must not be there together
    Blocked {
        /// from what was asked for to the package that blocks
        chain: Vec<String>,
        /// what it says
        blocker: String,
        /// whom that hits
        blocked: String,
        /// from what was asked for to that one
        blocked_chain: Vec<String>,
        /// whether that one is in a layer below, which an extension cannot take it from
        installed: bool,
        /// whether the blocking one is
        by_installed: bool,
    },
    /// nothing was tried
    Nothing,
}

impl Hint for Refusal {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unsatisfied { near, .. } if near.is_empty() => {
                "no package of that name is on the binhost or in the base: build it for the binhost, or name it in `provided` where it is known to be there".to_owned()
            }
            Self::Unsatisfied { .. } => "another build of one of these is needed on the binhost".to_owned(),
            Self::OnlyInstalled { .. } => {
                "leave it out: an extension holds what the base lacks".to_owned()
            }
            Self::Conflict { .. } => "ask for versions that go together".to_owned(),
            Self::Blocked { installed: true, .. } | Self::Blocked { by_installed: true, .. } => {
                "an extension cannot take a package away from the layers below it".to_owned()
            }
            Self::Blocked { .. } => "ask for one of them alone".to_owned(),
            Self::Nothing => "name a package".to_owned(),
        };
        Some(hint)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsatisfied { chain, wanted, near } => {
                write!(formatter, "nothing satisfies `{wanted}`")?;
                steps(formatter, chain)?;
                for line in near {
                    write!(formatter, "\n  {line}")?;
                }
                Ok(())
            }
            Self::OnlyInstalled { wanted, installed } => {
                write!(formatter, "`{wanted}` is installed as `{installed}`, and no binhost has it")
            }
            Self::Conflict { name, slot, sides: [left, right] } => {
                write!(formatter, "`{name}` is needed twice in slot `{slot}`, where only one can be")?;
                for (package, chain) in [left, right] {
                    write!(formatter, "\n  {package}")?;
                    steps(formatter, chain)?;
                }
                Ok(())
            }
            Self::Blocked { chain, blocker, blocked, blocked_chain, installed, by_installed } => {
                let by = chain.last().map(String::as_str).unwrap_or_default();
                let place = |installed: bool| if installed { ", which is installed" } else { "" };
                write!(
                    formatter,
                    "`{by}`{} blocks `{blocked}`{}: it says `{blocker}`",
                    place(*by_installed),
                    place(*installed)
                )?;
                steps(formatter, &chain[..chain.len().saturating_sub(1)])?;
                steps(formatter, blocked_chain)
            }
            Self::Nothing => formatter.write_str("no packages were asked for"),
        }
    }
}

fn steps(formatter: &mut fmt::Formatter<'_>, chain: &[String]) -> fmt::Result {
    if chain.is_empty() { Ok(()) } else { write!(formatter, "\n    needed by {}", chain.join(" -> ")) }
}

/// The way from what was asked for to a package: what was asked, then each package on the way.
pub(super) fn chain(attempt: &Attempt<'_>, id: Option<Id>) -> Vec<String> {
    let mut steps = Vec::new();
    let mut next = id;
    while let Some(id) = next {
        steps.push(attempt.world.package(id).to_string());
        // Who needed it first was there before it, so this ends.
        let Some(need) = attempt.parents.get(&id).and_then(|needs| needs.first()) else { break };
        next = need.by.filter(|by| *by != id);
        if next.is_none() {
            steps.push(format!("`{}`", need.atom));
        }
        if steps.len() > 1000 {
            break;
        }
    }
    steps.reverse();
    steps
}

/// Packages that come near to what is wanted, and why each does not do.
pub(super) fn near(world: &World, wanted: &Atom, by: Option<Id>) -> Vec<String> {
    let nobody = std::collections::BTreeSet::new();
    let flags = by.map_or(&nobody, |by| &world.package(by).flags);
    let all = world.available(&wanted.name).iter().chain(world.installed(&wanted.name));
    let mut lines: Vec<String> = all
        .take(MAXIMUM_NEAR)
        .map(|id| {
            let package = world.package(*id);
            let place = match &world.entry(*id).origin {
                Origin::Binhost(_) => "on the binhost".to_owned(),
                Origin::Layer(layer) => format!("in {layer}"),
            };
            let reason = mismatch(package, wanted, flags)
                .or_else(|| {
                    world.forbidding(*id).map(|flag| format!("`use` of the recipe asks for `{flag}`"))
                })
                .unwrap_or_else(|| "what it needs itself cannot be had".to_owned());
            format!("{package} {place}: {reason}")
        })
        .collect();
    // Builds of one version often fail for the same reason.
    lines.dedup();
    lines
}

fn mismatch(package: &Package, wanted: &Atom, flags: &std::collections::BTreeSet<String>) -> Option<String> {
    if let Some((operator, version)) = &wanted.version
        && !operator.holds(&package.version, version)
    {
        return Some("another version".to_owned());
    }
    if !wanted.without_flags().matches(&package.candidate()) {
        let anywhere = Atom { repository: None, ..wanted.without_flags() };
        if anywhere.matches(&package.candidate()) {
            return Some(format!("it is of the repository `{}`", package.repository));
        }
        return Some(format!("its slot is `{}/{}`", package.slot, package.sub_slot));
    }
    let flag = wanted.flags.iter().find(|flag| !flag.matches(package, flags))?;
    if package.known_flags.contains(&flag.flag) {
        let built = if package.flags.contains(&flag.flag) { "with" } else { "without" };
        return Some(format!("it was built {built} `{}`", flag.flag));
    }
    Some(format!("it has no USE flag `{}`", flag.flag))
}
