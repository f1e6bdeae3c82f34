// SPDX-License-Identifier: Apache-2.0
use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};

use super::select::FilePattern;

/// The largest text file that is read, in bytes.
const LARGEST_TEXT: u64 = 1 << 20;

/// A tree of files that were extracted from an image; links that lead out of it are not followed.
#[derive(Debug)]
pub struct Tree {
    root: Utf8PathBuf,
}

impl Tree {
    /// Opens the tree in a directory.
    ///
    /// # Errors
    /// The directory does not exist, or its path is not UTF-8.
    pub fn at(root: &Utf8Path) -> Result<Self, FileError> {
        let root = root.canonicalize_utf8().map_err(FileError::at("resolve", root))?;
        Ok(Self { root })
    }

    /// Returns the directory of the tree.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// Resolves a path of the tree to a path of the host, if it exists and is in the tree.
    pub fn find(&self, path: &str) -> Option<Utf8PathBuf> {
        self.root.join(path).canonicalize_utf8().ok().filter(|found| found.starts_with(&self.root))
    }

    /// Reads a small text file, if it exists.
    ///
    /// # Errors
    /// The file is larger than 1 MiB or not UTF-8.
    pub fn text(&self, path: &str) -> Result<Option<String>, FileError> {
        let Some(found) = self.find(path).filter(|found| found.is_file()) else { return Ok(None) };
        let mut text = String::new();
        let file = fs::open(&found)?;
        file.take(LARGEST_TEXT + 1).read_to_string(&mut text).map_err(FileError::at("read", &found))?;
        if text.len() as u64 > LARGEST_TEXT {
            return Err(FileError::at("read", &found)(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(Some(text))
    }

    /// Returns the sorted names of the regular files that match a pattern.
    pub fn names(&self, pattern: FilePattern) -> Vec<String> {
        let Some(directory) = self.find(pattern.directory) else { return Vec::new() };
        let entries = directory.read_dir_utf8().into_iter().flatten().flatten();
        // Reading a FIFO, which an image may also contain, would block.
        let entries = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_owned()).filter(|name| pattern.matches(name)).collect();
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_large_is_refused() {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let tree = Tree::at(root).expect("there");
        std::fs::write(root.join("text"), vec![b'x'; 1 << 20]).expect("written");
        assert_eq!(tree.text("text").expect("read").map(|text| text.len()), Some(1 << 20));
        std::fs::write(root.join("text"), vec![b'x'; (1 << 20) + 1]).expect("written");
        assert_eq!(tree.text("text").expect_err("too large").kind(), io::ErrorKind::FileTooLarge);
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).expect("linked");
        assert_eq!(tree.text("link").expect("nothing"), None);
    }
}
