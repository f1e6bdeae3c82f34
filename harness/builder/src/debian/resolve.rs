// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeSet, VecDeque};

use loadgauge_host::Hint;

use super::index::IndexError;
use super::lookup::{Lookup, Universe};
use super::search::{Search, SearchError};
use super::solution::Solution;
use super::unmet::UnmetDependency;

/// Why a resolution has no solution.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// a dependency cannot be satisfied
    #[error(transparent)]
    Unmet(#[from] Box<UnmetDependency>),
    /// an index cannot be parsed
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl Hint for ResolveError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unmet(error) => error.hint(),
            Self::Index(_) => None,
        }
    }
}

/// Searches before the resolution gives up.
const MAXIMUM_SEARCHES: usize = 300;

/// Finds the packages to be added to the installed ones so that the named packages and all their
/// dependencies are available; with `recommends`, also recommended packages as far as possible. Dependencies
/// on `excluded` packages are dropped.
///
/// The rules are those of apt-get(8) with `--no-remove`. An installed package is kept where it
/// satisfies the relation. Of alternatives, the first that is compatible with the unavoidable packages
/// is added. The package of a name precedes those that provide the name; these are ordered by priority
/// and name. The newest version is added, and a package of the base is replaced by a newer one only
/// where another package is incompatible with the base's version. After a conflict the search
/// backtracks, and changes as few choices as possible.
///
/// # Errors
/// See [`ResolveError`].
pub(super) fn resolve(
    universe: Universe<'_>,
    names: &[&str],
    recommends: bool,
    excluded: &BTreeSet<String>,
) -> Result<Solution, ResolveError> {
    let lookup = Lookup::new(universe);
    let mut queue = VecDeque::from([BTreeSet::new()]);
    let mut seen = BTreeSet::from([BTreeSet::new()]);
    let mut first_error = None;
    for _ in 0..MAXIMUM_SEARCHES {
        let Some(avoided) = queue.pop_front() else { break };
        let mut search = Search::new(&lookup, recommends, excluded, &avoided);
        match search.run(names) {
            Ok(()) => return Ok(search.into_solution()),
            Err(SearchError::Index(error)) => return Err(error.into()),
            Err(SearchError::Unmet(error)) => first_error = first_error.or(Some(error)),
        }
        for choice in search.choices().iter().rev() {
            let mut avoided = avoided.clone();
            if avoided.insert(choice.clone()) && seen.insert(avoided.clone()) {
                queue.push_back(avoided);
            }
        }
    }
    // There is at least one search, and it failed.
    first_error.map_or_else(|| Ok(Solution::default()), |error| Err(Box::new(error).into()))
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
