// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Store;

use crate::machine::Accelerator;

/// How many scenarios are remembered: a catalogue has some dozens, and a file must not grow for ever.
const MOST: usize = 10_000;

/// How long scenarios took when they last passed, kept in the store so that the next run starts the
/// longest first. It is advice: where it is missing or damaged, nothing is known.
#[derive(Debug, Clone)]
pub struct Timings {
    directory: Utf8PathBuf,
    accelerator: Accelerator,
}

impl Timings {
    /// Those of an accelerator, since one is many times faster than the other.
    pub fn of(store: &Store, accelerator: Accelerator) -> Self {
        Self { directory: store.root().join("timings"), accelerator }
    }

    /// How long each scenario is expected to take.
    pub fn expected(&self) -> BTreeMap<String, Duration> {
        let known = read(&self.file());
        known.into_iter().map(|(name, ms)| (name, Duration::from_millis(ms))).collect()
    }

    /// Adds what was measured, in milliseconds. Other runs may do the same at the same time.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remember(&self, measured: &BTreeMap<String, u64>) -> io::Result<()> {
        if measured.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(&self.directory)?;
        let lock = File::create(self.directory.join(".lock"))?;
        lock.lock()?;
        let file = self.file();
        let mut known = read(&file);
        if known.len() + measured.len() > MOST {
            known.clear();
        }
        known.extend(measured.iter().map(|(name, ms)| (name.clone(), *ms)));
        let beside = Utf8PathBuf::from(format!("{file}.part"));
        fs::write(&beside, serde_json::to_vec_pretty(&known)?)?;
        fs::rename(&beside, &file)
    }

    fn file(&self) -> Utf8PathBuf {
        let name = match self.accelerator {
            Accelerator::Kvm => "kvm.json",
            Accelerator::Tcg => "tcg.json",
        };
        self.directory.join(name)
    }
}

fn read(path: &Utf8Path) -> BTreeMap<String, u64> {
    let Ok(text) = fs::read(path) else { return BTreeMap::new() };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(%path, %error, "the times of earlier runs cannot be read and are forgotten");
        BTreeMap::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_known_later_and_damage_is_forgotten() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8"));
        let timings = Timings::of(&store, Accelerator::Tcg);
        assert!(timings.expected().is_empty());
        let measured = |name: &str, ms| BTreeMap::from([(name.to_owned(), ms)]);
        timings.remember(&measured("hello", 1500)).expect("written");
        timings.remember(&measured("other", 700)).expect("written");
        timings.remember(&measured("hello", 2500)).expect("written");
        let expected = timings.expected();
        assert_eq!(expected.get("hello"), Some(&Duration::from_millis(2500)));
        assert_eq!(expected.len(), 2);
        assert!(Timings::of(&store, Accelerator::Kvm).expected().is_empty());
        fs::write(timings.file(), "{\"hello\":").expect("written");
        assert!(timings.expected().is_empty());
    }
}
