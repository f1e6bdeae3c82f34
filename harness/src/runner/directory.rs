// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::symlink;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};

/// Where runs are written when nobody says, in the working directory.
const HOME: &str = "loadgauge-runs";
/// The file that marks a directory as a run's, locked while the run goes on.
const MARK: &str = ".loadgauge-run";
/// The link beside the runs that points to the latest.
const LATEST: &str = "latest";

/// The directory of a run, which is this process's alone while the value lives.
#[derive(Debug)]
pub struct RunDirectory {
    path: Utf8PathBuf,
    _lock: File,
}

/// The directory of a run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// there is something in it that no run wrote
    #[error("`{path}` is not empty and is not the directory of an earlier run")]
    Foreign {
        /// the directory
        path: Utf8PathBuf,
    },
    /// another run is writing into it
    #[error("another run is writing to `{path}`")]
    InUse {
        /// the directory
        path: Utf8PathBuf,
    },
    /// the working directory has a name that is not UTF-8
    #[error("the path of the working directory is not UTF-8")]
    NotUtf8,
}

impl Hint for DirectoryError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            Self::Foreign { .. } => {
                Some("name an empty directory, or one that does not exist yet".to_owned())
            }
            Self::InUse { .. } => Some("wait for it to end, or name another directory".to_owned()),
            Self::NotUtf8 => Some("run from a directory whose path is UTF-8".to_owned()),
        }
    }
}

impl RunDirectory {
    /// Makes the directory of a run: the one that was asked for, or a new one of its own in
    /// `loadgauge-runs`, named by time and process and linked as `latest`.
    ///
    /// A directory that was asked for and holds an earlier run is emptied; one that holds anything
    /// else is left alone.
    ///
    /// # Errors
    /// The directory is somebody else's, in use, or cannot be written.
    pub fn create(asked: Option<&Utf8Path>) -> Result<Self, DirectoryError> {
        if let Some(path) = asked {
            return Self::at(path);
        }
        let here = std::env::current_dir().map_err(io_error("find", Utf8Path::new(".")))?;
        let here = Utf8PathBuf::from_path_buf(here).map_err(|_| DirectoryError::NotUtf8)?;
        Self::under(&here.join(HOME))
    }

    /// Makes a new directory among others.
    fn under(home: &Utf8Path) -> Result<Self, DirectoryError> {
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(['-', ':'], "");
        let name = format!("{time}-{}", std::process::id());
        let directory = Self::at(&home.join(&name))?;
        link_latest(home, &name)?;
        Ok(directory)
    }

    fn at(path: &Utf8Path) -> Result<Self, DirectoryError> {
        fs::create_dir_all(path).map_err(io_error("create", path))?;
        // QEMU and whoever reads a report stand elsewhere than this process.
        let path = path.canonicalize_utf8().map_err(io_error("find", path))?;
        let mark = path.join(MARK);
        if !mark.exists() && names(&path)?.next().is_some() {
            return Err(DirectoryError::Foreign { path });
        }
        let lock = File::create(&mark).map_err(io_error("create", &mark))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &mark)(source)),
        }
        for entry in names(&path)?.filter(|entry| entry.file_name() != MARK) {
            remove(entry.path())?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// Where it lies, as an absolute path.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Makes a new directory for a scenario's files: `docker.replace` for `docker/replace`, with a
    /// number behind it where two names come to the same.
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
                Err(source) => return Err(io_error("create", &path)(source)),
            }
        }
    }
}

/// A name that neither leaves a directory nor is hidden in it.
pub(super) fn plain_name(name: &str) -> String {
    let name = name.replace('/', ".");
    let plain = |character: char| character.is_ascii_alphanumeric() || "._-+@".contains(character);
    let name: String = name.chars().map(|character| if plain(character) { character } else { '_' }).collect();
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => name,
    }
}

/// Points `latest` to a run, in one step for whoever reads it. Something else of that name is left.
fn link_latest(home: &Utf8Path, name: &str) -> Result<(), DirectoryError> {
    let latest = home.join(LATEST);
    if latest.symlink_metadata().is_ok_and(|metadata| !metadata.is_symlink()) {
        tracing::warn!(path = %latest, "not a link, and so not pointed to this run");
        return Ok(());
    }
    let beside = home.join(format!(".{LATEST}-{}", std::process::id()));
    symlink(name, &beside).map_err(io_error("link", &beside))?;
    fs::rename(&beside, &latest).map_err(io_error("put in place", &latest))
}

fn names(path: &Utf8Path) -> Result<impl Iterator<Item = camino::Utf8DirEntry>, DirectoryError> {
    Ok(path.read_dir_utf8().map_err(io_error("list", path))?.flatten())
}

fn remove(path: &Utf8Path) -> Result<(), DirectoryError> {
    let is_directory = path.symlink_metadata().map_err(io_error("look at", path))?.is_dir();
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(io_error("remove", path))
}

fn io_error(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::Io { action, path, source }
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
        assert_eq!(fs::read_to_string(home.join(LATEST)).expect("left alone"), "mine");
    }

    #[test]
    fn an_earlier_run_is_replaced_and_anything_else_is_not() {
        let (_scratch, home) = scratch();
        let path = home.join("run");
        let run = RunDirectory::create(Some(&path)).expect("created");
        fs::write(run.scenario("hello").expect("created").join("console.log"), "old").expect("written");
        assert!(matches!(RunDirectory::create(Some(&path)), Err(DirectoryError::InUse { .. })));
        drop(run);
        let again = RunDirectory::create(Some(&path)).expect("an earlier run's");
        assert!(!again.path().join("hello").exists());
        fs::write(home.join("thesis.txt"), "years of work").expect("written");
        let error = RunDirectory::create(Some(&home)).expect_err("somebody else's");
        assert!(matches!(&error, DirectoryError::Foreign { .. }) && error.hint().is_some());
        assert!(home.join("thesis.txt").exists());
    }

    #[test]
    fn a_scenario_stays_in_the_runs_directory() {
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
