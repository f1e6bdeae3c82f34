// SPDX-License-Identifier: Apache-2.0
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use super::index::{Index, IndexError};
use super::record::Record;
use super::relation::Relation;
use super::solution::{Added, Amiss, Present, Reason, Solution, Unsatisfiable};

/// Why there is no solution.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// what was asked for does not go together
    #[error(transparent)]
    Unsatisfiable(#[from] Box<Unsatisfiable>),
    /// an index cannot be read
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What there is to resolve with.
#[derive(Debug, Clone, Copy)]
pub struct Universe<'a> {
    /// the packages of the base, and of the extensions below
    pub installed: &'a Index,
    /// the packages that can be added
    pub archive: &'a Index,
}

/// Who needs what was asked for.
pub(super) const RECIPE: &str = "the recipe";

/// How often a search is begun again with other choices.
const TURNS: usize = 300;

/// Finds what must be added to the installed packages so that those named are there with all they
/// need, and with what they recommend if that is asked for.
///
/// The rules are those of apt-get(8) with `--no-remove`: what is present is kept where it will do;
/// of alternatives the first is taken that goes with what there is no choice about; a package stands
/// before those that only provide its name, and those are taken by priority, then by name; the newest
/// version is taken, and a package of the base is covered with a newer one only where another package
/// cannot do with the base's. Where the choices lead into a conflict, others are tried, the fewest
/// at first.
///
/// # Errors
/// See [`ResolveError`].
pub fn resolve(universe: Universe<'_>, names: &[&str], recommends: bool) -> Result<Solution, ResolveError> {
    let cache = Cache::default();
    let mut turns = VecDeque::from([BTreeSet::new()]);
    let mut seen = BTreeSet::from([BTreeSet::new()]);
    let mut first = None;
    for _ in 0..TURNS {
        let Some(avoided) = turns.pop_front() else { break };
        let state = State::default();
        let (chosen, gave_up) = (Vec::new(), false);
        let mut search = Search { universe, recommends, state, cache: &cache, avoided, chosen, gave_up };
        match search.run(names) {
            Ok(()) => {
                let second_choice = search.gave_up || !search.avoided.is_empty();
                return Ok(search.state.solution(second_choice));
            }
            Err(Stop::Index(error)) => return Err(error.into()),
            Err(Stop::Unsatisfiable(error)) => first = first.or(Some(error)),
        }
        for choice in search.chosen.iter().rev() {
            let mut avoided = search.avoided.clone();
            if avoided.insert(choice.clone()) && seen.insert(avoided.clone()) {
                turns.push_back(avoided);
            }
        }
    }
    // There is at least one turn, and it failed.
    first.map_or_else(|| Ok(Solution::default()), |error| Err(Box::new(error).into()))
}

/// Why a branch of the search ended.
enum Stop {
    Unsatisfiable(Unsatisfiable),
    Index(IndexError),
}

impl From<IndexError> for Stop {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl From<Unsatisfiable> for Stop {
    fn from(error: Unsatisfiable) -> Self {
        Self::Unsatisfiable(error)
    }
}

type Found = Rc<Vec<Rc<Record>>>;

/// Records that were read.
#[derive(Default)]
struct Cache {
    named: RefCell<HashMap<(bool, String), Found>>,
    providing: RefCell<HashMap<(bool, String), Found>>,
    installed: RefCell<Option<Found>>,
}

/// What was decided so far; cheap to copy, so that a branch is given up by taking the old one back.
#[derive(Clone, Default)]
struct State {
    added: BTreeMap<String, Rc<Choice>>,
    /// what will be added since there is no choice, by names
    forced: BTreeMap<String, Rc<Record>>,
    present: Vec<Rc<Present>>,
}

struct Choice {
    record: Rc<Record>,
    reason: Reason,
    replaces: Option<Rc<Record>>,
}

impl State {
    fn solution(&self, second_choice: bool) -> Solution {
        let added = self.added.values().map(|choice| Added {
            record: (*choice.record).clone(),
            reason: choice.reason.clone(),
            replaces: choice.replaces.as_ref().map(|record| record.version.clone()),
        });
        let present = self.present.iter().map(|one| (**one).clone()).collect();
        Solution { added: added.collect(), present, second_choice }
    }
}

struct Search<'a> {
    universe: Universe<'a>,
    recommends: bool,
    state: State,
    cache: &'a Cache,
    /// what is chosen only where there is nothing else
    avoided: BTreeSet<String>,
    /// what was chosen where there was something else
    chosen: Vec<String>,
    /// whether something was chosen and then given up for something else
    gave_up: bool,
}

