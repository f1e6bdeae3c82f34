// SPDX-License-Identifier: Apache-2.0
//! The files of a snapshot, and whether they are still those that were saved.
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::time::SystemTime;

use camino::Utf8Path;
use loadgauge_host::digest::{Inputs, sha256_of_file};
use loadgauge_host::{FileError, fs};
use serde::{Deserialize, Serialize};

/// The size up to which a part is read and compared at each start, in bytes: 1 MiB takes a few milliseconds.
const SMALL: u64 = 1 << 20;
/// How much of a large part is read at a time, in bytes.
const BLOCK: usize = 64 * 1024;

/// A file of a snapshot as it was saved.
///
/// A warm start takes a second, in which the memory cannot be read as well. A large part is therefore
/// recognised by its size and by the time of its last change, and is read only if that time differs, as in a
/// copied cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// bytes
    pub size: u64,
    /// the time of its last change, in nanoseconds since the Unix epoch
    pub modified_ns: u64,
    /// SHA-256 of a part that is compared at each start
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Why a snapshot cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotDamage {
    /// its description is missing or has another format
    #[error("`snapshot.json` cannot be read: {0}")]
    Description(String),
    /// a file is missing
    #[error("`{file}` is missing")]
    Missing {
        /// the name of the file
        file: String,
    },
    /// a file is shorter or longer than the saved one
    #[error("`{file}` has {found} bytes instead of {expected}")]
    Size {
        /// the name of the file
        file: String,
        /// bytes that were saved
        expected: u64,
        /// bytes that were found
        found: u64,
    },
    /// a file has other contents than the saved one
    #[error("the contents of `{file}` have changed")]
    Contents {
        /// the name of the file
        file: String,
    },
    /// the host crashed, and the files may be incomplete
    #[error("the host stopped before the snapshot was on its disk")]
    NotOnDisk,
}

impl SnapshotPart {
    fn of(path: &Utf8Path) -> Result<Self, FileError> {
        let metadata = fs::metadata(path)?;
        let is_small = metadata.len() <= SMALL;
        let sha256 =
            if is_small { Some(sha256_of_file(path).map_err(FileError::at("read", path))?) } else { None };
        let modified = metadata.modified().map_err(FileError::at("examine", path))?;
        Ok(Self { size: metadata.len(), modified_ns: nanoseconds(modified), sha256 })
    }

    /// Checks the presence and the size of a file.
    fn check_size(&self, file: &str, path: &Utf8Path) -> Result<std::fs::Metadata, SnapshotDamage> {
        let missing = || SnapshotDamage::Missing { file: file.to_owned() };
        let metadata = fs::metadata(path).ok().filter(std::fs::Metadata::is_file).ok_or_else(missing)?;
        if metadata.len() == self.size {
            return Ok(metadata);
        }
        Err(SnapshotDamage::Size { file: file.to_owned(), expected: self.size, found: metadata.len() })
    }

    /// Checks the contents of a file; `digest` returns that of a large one.
    fn check(
        &self,
        file: &str,
        path: &Utf8Path,
        digest: impl FnOnce() -> Option<String>,
    ) -> Result<(), SnapshotDamage> {
        let metadata = self.check_size(file, path)?;
        let is_same = match &self.sha256 {
            Some(expected) => sha256_of_file(path).is_ok_and(|found| found == *expected),
            None if metadata.modified().is_ok_and(|time| nanoseconds(time) == self.modified_ns) => true,
            None => digest().is_some_and(|expected| digest_of(path).is_ok_and(|found| found == expected)),
        };
        if is_same { Ok(()) } else { Err(SnapshotDamage::Contents { file: file.to_owned() }) }
    }
}

/// The files in a directory that are parts of a snapshot, by name; `others` are none.
pub(super) fn of_directory(
    directory: &Utf8Path,
    others: &[&str],
) -> Result<BTreeMap<String, SnapshotPart>, FileError> {
    let mut parts = BTreeMap::new();
    for entry in directory.read_dir_utf8().map_err(FileError::at("list", directory))? {
        let entry = entry.map_err(FileError::at("list", directory))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) && !others.contains(&entry.file_name()) {
            parts.insert(entry.file_name().to_owned(), SnapshotPart::of(entry.path())?);
        }
    }
    Ok(parts)
}

/// Checks that all parts are present and have their sizes.
pub(super) fn check_sizes(
    directory: &Utf8Path,
    parts: &BTreeMap<String, SnapshotPart>,
) -> Result<(), SnapshotDamage> {
    parts.iter().try_for_each(|(file, part)| part.check_size(file, &directory.join(file)).map(drop))
}

