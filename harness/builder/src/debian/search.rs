// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use loadgauge_host::suggest;

use super::index::IndexError;
use super::lookup::{Lookup, Origin};
use super::record::Record;
use super::relation::{Relation, format_alternatives};
use super::solution::{AddedPackage, InstalledDependency, Reason, Solution};
use super::unmet::{UnmetCause, UnmetDependency};

/// The dependant of requested packages in [`InstalledDependency::needed_by`].
pub(super) const RECIPE: &str = "the recipe";

/// Why a search failed.
pub(super) enum SearchError {
    Unmet(UnmetDependency),
    Index(IndexError),
}

impl From<IndexError> for SearchError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl From<UnmetDependency> for SearchError {
    fn from(error: UnmetDependency) -> Self {
        Self::Unmet(error)
    }
}

/// The decisions of a search. A copy is cheap, so that backtracking restores an earlier one.
#[derive(Clone, Default)]
struct State {
    added: BTreeMap<String, Rc<Addition>>,
    /// packages that are unavoidable since nothing else satisfies a dependency, by name
    forced: BTreeMap<String, Rc<Record>>,
    already_installed: Vec<Rc<InstalledDependency>>,
    /// dependencies on excluded packages: the package, and the one that depends on it with its relation
    excluded: Vec<(String, String, String)>,
}

/// A package that is added.
struct Addition {
    record: Rc<Record>,
    reason: Reason,
    replaces: Option<Rc<Record>>,
}

impl State {
    fn solution(&self, backtracked: bool) -> Solution {
        let added = self.added.values().map(|choice| AddedPackage {
            record: (*choice.record).clone(),
            reason: choice.reason.clone(),
            replaces: choice.replaces.as_ref().map(|record| record.version.clone()),
        });
        let already_installed = self.already_installed.iter().map(|one| (**one).clone()).collect();
        let excluded = self.excluded.clone();
        Solution { added: added.collect(), already_installed, excluded, backtracked }
    }
}