impl Search<'_> {
    fn run(&mut self, names: &[&str]) -> Result<(), Stop> {
        let mut asked = Vec::new();
        // All that is asked for comes first: what one needs may be another one of them.
        for name in names {
            if let Some(record) = self.ask(name)? {
                asked.push(record);
            }
        }
        for record in &asked {
            self.foresee(record)?;
        }
        for record in asked {
            self.complete(&record)?;
        }
        Ok(())
    }

    /// Takes what a recipe names, or the first that provides it; nothing where the base has it.
    fn ask(&mut self, name: &str) -> Result<Option<Rc<Record>>, Stop> {
        let relation = Relation { name: name.to_owned(), version: None };
        if let Some(record) = self.fulfilling(&relation)? {
            self.note_present(&record, RECIPE);
            return Ok(None);
        }
        let candidates = self.candidates(&relation)?;
        let Some(first) = candidates.first() else { return Err(self.amiss(&relation)?.into()) };
        self.add(first, Reason::Asked)?;
        Ok(Some(Rc::clone(first)))
    }

    /// Adds a package and all it needs.
    fn install(&mut self, record: &Rc<Record>, reason: Reason) -> Result<(), Stop> {
        self.foresee(record)?;
        self.add(record, reason)?;
        self.complete(record)
    }

    /// Notes what a package brings along where there is no choice, so that no choice is made that does
    /// not go with it.
    fn foresee(&mut self, record: &Rc<Record>) -> Result<(), IndexError> {
        self.state.forced.insert(record.name.clone(), Rc::clone(record));
        // Each that is foreseen can take a choice from others.
        loop {
            let mut found = Vec::new();
            for alternatives in self.state.forced.values().flat_map(|forced| &forced.depends) {
                let there = |one: &Relation| self.state.forced.values().any(|forced| forced.satisfies(one));
                if alternatives.iter().any(there) || self.fulfilled(alternatives)? {
                    continue;
                }
                let mut candidates = self.all_candidates(alternatives)?;
                if candidates.len() > 1 {
                    candidates.retain(|candidate| self.goes_with_forced(candidate));
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

    /// Whether a package goes with what is foreseen.
    fn goes_with_forced(&self, candidate: &Rc<Record>) -> bool {
        let clash = |one: &Record, other: &Record| {
            one.name != other.name && one.conflicts.iter().any(|relation| other.satisfies(relation))
        };
        self.state.forced.values().all(|forced| !clash(candidate, forced) && !clash(forced, candidate))
    }

    /// Adds a package alone, if it goes with what is there.
    fn add(&mut self, record: &Rc<Record>, reason: Reason) -> Result<(), Stop> {
        if let Some(there) = self.state.added.get(&record.name) {
            if there.record.version == record.version {
                return Ok(());
            }
            let there = Rc::clone(&there.record);
            let relation = format!("{} (= {})", record.name, record.version);
            return Err(conflict(record, &relation, &there, false).into());
        }
        let replaces = self.named(true, &record.name)?.first().cloned();
        let choice = Choice { record: Rc::clone(record), reason, replaces };
        self.state.added.insert(record.name.clone(), Rc::new(choice));
        self.settle_conflicts(record)
    }

    /// Sees that nothing present conflicts with a package that was just added: what the base has in a
    /// version that does not go with it is covered by a newer one.
    fn settle_conflicts(&mut self, record: &Rc<Record>) -> Result<(), Stop> {
        for relation in &record.conflicts {
            for other in self.present_matching(relation)? {
                if other.name != record.name {
                    self.settle(record, relation, &other, record)?;
                }
            }
        }
        for other in &self.all_present()? {
            if other.name == record.name {
                continue;
            }
            for relation in other.conflicts.iter().filter(|relation| record.satisfies(relation)) {
                self.settle(other, relation, other, record)?;
            }
        }
        Ok(())
    }

    /// Covers `old` of the base with a newer version because of `by`, or fails with the conflict that
    /// `declarer` declares.
    fn settle(
        &mut self,
        declarer: &Rc<Record>,
        relation: &Relation,
        old: &Rc<Record>,
        by: &Rc<Record>,
    ) -> Result<(), Stop> {
        let in_base = !self.state.added.contains_key(&old.name);
        let other = if Rc::ptr_eq(declarer, old) { by } else { old };
        let failure = || conflict(declarer, &relation.to_string(), other, in_base);
        let newest = self.newest(&old.name)?.filter(|newest| newest.version > old.version);
        let Some(newest) = newest.filter(|_| in_base) else { return Err(failure().into()) };
        let still = if Rc::ptr_eq(declarer, old) {
            newest.conflicts.iter().any(|relation| by.satisfies(relation))
        } else {
            newest.satisfies(relation)
        };
        if still {
            return Err(failure().into());
        }
        self.install(&newest, Reason::Outdated { by: by.name.clone() })
    }

    /// Adds what a package needs, and what needed the base's version of it and cannot do with this one.
    fn complete(&mut self, record: &Rc<Record>) -> Result<(), Stop> {
        for alternatives in &record.depends {
            self.need(record, alternatives).map_err(|stop| match stop {
                Stop::Unsatisfiable(error) => error.below(record, alternatives).into(),
                Stop::Index(error) => Stop::Index(error),
            })?;
        }
        self.mend_dependants(record)?;
        if self.recommends {
            for alternatives in &record.recommends {
                let before = self.state.clone();
                let reason = Reason::Recommended { by: record.name.clone() };
                match self.satisfy(record, alternatives, &reason) {
                    Err(Stop::Unsatisfiable(_)) => {
                        self.gave_up = true;
                        self.state = before;
                    }
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// The packages that could be added for one of the alternatives, the best first.
    fn all_candidates(&self, alternatives: &[Relation]) -> Result<Vec<Rc<Record>>, IndexError> {
        let mut all: Vec<Rc<Record>> = Vec::new();
        for relation in alternatives {
            for candidate in self.candidates(relation)? {
                if !all.iter().any(|there| there.name == candidate.name) {
                    all.push(candidate);
                }
            }
        }
        Ok(all)
    }

    fn need(&mut self, record: &Rc<Record>, alternatives: &[Relation]) -> Result<(), Stop> {
        let relation = super::relation::show(alternatives);
        self.satisfy(record, alternatives, &Reason::Needed { by: record.name.clone(), relation })
    }

    /// Sees that one of the alternatives is there.
    fn satisfy(
        &mut self,
        record: &Rc<Record>,
        alternatives: &[Relation],
        reason: &Reason,
    ) -> Result<(), Stop> {
        for relation in alternatives {
            if let Some(there) = self.fulfilling(relation)? {
                if !self.state.added.contains_key(&there.name) {
                    self.note_present(&there, &record.name);
                }
                return Ok(());
            }
        }
        let mut candidates = self.all_candidates(alternatives)?;
        if candidates.len() > 1 {
            // Those that do not go with what is foreseen come last, for what they would fail with.
            candidates.sort_by_key(|candidate| {
                (!self.goes_with_forced(candidate), self.avoided.contains(&candidate.name))
            });
        }
        let mut first = None;
        let choice = candidates.len() > 1;
        for candidate in candidates {
            if choice {
                self.chosen.push(candidate.name.clone());
            }
            let before = self.state.clone();
            match self.install(&candidate, reason.clone()) {
                Err(Stop::Unsatisfiable(error)) => {
                    self.gave_up = true;
                    self.state = before;
                    first = first.or(Some(error));
                }
                other => return other,
            }
        }
        // A field never has an empty group.
        match (first, alternatives.first()) {
            (Some(error), _) => Err(error.into()),
            (None, Some(relation)) => Err(self.amiss(relation)?.into()),
            (None, None) => Ok(()),
        }
    }

    /// Packages of the base that needed the version that was covered are covered in turn.
    fn mend_dependants(&mut self, record: &Rc<Record>) -> Result<(), Stop> {
        let choice = self.state.added.get(&record.name).cloned();
        let Some(old) = choice.and_then(|choice| choice.replaces.clone()) else { return Ok(()) };
        for dependant in self.installed()?.iter() {
            if self.state.added.contains_key(&dependant.name) {
                continue;
            }
            for alternatives in &dependant.depends {
                let was = alternatives.iter().any(|relation| old.satisfies(relation));
                if !was || self.fulfilled(alternatives)? {
                    continue;
                }
                let newest =
                    self.newest(&dependant.name)?.filter(|newest| newest.version > dependant.version);
                let Some(newest) = newest else {
                    let relation = super::relation::show(alternatives);
                    return Err(conflict(dependant, &relation, record, true).into());
                };
                self.install(&newest, Reason::Outdated { by: record.name.clone() })?;
                break;
            }
        }
        Ok(())
    }

    fn fulfilled(&self, alternatives: &[Relation]) -> Result<bool, IndexError> {
        for relation in alternatives {
            if self.fulfilling(relation)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Something present that a relation means.
    fn fulfilling(&self, relation: &Relation) -> Result<Option<Rc<Record>>, IndexError> {
        Ok(self.present_matching(relation)?.into_iter().next())
    }

    /// Everything present that a relation means.
    fn present_matching(&self, relation: &Relation) -> Result<Vec<Rc<Record>>, IndexError> {
        let mut matching: Vec<Rc<Record>> = self
            .state
            .added
            .values()
            .map(|choice| &choice.record)
            .filter(|record| record.satisfies(relation))
            .cloned()
            .collect();
        for found in [self.named(true, &relation.name)?, self.providing(true, &relation.name)?] {
            for record in found.iter() {
                if !self.state.added.contains_key(&record.name) && record.satisfies(relation) {
                    matching.push(Rc::clone(record));
                }
            }
        }
        Ok(matching)
    }

    /// What could be added for a relation, the best first.
    fn candidates(&self, relation: &Relation) -> Result<Vec<Rc<Record>>, IndexError> {
        let mut candidates = Vec::new();
        if let Some(record) = self.newest(&relation.name)?.filter(|record| record.satisfies(relation)) {
            candidates.push(record);
        }
        let mut providers: Vec<Rc<Record>> = Vec::new();
        for record in self.providing(false, &relation.name)?.iter() {
            let newest = self.newest(&record.name)?;
            if newest.is_some_and(|newest| newest.version == record.version) && record.satisfies(relation) {
                providers.push(Rc::clone(record));
            }
        }
        providers.sort_by(|left, right| (left.priority, &left.name).cmp(&(right.priority, &right.name)));
        candidates.extend(providers.into_iter().filter(|record| record.name != relation.name));
        Ok(candidates)
    }

    /// The newest version of a package in the archive.
    fn newest(&self, name: &str) -> Result<Option<Rc<Record>>, IndexError> {
        let found = self.named(false, name)?;
        Ok(found.iter().max_by(|left, right| left.version.cmp(&right.version)).cloned())
    }

    /// What is amiss with a relation that nothing can be added for.
    fn amiss(&self, relation: &Relation) -> Result<Unsatisfiable, IndexError> {
        let mut found: Vec<String> = Vec::new();
        for (installed, of) in [(true, " in the base"), (false, " in the archive")] {
            let shown = |record: &Rc<Record>| format!("{} {}{of}", record.name, record.version);
            found.extend(self.named(installed, &relation.name)?.iter().map(shown));
            found.extend(self.providing(installed, &relation.name)?.iter().map(shown));
        }
        if found.is_empty() {
            let near = near(&relation.name, self.universe.archive);
            return Ok(Unsatisfiable::new(Amiss::Unknown { name: relation.name.clone(), near }));
        }
        Ok(Unsatisfiable::new(Amiss::Version { relation: relation.to_string(), found }))
    }

    /// Everything that is there: what was added, and what of the base is not covered.
    fn all_present(&self) -> Result<Vec<Rc<Record>>, IndexError> {
        let added = self.state.added.values().map(|choice| Rc::clone(&choice.record));
        let installed = self.installed()?;
        let kept = installed.iter().filter(|record| !self.state.added.contains_key(&record.name)).cloned();
        Ok(added.chain(kept).collect())
    }

    fn installed(&self) -> Result<Found, IndexError> {
        if let Some(all) = &*self.cache.installed.borrow() {
            return Ok(Rc::clone(all));
        }
        let mut names: Vec<&str> = self.universe.installed.names().collect();
        names.sort_unstable();
        let mut all = Vec::new();
        for name in names {
            all.extend(self.named(true, name)?.iter().cloned());
        }
        let all = Rc::new(all);
        *self.cache.installed.borrow_mut() = Some(Rc::clone(&all));
        Ok(all)
    }

    fn named(&self, installed: bool, name: &str) -> Result<Found, IndexError> {
        self.look_up(&self.cache.named, installed, name, Index::named)
    }

    fn providing(&self, installed: bool, name: &str) -> Result<Found, IndexError> {
        self.look_up(&self.cache.providing, installed, name, Index::providing)
    }

    fn look_up(
        &self,
        cache: &RefCell<HashMap<(bool, String), Found>>,
        installed: bool,
        name: &str,
        read: impl Fn(&Index, &str) -> Result<Vec<Record>, IndexError>,
    ) -> Result<Found, IndexError> {
        let key = (installed, name.to_owned());
        if let Some(found) = cache.borrow().get(&key) {
            return Ok(Rc::clone(found));
        }
        let index = if installed { self.universe.installed } else { self.universe.archive };
        let found: Found = Rc::new(read(index, name)?.into_iter().map(Rc::new).collect());
        cache.borrow_mut().insert(key, Rc::clone(&found));
        Ok(found)
    }

    fn note_present(&mut self, record: &Record, needed_by: &str) {
        let (name, version) = (record.name.clone(), record.version.clone());
        self.state.present.push(Rc::new(Present { name, version, needed_by: needed_by.to_owned() }));
    }
}

fn conflict(one: &Record, relation: &str, other: &Record, base: bool) -> Unsatisfiable {
    let shown = |record: &Record| format!("{} {}", record.name, record.version);
    let (one, other) = (shown(one), shown(other));
    Unsatisfiable::new(Amiss::Conflict { one, relation: relation.to_owned(), other, base })
}

/// A name of the archive that looks like another.
fn near(name: &str, archive: &Index) -> Option<String> {
    let close = |candidate: &&str| candidate.len().abs_diff(name.len()) <= 2;
    let best = archive
        .names()
        .filter(close)
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate));
    best.min().filter(|(distance, _)| *distance <= 2).map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
