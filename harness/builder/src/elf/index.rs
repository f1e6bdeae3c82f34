// SPDX-License-Identifier: Apache-2.0
//! The libraries of a base, read from its squashfs once and stored.
use std::collections::BTreeSet;
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{
    CommandError, CommandExt as _, Entry, FileError, Hint, MissingTool, Store, StoreError, Tool, digest, fs,
};
use loadgauge_images::Architecture;

use super::libraries::Libraries;
use super::object::{MAGIC, Object};
use crate::member::merge_usr;

/// Version of the stored index; to be increased when its contents change.
const FORMAT: &str = "2";
/// The file of a store entry.
const INDEX: &str = "libraries.json";
/// Directories with libraries.
const LIBRARY_DIRECTORIES: [&str; 6] = ["usr/lib", "usr/lib32", "usr/lib64", "usr/libexec", "lib", "lib64"];
/// The directory with the configuration of ldconfig(8).
const CONFIGURATION_DIRECTORY: &str = "etc";
/// The directories that are in `ld.so.cache`, one on a line.
const CONFIGURATION: &str = "etc/ld.so.conf";
/// Further files of that form: `include /etc/ld.so.conf.d/*.conf` in every distribution.
const INCLUDED: &str = "etc/ld.so.conf.d";

/// A base whose libraries cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// the host has no unsquashfs
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// unsquashfs failed
    #[error("cannot read the libraries in `{path}`")]
    Command {
        /// the squashfs
        path: Utf8PathBuf,
        /// the failure of unsquashfs
        source: CommandError,
    },
    /// a file cannot be read or written
    #[error(transparent)]
    File(#[from] FileError),
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hint for IndexError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Command { .. } | Self::Store(_) => None,
        }
    }
}

/// Reads the libraries of a base: a root directory, or the squashfs of one.
///
/// The result is stored under `key`, which must change whenever the base does.
///
/// # Errors
/// See [`IndexError`].
pub fn of_base(
    root: &Utf8Path,
    key: &str,
    architecture: Architecture,
    store: &Store,
) -> Result<Libraries, IndexError> {
    let key = digest::of_parts([FORMAT, key, architecture.systemd_name()]);
    let vacancy = match store.entry("libraries", &key)? {
        Entry::Ready(directory) => {
            let path = directory.join(INDEX);
            return Ok(serde_json::from_slice(&fs::read(&path)?)
                .map_err(|error| FileError::at("read", &path)(error.into()))?);
        }
        Entry::Vacant(vacancy) => vacancy,
    };
    let libraries = if root.is_dir() {
        of_root(root, architecture)?
    } else {
        let unpacked = vacancy.directory().join("root");
        unpack(root, &unpacked)?;
        let libraries = of_root(&unpacked, architecture)?;
        fs::remove_dir_all(&unpacked)?;
        libraries
    };
    let path = vacancy.directory().join(INDEX);
    let text = serde_json::to_vec(&libraries).map_err(|error| FileError::at("write", &path)(error.into()))?;
    fs::write(&path, text)?;
    vacancy.commit()?;
    Ok(libraries)
}

fn unpack(squashfs: &Utf8Path, target: &Utf8Path) -> Result<(), IndexError> {
    let mut command = Tool::find("unsquashfs")?.command();
    command.args(["-no-progress", "-no-xattrs", "-quiet", "-dest"]).arg(target);
    command.arg(squashfs).args(LIBRARY_DIRECTORIES).arg(CONFIGURATION_DIRECTORY);
    command.run().map_err(|source| IndexError::Command { path: squashfs.to_owned(), source })?;
    Ok(())
}

/// The libraries and the search path of a root.
fn of_root(root: &Utf8Path, architecture: Architecture) -> Result<Libraries, FileError> {
    let mut libraries = Libraries::default();
    let mut links = Vec::new();
    for directory in LIBRARY_DIRECTORIES {
        // Where /lib is a link to usr/lib, the walk does not follow it.
        for entry in walkdir::WalkDir::new(root.join(directory)).sort_by_file_name() {
            let Ok(entry) = entry else { continue };
            let Some(path) = Utf8Path::from_path(entry.path()) else { continue };
            let relative = path.strip_prefix(root).unwrap_or(path);
            if entry.path_is_symlink() {
                let target = path.read_link_utf8().map_err(FileError::at("read the link", path))?;
                links.push((relative.to_owned(), target));
            } else if entry.file_type().is_file()
                && let Some(object) = read_object(path, architecture)?
            {
                libraries.add(&merge_usr(relative), &object);
            }
        }
    }
    libraries.add_links(&links);
    libraries.set_search_directories();
    libraries.cache_directories = cache_directories(root);
    Ok(libraries)
}

