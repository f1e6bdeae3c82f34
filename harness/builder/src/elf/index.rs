// SPDX-License-Identifier: Apache-2.0
//! The libraries of a base, read out of its squashfs once and kept.
use loadgauge_host::Hint;
use std::fs::{self, File};
use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{CommandError, CommandExt as _, Entry, MissingTool, Store, StoreError, Tool};
use loadgauge_images::Architecture;

use super::libraries::Libraries;
use super::object::{MAGIC, Object};
use crate::member::merge_usr;
use loadgauge_host::digest;

/// Rises when more or something else is read from a base.
const FORMAT: &str = "1";
/// The file of an entry.
const INDEX: &str = "libraries.json";
/// What is read of a base: where libraries lie, and what the loader's cache is made from.
const PLACES: [&str; 7] = ["usr/lib", "usr/lib32", "usr/lib64", "usr/libexec", "lib", "lib64", "etc"];
/// What says which directories the loader's cache is made from (ldconfig(8)).
const CONFIGURATION: &str = "etc/ld.so.conf";

/// A base whose libraries cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// the host has no unsquashfs
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// unsquashfs said no
    #[error("cannot read the libraries in `{path}`")]
    Command {
        /// the squashfs
        path: Utf8PathBuf,
        /// its own words
        source: CommandError,
    },
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
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IndexError {
    fn io(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Hint for IndexError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(error) => error.hint(),
            _ => None,
        }
    }
}

/// The libraries of a base: a directory that is its root, or the squashfs of one. `key` changes
/// whenever the base does; what is found is kept under it.
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
            let text = fs::read(&path).map_err(IndexError::io("read", &path))?;
            return serde_json::from_slice(&text)
                .map_err(|error| IndexError::io("read", &path)(error.into()));
        }
        Entry::Vacant(vacancy) => vacancy,
    };
    let scratch = vacancy.directory().join("root");
    let found = if root.is_dir() {
        of_root(root, architecture)?
    } else {
        unpack(root, &scratch)?;
        let found = of_root(&scratch, architecture)?;
        fs::remove_dir_all(&scratch).map_err(IndexError::io("remove", &scratch))?;
        found
    };
    let path = vacancy.directory().join(INDEX);
    let text = serde_json::to_vec(&found).map_err(|error| IndexError::io("write", &path)(error.into()))?;
    fs::write(&path, text).map_err(IndexError::io("write", &path))?;
    vacancy.commit()?;
    Ok(found)
}

fn unpack(squashfs: &Utf8Path, target: &Utf8Path) -> Result<(), IndexError> {
    let mut command = Tool::find("unsquashfs")?.command();
    command.args(["-no-progress", "-no-xattrs", "-quiet", "-dest"]).arg(target);
    command.arg(squashfs).args(PLACES);
    command.run().map_err(|source| IndexError::Command { path: squashfs.to_owned(), source })?;
    Ok(())
}

/// The libraries of a root, where its loader looks, and what its cache is made from.
fn of_root(root: &Utf8Path, architecture: Architecture) -> Result<Libraries, IndexError> {
    let mut found = Libraries::default();
    let mut links = Vec::new();
    for place in PLACES.iter().filter(|place| **place != "etc") {
        // On a system where /lib is a link, the walk ends at it.
        for entry in walkdir::WalkDir::new(root.join(place)).sort_by_file_name() {
            let Ok(entry) = entry else { continue };
            let Some(path) = Utf8Path::from_path(entry.path()) else { continue };
            let relative = path.strip_prefix(root).unwrap_or(path);
            if entry.path_is_symlink() {
                let target = path.read_link_utf8().map_err(IndexError::io("read", path))?;
                links.push((relative.to_owned(), target));
            } else if entry.file_type().is_file()
                && let Some(object) = read(path, architecture)?
            {
                found.add(&merge_usr(relative), &object);
            }
        }
    }
    found.add_links(&links);
    found.find_directories();
    found.cached = cached(root);
    Ok(found)
}

/// What a file needs and offers; nothing of one that is no ELF file, or a broken one: what the base has
/// is as it is.
fn read(path: &Utf8Path, architecture: Architecture) -> Result<Option<Object>, IndexError> {
    let mut data = Vec::new();
    let mut file = File::open(path).map_err(IndexError::io("open", path))?;
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut data).map_err(IndexError::io("read", path))?;
    if data != MAGIC {
        return Ok(None);
    }
    file.read_to_end(&mut data).map_err(IndexError::io("read", path))?;
    Ok(Object::read(&data, architecture).ok().flatten())
}

/// The directories that `ld.so.conf` and what it includes name. A glob it includes by is one of a
/// directory's files, as `/etc/ld.so.conf.d/*.conf` everywhere is.
fn cached(root: &Utf8Path) -> std::collections::BTreeSet<Utf8PathBuf> {
    let mut texts = vec![fs::read_to_string(root.join(CONFIGURATION)).unwrap_or_default()];
    let includes = root.join("etc/ld.so.conf.d");
    for entry in includes.read_dir_utf8().into_iter().flatten().flatten() {
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
    use super::*;

    /// A root with the host's libc, a library that only the cache has, and a link to a directory.
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
            of_squashfs.get("usr/lib64".into(), "libc.so.6").is_some_and(|found| !found.versions.is_empty())
        );
        assert!(of_squashfs.get("usr/lib/too".into(), "libhere.so.1").is_some());
        assert!(of_squashfs.in_cache("libhere.so.1").is_some());
        assert!(of_squashfs.in_cache("libc.so.6").is_none(), "the loader looks there itself");
        assert!(of_squashfs.places("script.so").is_empty());
    }

    #[test]
    fn what_is_no_squashfs_is_told() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let file = directory.join("base.squashfs");
        fs::write(&file, "no").expect("written");
        let error = of_base(&file, "x", Architecture::Amd64, &Store::at(directory.join("cache")));
        assert!(matches!(error, Err(IndexError::Command { .. })), "{error:?}");
    }
}
