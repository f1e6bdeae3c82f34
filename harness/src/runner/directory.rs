// SPDX-License-Identifier: Apache-2.0
use std::fs::{File, TryLockError};
use std::io;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, fs};

/// The default directory of runs, in the working directory.
const HOME: &str = "loadgauge-runs";
/// The file that marks the directory of a run; locked during the run.
const MARK: &str = ".loadgauge-run";
/// The link to the latest run, next to the runs.
const LATEST: &str = "latest";

/// The directory of a run. No other process uses it while the value exists.
#[derive(Debug)]
pub struct RunDirectory {
    path: Utf8PathBuf,
    _lock: File,
}

/// The directory of a run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// it contains files that no run wrote
    #[error("`{path}` is not empty and is not the directory of an earlier run")]
    Foreign {
        /// the directory
        path: Utf8PathBuf,
    },
    /// another run is using it
    #[error("another run is writing to `{path}`")]
    InUse {
        /// the directory
        path: Utf8PathBuf,
    },
    /// the path of the working directory is not UTF-8
    #[error("the path of the working directory is not UTF-8")]
    NotUtf8,
}

impl Hint for DirectoryError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Foreign { .. } => Some("name an empty directory, or one that does not exist".to_owned()),
            Self::InUse { .. } => Some("wait for it to end, or name another directory".to_owned()),
            Self::NotUtf8 => Some("run from a directory whose path is UTF-8".to_owned()),
        }
    }
}

impl RunDirectory {
    /// Creates the directory of a run: `wanted`, or a new one in `loadgauge-runs`, named after time and
    /// process and linked as `latest`.
    ///
    /// If `wanted` contains an earlier run it is emptied; other files are never removed.
    ///
    /// # Errors
    /// The directory contains other files, is in use, or cannot be written.
    pub fn create(wanted: Option<&Utf8Path>) -> Result<Self, DirectoryError> {
        if let Some(path) = wanted {
            return Self::at(path);
        }
        let here = std::env::current_dir().map_err(FileError::at("find", "."))?;
        let here = Utf8PathBuf::from_path_buf(here).map_err(|_| DirectoryError::NotUtf8)?;
        Self::under(&here.join(HOME))
    }

    /// Creates a new directory among those of other runs.
    fn under(home: &Utf8Path) -> Result<Self, DirectoryError> {
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(['-', ':'], "");
        let name = format!("{time}-{}", std::process::id());
        let directory = Self::at(&home.join(&name))?;
        link_latest(home, &name)?;
        Ok(directory)
    }

    fn at(path: &Utf8Path) -> Result<Self, DirectoryError> {
        fs::create_dir_all(path)?;
        // Other processes, such as QEMU, have other working directories.
        let path = path.canonicalize_utf8().map_err(FileError::at("resolve", path))?;
        let mark = path.join(MARK);
        if !mark.exists() && names(&path)?.next().is_some() {
            return Err(DirectoryError::Foreign { path });
        }
        let lock = fs::create(&mark)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(FileError::at("lock", &mark)(source).into()),
        }
        for entry in names(&path)?.filter(|entry| entry.file_name() != MARK) {
            remove(entry.path())?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// The absolute path.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Creates a new directory for the files of a scenario: `docker.replace` for `docker/replace`, with a
    /// number if the directory exists.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn scenario(&self, name: &str) -> Result<Utf8PathBuf, DirectoryError> {
        let plain = self.path.join(plain_name(name));
        let mut path = plain.clone();
        let mut number = 1;
        loop {
            match fs::create_dir(&path) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    number += 1;
                    path = Utf8PathBuf::from(format!("{plain}-{number}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The name of a directory that cannot lead out of its parent and is not hidden.
pub(super) fn plain_name(name: &str) -> String {
    let name = name.replace('/', ".");
    let plain = |character: char| character.is_ascii_alphanumeric() || "._-+@".contains(character);
    let name: String = name.chars().map(|character| if plain(character) { character } else { '_' }).collect();
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => name,
    }
}

/// Points `latest` to a run atomically. A file that is not a link is left unchanged.
fn link_latest(home: &Utf8Path, name: &str) -> Result<(), DirectoryError> {
    let latest = home.join(LATEST);
    if latest.symlink_metadata().is_ok_and(|metadata| !metadata.is_symlink()) {
        tracing::warn!(path = %latest, "not a link, so it was not changed to lead to this run");
        return Ok(());
    }
    let new = home.join(format!(".{LATEST}-{}", std::process::id()));
    fs::symlink(name, &new)?;
    Ok(fs::rename(&new, &latest)?)
}

fn names(path: &Utf8Path) -> Result<impl Iterator<Item = camino::Utf8DirEntry>, DirectoryError> {
    Ok(path.read_dir_utf8().map_err(FileError::at("list", path))?.flatten())
}

fn remove(path: &Utf8Path) -> Result<(), FileError> {
    let is_directory = fs::symlink_metadata(path)?.is_dir();
    if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        (directory, path)
    }

    #[test]
    fn a_new_run_is_the_latest() {
        let (_scratch, home) = scratch();
        let first = RunDirectory::under(&home).expect("created");
        let latest = home.join(LATEST).canonicalize_utf8().expect("a link");
        assert_eq!(latest, first.path());
        drop(first);
        fs::remove_file(home.join(LATEST)).expect("removed");
        fs::write(home.join(LATEST), "mine").expect("written");
        RunDirectory::under(&home).expect("created");
        assert_eq!(fs::read_to_string(home.join(LATEST)).expect("unchanged"), "mine");
    }

    #[test]
    fn an_earlier_run_is_replaced_and_other_files_are_not() {
        let (_scratch, home) = scratch();
        let path = home.join("run");
        let run = RunDirectory::create(Some(&path)).expect("created");
        fs::write(run.scenario("hello").expect("created").join("console.log"), "old").expect("written");
        assert!(matches!(RunDirectory::create(Some(&path)), Err(DirectoryError::InUse { .. })));
        drop(run);
        let again = RunDirectory::create(Some(&path)).expect("an earlier run's");
        assert!(!again.path().join("hello").exists());
        fs::write(home.join("thesis.txt"), "years of work").expect("written");
        let error = RunDirectory::create(Some(&home)).expect_err("other files");
        assert!(matches!(&error, DirectoryError::Foreign { .. }) && error.hint().is_some());
        assert!(home.join("thesis.txt").exists());
    }

    #[test]
    fn names_of_directories_stay_in_the_directory_of_the_run() {
        assert_eq!(plain_name("docker/vendor"), "docker.vendor");
        assert_eq!(plain_name("hello@2"), "hello@2");
        assert_eq!(plain_name("../../etc"), "_.....etc");
        assert_eq!(plain_name(".."), "_.");
    }

    #[test]
    fn two_scenarios_never_share_a_directory() {
        let (_scratch, home) = scratch();
        let run = RunDirectory::under(&home).expect("created");
        let paths = ["a/b", "a.b", "a/b"].map(|name| run.scenario(name).expect("created"));
        assert_eq!(
            paths.map(|path| path.file_name().map(str::to_owned)),
            ["a.b", "a.b-2", "a.b-3"].map(|name| Some(name.to_owned()))
        );
    }
}