/// Reads an ELF file; `None` where it is another file or a damaged one, since a base is not ours to fix.
fn read_object(path: &Utf8Path, architecture: Architecture) -> Result<Option<Object>, FileError> {
    let failed = FileError::at;
    let mut data = Vec::new();
    let mut file = fs::open(path)?;
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut data).map_err(failed("read", path))?;
    if data != MAGIC {
        return Ok(None);
    }
    file.read_to_end(&mut data).map_err(failed("read", path))?;
    Ok(Object::read(&data, architecture).ok().flatten())
}

/// The directories in `ld.so.conf` and in the files that it includes.
fn cache_directories(root: &Utf8Path) -> BTreeSet<Utf8PathBuf> {
    let mut texts = vec![fs::read_to_string(root.join(CONFIGURATION)).unwrap_or_default()];
    for entry in root.join(INCLUDED).read_dir_utf8().into_iter().flatten().flatten() {
        if entry.path().extension() == Some("conf") {
            texts.push(fs::read_to_string(entry.path()).unwrap_or_default());
        }
    }
    let lines = texts.iter().flat_map(|text| text.lines());
    let directories = lines.filter_map(|line| line.trim().strip_prefix('/'));
    directories.map(|directory| merge_usr(Utf8Path::new(directory.trim_end_matches('/')))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A root with the host's libc, a library that is only in the loader's cache, and a link to a directory.
    fn root(directory: &Utf8Path) -> Utf8PathBuf {
        let root = directory.join("root");
        for place in ["usr/lib64", "usr/lib/only", "etc/ld.so.conf.d"] {
            fs::create_dir_all(root.join(place)).expect("made");
        }
        let libc = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6"];
        let libc = libc.iter().find(|path| Utf8Path::new(path).exists()).expect("a libc");
        fs::copy(libc, root.join("usr/lib64/libc.so.6")).expect("copied");
        fs::copy(libc, root.join("usr/lib/only/libhere.so.1.0")).expect("copied");
        std::os::unix::fs::symlink("libhere.so.1.0", root.join("usr/lib/only/libhere.so.1")).expect("linked");
        std::os::unix::fs::symlink("only", root.join("usr/lib/too")).expect("linked");
        fs::write(root.join("usr/lib/script.so"), "not a library").expect("written");
        fs::write(root.join("etc/ld.so.conf.d/only.conf"), "# a comment\n/lib/only/\n").expect("written");
        root
    }

    #[test]
    fn a_directory_and_its_squashfs_have_the_same_libraries() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let root = root(directory);
        let squashfs = directory.join("base.squashfs");
        let mut command = Tool::find("mksquashfs").expect("on the host").command();
        command.args([&root, &squashfs]).args(["-quiet", "-no-progress"]);
        command.run().expect("packed");
        let host = if cfg!(target_arch = "aarch64") { Architecture::Arm64 } else { Architecture::Amd64 };
        let store = Store::at(directory.join("cache"));
        let of_directory = of_base(&root, "directory", host, &store).expect("read");
        let of_squashfs = of_base(&squashfs, "squashfs", host, &store).expect("read");
        assert_eq!(of_directory, of_squashfs);
        fs::remove_file(&squashfs).expect("removed");
        assert_eq!(of_base(&squashfs, "squashfs", host, &store).expect("kept"), of_squashfs);
        assert!(
            of_squashfs
                .in_directory("usr/lib64".into(), "libc.so.6")
                .is_some_and(|found| !found.versions.is_empty())
        );
        assert!(of_squashfs.in_directory("usr/lib/too".into(), "libhere.so.1").is_some());
        assert!(of_squashfs.in_cache("libhere.so.1").is_some());
        assert!(of_squashfs.in_cache("libc.so.6").is_none(), "the loader searches its directory by default");
        assert!(of_squashfs.paths_of("script.so").is_empty());
    }

    #[test]
    fn a_file_that_is_not_a_squashfs_is_refused() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let file = directory.join("base.squashfs");
        fs::write(&file, "no").expect("written");
        let error = of_base(&file, "x", Architecture::Amd64, &Store::at(directory.join("cache")));
        assert!(matches!(error, Err(IndexError::Command { .. })), "{error:?}");
    }
}