/// Checks that all parts are those that were saved; `digests` are those of the large parts.
pub(super) fn check(
    directory: &Utf8Path,
    parts: &BTreeMap<String, SnapshotPart>,
    digests: &Utf8Path,
) -> Result<(), SnapshotDamage> {
    // Sizes first, because they cost nothing.
    check_sizes(directory, parts)?;
    let digest = |file: &str| {
        let text = fs::read_to_string(digests).ok()?;
        serde_json::from_str::<BTreeMap<String, String>>(&text).ok()?.remove(file)
    };
    parts.iter().try_for_each(|(file, part)| part.check(file, &directory.join(file), || digest(file)))
}

/// Writes the digests of the large parts to a file.
pub(super) fn write_digests(
    directory: &Utf8Path,
    parts: &BTreeMap<String, SnapshotPart>,
    to: &Utf8Path,
) -> Result<(), FileError> {
    let mut digests = BTreeMap::new();
    for file in parts.iter().filter(|(_, part)| part.sha256.is_none()).map(|(file, _)| file) {
        let path = directory.join(file);
        digests.insert(file.clone(), digest_of(&path).map_err(FileError::at("read", &path))?);
    }
    let text = serde_json::to_vec_pretty(&digests).map_err(io::Error::from);
    fs::write(to, text.map_err(FileError::at("write", to))?)
}

/// SHA-256 of the blocks of a file that are not zero, with their offsets: most of a guest's memory is zero,
/// and a copy may have other holes than the original.
fn digest_of(path: &Utf8Path) -> io::Result<String> {
    let mut file = fs::open_regular(path).map_err(|error| error.source)?;
    let (mut block, zeros) = (vec![0; BLOCK], vec![0; BLOCK]);
    let mut inputs = Inputs::default();
    let mut offset = 0_u64;
    loop {
        let mut filled = 0;
        while filled < BLOCK {
            match file.read(&mut block[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        if block[..filled] != zeros[..filled] {
            inputs.push(offset.to_le_bytes());
            inputs.push(&block[..filled]);
        }
        offset += filled as u64;
        if filled < BLOCK {
            inputs.push(offset.to_le_bytes());
            return Ok(inputs.finish());
        }
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    use camino::Utf8PathBuf;

    use super::*;

    const DIGESTS: &str = "digests";

    /// A directory with a small and a large part.
    fn saved() -> (tempfile::TempDir, Utf8PathBuf, BTreeMap<String, SnapshotPart>) {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
        fs::write(directory.join("console.log"), "hello\n").expect("written");
        let memory = fs::create(directory.join("memory")).expect("created");
        memory.set_len(4 << 20).expect("sized");
        memory.write_all_at(b"kernel", 3 << 20).expect("written");
        let parts = of_directory(&directory, &[DIGESTS]).expect("listed");
        write_digests(&directory, &parts, &directory.join(DIGESTS)).expect("written");
        assert_eq!(parts.keys().collect::<Vec<_>>(), ["console.log", "memory"]);
        (scratch, directory, parts)
    }

    fn damage(directory: &Utf8Path, parts: &BTreeMap<String, SnapshotPart>) -> String {
        let checked = check(directory, parts, &directory.join(DIGESTS));
        checked.err().map(|damage| damage.to_string()).unwrap_or_default()
    }

    /// Writes to a file and gives it the time of its last change again.
    fn overwrite(path: &Utf8Path, bytes: &[u8], keep_time: bool) {
        let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("a time");
        let file = File::options().write(true).open(path).expect("opened");
        file.write_all_at(bytes, 0).expect("written");
        let time = if keep_time { modified } else { modified + std::time::Duration::from_secs(9) };
        file.set_modified(time).expect("set");
    }

    #[test]
    fn every_kind_of_damage_is_found_and_named() {
        let (_scratch, directory, parts) = saved();
        assert_eq!(damage(&directory, &parts), "");
        let (memory, console) = (directory.join("memory"), directory.join("console.log"));
        overwrite(&console, b"jello", true);
        assert_eq!(damage(&directory, &parts), "the contents of `console.log` have changed");
        assert!(check_sizes(&directory, &parts).is_ok(), "its size has not changed");
        overwrite(&console, b"hello", true);
        overwrite(&memory, b"x", false);
        assert_eq!(damage(&directory, &parts), "the contents of `memory` have changed");
        File::options().write(true).open(&memory).and_then(|file| file.set_len(1 << 20)).expect("cut");
        assert_eq!(damage(&directory, &parts), "`memory` has 1048576 bytes instead of 4194304");
        fs::remove_file(&console).expect("removed");
        assert_eq!(damage(&directory, &parts), "`console.log` is missing");
    }

    #[test]
    fn a_large_part_with_another_time_and_the_same_contents_is_the_saved_one() {
        let (_scratch, directory, parts) = saved();
        overwrite(&directory.join("memory"), b"\0", false);
        assert_eq!(damage(&directory, &parts), "");
        fs::remove_file(directory.join(DIGESTS)).expect("removed");
        assert_eq!(damage(&directory, &parts), "the contents of `memory` have changed", "nothing proves it");
    }
}