/// One search for the packages to be added.
pub(super) struct Search<'a> {
    lookup: &'a Lookup<'a>,
    recommends: bool,
    /// names of packages that are not added: dependencies on them are dropped
    excluded: &'a BTreeSet<String>,
    /// names of packages that are used only where no other satisfies a dependency
    avoided: &'a BTreeSet<String>,
    state: State,
    /// names of packages that were used although others satisfied the same dependency
    choices: Vec<String>,
    /// whether a choice was undone
    backtracked: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        lookup: &'a Lookup<'a>,
        recommends: bool,
        excluded: &'a BTreeSet<String>,
        avoided: &'a BTreeSet<String>,
    ) -> Self {
        let (state, choices, backtracked) = (State::default(), Vec::new(), false);
        Self { lookup, recommends, excluded, avoided, state, choices, backtracked }
    }

    pub(super) fn choices(&self) -> &[String] {
        &self.choices
    }

    pub(super) fn into_solution(self) -> Solution {
        self.state.solution(self.backtracked || !self.avoided.is_empty())
    }

    /// Adds the named packages and their dependencies.
    pub(super) fn run(&mut self, names: &[&str]) -> Result<(), SearchError> {
        let mut requested = Vec::new();
        // All requested packages come first, since one may depend on another.
        for name in names {
            if let Some(record) = self.request(name)? {
                requested.push(record);
            }
        }
        for record in &requested {
            self.propagate(record)?;
        }
        for record in requested {
            self.add_dependencies(&record)?;
        }
        Ok(())
    }

    /// Adds the package that the recipe names, or the first that provides the name; `None` where it is
    /// installed. An installed package that provides the name counts only if there is no package of the
    /// name.
    fn request(&mut self, name: &str) -> Result<Option<Rc<Record>>, SearchError> {
        let relation = Relation { name: name.to_owned(), version: None };
        let all = self.all_satisfying(&relation)?;
        let is_real = self.lookup.newest(name)?.is_some();
        if let Some(record) = all.iter().find(|record| record.name == name || !is_real) {
            self.note_installed(record, RECIPE);
            return Ok(None);
        }
        let candidates = self.lookup.candidates(&relation)?;
        let Some(first) = candidates.first() else { return Err(self.unmet(&relation)?.into()) };
        self.add(first, Reason::Requested)?;
        Ok(Some(Rc::clone(first)))
    }

    /// Adds a package and its dependencies.
    fn install(&mut self, record: &Rc<Record>, reason: Reason) -> Result<(), SearchError> {
        self.propagate(record)?;
        self.add(record, reason)?;
        self.add_dependencies(record)
    }

    /// Adds a package and its unavoidable dependencies to the forced ones, so that later choices are
    /// compatible with them (unit propagation).
    fn propagate(&mut self, record: &Rc<Record>) -> Result<(), IndexError> {
        self.state.forced.insert(record.name.clone(), Rc::clone(record));
        // Each forced package can leave a single candidate for another dependency.
        loop {
            let mut found = Vec::new();
            for alternatives in self.state.forced.values().flat_map(|forced| &forced.depends) {
                let is_forced =
                    |one: &Relation| self.state.forced.values().any(|forced| forced.satisfies(one));
                if alternatives.iter().any(is_forced) || self.is_satisfied(alternatives)? {
                    continue;
                }
                let mut candidates = self.lookup.candidates_of_any(alternatives)?;
                if candidates.len() > 1 {
                    candidates.retain(|candidate| self.is_compatible_with_forced(candidate));
                }
                found.extend(candidates.pop().filter(|_| candidates.is_empty()));
            }
            found.retain(|record: &Rc<Record>| !self.state.forced.contains_key(&record.name));
            if found.is_empty() {
                return Ok(());
            }
            let named = found.into_iter().map(|record| (record.name.clone(), record));
            self.state.forced.extend(named);
        }
    }

    /// Whether a package conflicts with no forced one.
    fn is_compatible_with_forced(&self, candidate: &Rc<Record>) -> bool {
        let conflicts = |one: &Record, other: &Record| {
            one.name != other.name && one.conflicts.iter().any(|relation| other.satisfies(relation))
        };
        self.state
            .forced
            .values()
            .all(|forced| !conflicts(candidate, forced) && !conflicts(forced, candidate))
    }

    /// Adds a package without its dependencies, if it is compatible with the present ones.
    fn add(&mut self, record: &Rc<Record>, reason: Reason) -> Result<(), SearchError> {
        if let Some(added) = self.state.added.get(&record.name) {
            if added.record.version == record.version {
                return Ok(());
            }
            let added = Rc::clone(&added.record);
            let relation = format!("{} (= {})", record.name, record.version);
            return Err(conflict(record, &relation, &added, false).into());
        }
        let replaces = self.lookup.named(Origin::Installed, &record.name)?.first().cloned();
        let addition = Addition { record: Rc::clone(record), reason, replaces };
        self.state.added.insert(record.name.clone(), Rc::new(addition));
        self.resolve_conflicts(record)
    }

    /// Resolves the conflicts of a package that was just added: a package of the base that conflicts with
    /// it is replaced by a newer version.
    fn resolve_conflicts(&mut self, record: &Rc<Record>) -> Result<(), SearchError> {
        for relation in &record.conflicts {
            for other in self.all_satisfying(relation)? {
                if other.name != record.name {
                    self.upgrade(record, relation, &other, record)?;
                }
            }
        }
        for other in &self.all_present()? {
            if other.name == record.name {
                continue;
            }
            for relation in other.conflicts.iter().filter(|relation| record.satisfies(relation)) {
                self.upgrade(other, relation, other, record)?;
            }
        }
        Ok(())
    }

    /// Replaces `old` of the base by a newer version because of `by`, or fails with the conflict that
    /// `declarer` declares.
    fn upgrade(
        &mut self,
        declarer: &Rc<Record>,
        relation: &Relation,
        old: &Rc<Record>,
        by: &Rc<Record>,
    ) -> Result<(), SearchError> {
        let in_base = !self.state.added.contains_key(&old.name);
        let other = if Rc::ptr_eq(declarer, old) { by } else { old };
        let failure = || conflict(declarer, &relation.to_string(), other, in_base);
        let newest = self.lookup.newest(&old.name)?.filter(|newest| newest.version > old.version);
        let Some(newest) = newest.filter(|_| in_base) else { return Err(failure().into()) };
        let still_conflicts = if Rc::ptr_eq(declarer, old) {
            newest.conflicts.iter().any(|relation| by.satisfies(relation))
        } else {
            newest.satisfies(relation)
        };
        if still_conflicts {
            return Err(failure().into());
        }
        self.install(&newest, Reason::Upgrade { by: by.name.clone() })
    }

    /// Adds the dependencies of a package, and newer versions of the base's packages that are
    /// incompatible with it.
    fn add_dependencies(&mut self, record: &Rc<Record>) -> Result<(), SearchError> {
        for alternatives in &record.depends {
            let relation = format_alternatives(alternatives);
            let reason = Reason::Dependency { by: record.name.clone(), relation };
            self.satisfy(record, alternatives, &reason).map_err(|error| match error {
                SearchError::Unmet(error) => error.needed_by(record, alternatives).into(),
                SearchError::Index(error) => SearchError::Index(error),
            })?;
        }
        self.upgrade_dependants(record)?;
        if self.recommends {
            for alternatives in &record.recommends {
                let before = self.state.clone();
                let reason = Reason::Recommended { by: record.name.clone() };
                match self.satisfy(record, alternatives, &reason) {
                    Err(SearchError::Unmet(_)) => {
                        self.backtracked = true;
                        self.state = before;
                    }
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// Adds a package that satisfies one of the alternatives, if none is present.
    fn satisfy(
        &mut self,
        record: &Rc<Record>,
        alternatives: &[Relation],
        reason: &Reason,
    ) -> Result<(), SearchError> {
        for relation in alternatives {
            if let Some(present) = self.satisfying(relation)? {
                if !self.state.added.contains_key(&present.name) {
                    self.note_installed(&present, &record.name);
                }
                return Ok(());
            }
        }
        if let Some(excluded) = alternatives.iter().find(|one| self.excluded.contains(&one.name)) {
            let relation = format_alternatives(alternatives);
            self.state.excluded.push((excluded.name.clone(), record.name.clone(), relation));
            return Ok(());
        }
        let mut candidates = self.lookup.candidates_of_any(alternatives)?;
        candidates.retain(|candidate| !self.excluded.contains(&candidate.name));
        if candidates.len() > 1 {
            // Incompatible candidates come last; they are tried for the sake of their error.
            candidates.sort_by_key(|candidate| {
                (!self.is_compatible_with_forced(candidate), self.avoided.contains(&candidate.name))
            });
        }
        let mut first_error = None;
        let is_choice = candidates.len() > 1;
        for candidate in candidates {
            if is_choice {
                self.choices.push(candidate.name.clone());
            }
            let before = self.state.clone();
            match self.install(&candidate, reason.clone()) {
                Err(SearchError::Unmet(error)) => {
                    self.backtracked = true;
                    self.state = before;
                    first_error = first_error.or(Some(error));
                }
                other => return other,
            }
        }
        // The parser returns no empty group.
        match (first_error, alternatives.first()) {
            (Some(error), _) => Err(error.into()),
            (None, Some(relation)) => Err(self.unmet(relation)?.into()),
            (None, None) => Ok(()),
        }
    }

    /// Replaces packages of the base that depend on the base's version of an added package.
    fn upgrade_dependants(&mut self, record: &Rc<Record>) -> Result<(), SearchError> {
        let addition = self.state.added.get(&record.name).cloned();
        let Some(old) = addition.and_then(|addition| addition.replaces.clone()) else { return Ok(()) };
        for dependant in self.lookup.installed()?.iter() {
            if self.state.added.contains_key(&dependant.name) {
                continue;
            }
            for alternatives in &dependant.depends {
                let was_satisfied = alternatives.iter().any(|relation| old.satisfies(relation));
                if !was_satisfied || self.is_satisfied(alternatives)? {
                    continue;
                }
                let newest =
                    self.lookup.newest(&dependant.name)?.filter(|newest| newest.version > dependant.version);
                let Some(newest) = newest else {
                    let relation = format_alternatives(alternatives);
                    return Err(conflict(dependant, &relation, record, true).into());
                };
                self.install(&newest, Reason::Upgrade { by: record.name.clone() })?;
                break;
            }
        }
        Ok(())
    }

    fn is_satisfied(&self, alternatives: &[Relation]) -> Result<bool, IndexError> {
        if alternatives.iter().any(|relation| self.excluded.contains(&relation.name)) {
            return Ok(true);
        }
        for relation in alternatives {
            if self.satisfying(relation)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A present package that satisfies a relation.
    fn satisfying(&self, relation: &Relation) -> Result<Option<Rc<Record>>, IndexError> {
        Ok(self.all_satisfying(relation)?.into_iter().next())
    }

    /// All present packages that satisfy a relation.
    fn all_satisfying(&self, relation: &Relation) -> Result<Vec<Rc<Record>>, IndexError> {
        let mut satisfying: Vec<Rc<Record>> = self
            .state
            .added
            .values()
            .map(|choice| &choice.record)
            .filter(|record| record.satisfies(relation))
            .cloned()
            .collect();
        let named = self.lookup.named(Origin::Installed, &relation.name)?;
        let providing = self.lookup.providing(Origin::Installed, &relation.name)?;
        for records in [named, providing] {
            for record in records.iter() {
                if !self.state.added.contains_key(&record.name) && record.satisfies(relation) {
                    satisfying.push(Rc::clone(record));
                }
            }
        }
        Ok(satisfying)
    }

    /// The error of a relation without candidates.
    fn unmet(&self, relation: &Relation) -> Result<UnmetDependency, IndexError> {
        let mut found: Vec<String> = Vec::new();
        for (origin, place) in [(Origin::Installed, "base"), (Origin::Archive, "archive")] {
            let describe = |record: &Rc<Record>| format!("{} {} in the {place}", record.name, record.version);
            found.extend(self.lookup.named(origin, &relation.name)?.iter().map(describe));
            found.extend(self.lookup.providing(origin, &relation.name)?.iter().map(describe));
        }
        if found.is_empty() {
            let similar = suggest::typo_of(&relation.name, self.lookup.archive_names()).map(str::to_owned);
            let cause = UnmetCause::UnknownPackage { name: relation.name.clone(), similar };
            return Ok(UnmetDependency::new(cause));
        }
        Ok(UnmetDependency::new(UnmetCause::NoSuchVersion { relation: relation.to_string(), found }))
    }

    /// The added packages, and those of the base that they do not replace.
    fn all_present(&self) -> Result<Vec<Rc<Record>>, IndexError> {
        let added = self.state.added.values().map(|choice| Rc::clone(&choice.record));
        let installed = self.lookup.installed()?;
        let kept = installed.iter().filter(|record| !self.state.added.contains_key(&record.name)).cloned();
        Ok(added.chain(kept).collect())
    }

    fn note_installed(&mut self, record: &Record, needed_by: &str) {
        let (name, version) = (record.name.clone(), record.version.clone());
        let dependency = InstalledDependency { name, version, needed_by: needed_by.to_owned() };
        self.state.already_installed.push(Rc::new(dependency));
    }
}

fn conflict(package: &Record, relation: &str, other: &Record, base: bool) -> UnmetDependency {
    let describe = |record: &Record| format!("{} {}", record.name, record.version);
    let (package, other) = (describe(package), describe(other));
    UnmetDependency::new(UnmetCause::Conflict { package, relation: relation.to_owned(), other, base })
}
