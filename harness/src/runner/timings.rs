// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Store, fs};

use crate::machine::Accelerator;

/// Limit of the scenarios in the file, so that it does not grow without bound.
const MOST: usize = 10_000;

/// The durations of scenarios when they last passed, in the store, so that the next run starts the slowest
/// first. A missing or damaged file is the same as an empty one.
#[derive(Debug, Clone)]
pub struct Timings {
    directory: Utf8PathBuf,
    accelerator: Accelerator,
}

impl Timings {
    /// The durations under an accelerator, since KVM is many times faster than TCG.
    pub fn of(store: &Store, accelerator: Accelerator) -> Self {
        Self { directory: store.root().join("timings"), accelerator }
    }

    /// The expected duration of each scenario, by name.
    pub fn expected(&self) -> BTreeMap<String, Duration> {
        let known = read(&self.file());
        known.into_iter().map(|(name, ms)| (name, Duration::from_millis(ms))).collect()
    }

    /// Adds measured durations in milliseconds. Concurrent runs can do the same.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remember(&self, measured: &BTreeMap<String, u64>) -> Result<(), FileError> {
        if measured.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(&self.directory)?;
        let path = self.directory.join(".lock");
        let lock = fs::create(&path)?;
        lock.lock().map_err(FileError::at("lock", &path))?;
        let file = self.file();
        let mut known = read(&file);
        if known.len() + measured.len() > MOST {
            known.clear();
        }
        known.extend(measured.iter().map(|(name, ms)| (name.clone(), *ms)));
        let part = Utf8PathBuf::from(format!("{file}.part"));
        let json = serde_json::to_vec_pretty(&known).map_err(io::Error::from);
        fs::write(&part, json.map_err(FileError::at("write", &part))?)?;
        fs::rename(&part, &file)
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
        tracing::warn!(%path, %error, "ignoring the durations of earlier runs, which cannot be read");
        BTreeMap::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_remembered_and_a_damaged_file_is_ignored() {
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
