// SPDX-License-Identifier: Apache-2.0
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::index::{Index, IndexError};
use super::record::Record;
use super::relation::Relation;

/// The packages of a resolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Universe<'a> {
    /// the packages of the base and of its extensions
    pub installed: &'a Index,
    /// the packages that can be added
    pub archive: &'a Index,
}

/// One of the two indices of a universe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    Installed,
    Archive,
}

type Records = Rc<Vec<Rc<Record>>>;
type Cache = RefCell<HashMap<(Origin, String), Records>>;

/// Looks packages up in a universe, and parses each record once.
pub(super) struct Lookup<'a> {
    universe: Universe<'a>,
    by_name: Cache,
    by_provides: Cache,
    installed: RefCell<Option<Records>>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(universe: Universe<'a>) -> Self {
        let (by_name, by_provides) = (Cache::default(), Cache::default());
        Self { universe, by_name, by_provides, installed: RefCell::default() }
    }

    /// The names of all packages of the archive.
    pub(super) fn archive_names(&self) -> impl Iterator<Item = &'a str> {
        self.universe.archive.names()
    }

    /// All versions of a package.
    pub(super) fn named(&self, origin: Origin, name: &str) -> Result<Records, IndexError> {
        self.cached(&self.by_name, origin, name, Index::named)
    }

    /// The packages that provide a name.
    pub(super) fn providing(&self, origin: Origin, name: &str) -> Result<Records, IndexError> {
        self.cached(&self.by_provides, origin, name, Index::providing)
    }

    /// All installed packages, by name.
    pub(super) fn installed(&self) -> Result<Records, IndexError> {
        if let Some(all) = &*self.installed.borrow() {
            return Ok(Rc::clone(all));
        }
        let mut names: Vec<&str> = self.universe.installed.names().collect();
        names.sort_unstable();
        let mut all = Vec::new();
        for name in names {
            all.extend(self.named(Origin::Installed, name)?.iter().cloned());
        }
        let all = Rc::new(all);
        *self.installed.borrow_mut() = Some(Rc::clone(&all));
        Ok(all)
    }

    /// The newest version of a package in the archive.
    pub(super) fn newest(&self, name: &str) -> Result<Option<Rc<Record>>, IndexError> {
        let records = self.named(Origin::Archive, name)?;
        Ok(records.iter().max_by(|left, right| left.version.cmp(&right.version)).cloned())
    }

    /// The packages of the archive that satisfy a relation, the preferred one first: the package of the
    /// name, then those that provide it, by priority and name.
    pub(super) fn candidates(&self, relation: &Relation) -> Result<Vec<Rc<Record>>, IndexError> {
        let mut candidates = Vec::new();
        if let Some(record) = self.newest(&relation.name)?.filter(|record| record.satisfies(relation)) {
            candidates.push(record);
        }
        let mut providers: Vec<Rc<Record>> = Vec::new();
        for record in self.providing(Origin::Archive, &relation.name)?.iter() {
            let newest = self.newest(&record.name)?;
            if newest.is_some_and(|newest| newest.version == record.version) && record.satisfies(relation) {
                providers.push(Rc::clone(record));
            }
        }
        providers.sort_by(|left, right| (left.priority, &left.name).cmp(&(right.priority, &right.name)));
        candidates.extend(providers.into_iter().filter(|record| record.name != relation.name));
        Ok(candidates)
    }

    /// The packages of the archive that satisfy one of the alternatives, the preferred one first.
    pub(super) fn candidates_of_any(&self, alternatives: &[Relation]) -> Result<Vec<Rc<Record>>, IndexError> {
        let mut all: Vec<Rc<Record>> = Vec::new();
        for relation in alternatives {
            for candidate in self.candidates(relation)? {
                if !all.iter().any(|other| other.name == candidate.name) {
                    all.push(candidate);
                }
            }
        }
        Ok(all)
    }

    fn cached(
        &self,
        cache: &Cache,
        origin: Origin,
        name: &str,
        read: impl Fn(&Index, &str) -> Result<Vec<Record>, IndexError>,
    ) -> Result<Records, IndexError> {
        let key = (origin, name.to_owned());
        if let Some(records) = cache.borrow().get(&key) {
            return Ok(Rc::clone(records));
        }
        let index = match origin {
            Origin::Installed => self.universe.installed,
            Origin::Archive => self.universe.archive,
        };
        let records: Records = Rc::new(read(index, name)?.into_iter().map(Rc::new).collect());
        cache.borrow_mut().insert(key, Rc::clone(&records));
        Ok(records)
    }
}
