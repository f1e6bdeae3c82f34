// SPDX-License-Identifier: Apache-2.0
//! The functions of [`std::fs`], with errors that name the operation and the file.
//!
//! Clippy refuses the originals everywhere else in the workspace (`clippy.toml`).
#![expect(clippy::disallowed_methods, reason = "this is the module that wraps them")]
use std::fs::{self, File, Metadata, Permissions, ReadDir};
use std::io;
use std::path::{Path, PathBuf};

use crate::FileError;

type Result<T> = std::result::Result<T, FileError>;

/// Defines a function of one path.
macro_rules! of_one_path {
    ($($(#[$documentation:meta])* $name:ident($action:literal) -> $output:ty = $function:expr;)*) => {
        $($(#[$documentation])*
        ///
        /// # Errors
        /// The operating system refuses; the error names the file.
        pub fn $name(path: impl AsRef<Path>) -> Result<$output> {
            let path = path.as_ref();
            $function(path).map_err(FileError::at($action, path))
        })*
    };
}

of_one_path! {
    /// Reads a whole file.
    read("read") -> Vec<u8> = fs::read;
    /// Reads a whole file of UTF-8. The error about other bytes has their line and column.
    read_to_string("read") -> String = read_utf8;
    /// Opens a file for reading.
    open("open") -> File = File::open;
    /// Opens a file for writing, and creates or empties it.
    create("create") -> File = File::create;
    /// Creates a directory, whose parent must exist.
    create_dir("create") -> () = fs::create_dir;
    /// Creates a directory and the missing ones above it.
    create_dir_all("create") -> () = fs::create_dir_all;
    /// Lists a directory.
    read_dir("list") -> ReadDir = fs::read_dir;
    /// Reads the target of a symbolic link.
    read_link("read the link") -> PathBuf = fs::read_link;
    /// Resolves a path to one without links and `..`.
    canonicalize("resolve") -> PathBuf = fs::canonicalize;
    /// Reads the metadata of a file, following links.
    metadata("examine") -> Metadata = fs::metadata;
    /// Reads the metadata of a file or of the link itself.
    symlink_metadata("examine") -> Metadata = fs::symlink_metadata;
    /// Removes a file or a link.
    remove_file("remove") -> () = fs::remove_file;
    /// Removes an empty directory.
    remove_dir("remove") -> () = fs::remove_dir;
    /// Removes a directory with everything in it.
    remove_dir_all("remove") -> () = fs::remove_dir_all;
}

/// Reads a file of UTF-8.
fn read_utf8(path: &Path) -> io::Result<String> {
    String::from_utf8(fs::read(path)?).map_err(|error| {
        let (before, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let before = String::from_utf8_lossy(before);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let byte = rest.first().copied().unwrap_or_default();
        let message = format!("line {line}, column {column}: the byte {byte:#04x} is not UTF-8");
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

/// Defines a function of a source and a target, whose error names the target.
macro_rules! of_two_paths {
    ($($(#[$documentation:meta])* $name:ident($action:literal) -> $output:ty = $function:expr;)*) => {
        $($(#[$documentation])*
        ///
        /// # Errors
        /// The operating system refuses; the error names the target.
        pub fn $name(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<$output> {
            let to = to.as_ref();
            $function(from.as_ref(), to).map_err(FileError::at($action, to))
        })*
    };
}

of_two_paths! {
    /// Copies the contents and the mode of a file.
    copy("copy to") -> u64 = fs::copy;
    /// Renames a file or directory, and replaces the target.
    rename("rename to") -> () = fs::rename;
    /// Creates another name for a file.
    hard_link("link") -> () = fs::hard_link;
    /// Creates a symbolic link that leads to `from`.
    symlink("create the link") -> () = std::os::unix::fs::symlink;
}

/// Writes a whole file, and creates or replaces it.
///
/// # Errors
/// The operating system refuses; the error names the file.
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    fs::write(path, contents).map_err(FileError::at("write", path))
}

/// Opens a regular file for reading. Opening a FIFO would block, and a device may never end.
///
/// # Errors
/// The operating system refuses, or the path is something else than a file; the error names it.
pub fn open_regular(path: impl AsRef<Path>) -> Result<File> {
    let path = path.as_ref();
    if !metadata(path)?.is_file() {
        return Err(FileError::at("open", path)(io::Error::other("it is not a regular file")));
    }
    open(path)
}

/// Changes the mode of a file.
///
/// # Errors
/// The operating system refuses; the error names the file.
pub fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> Result<()> {
    let path = path.as_ref();
    fs::set_permissions(path, permissions).map_err(FileError::at("change the mode of", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hint as _;
    use crate::error::on_one_line;

    #[test]
    fn special_files_are_refused_without_being_opened() {
        let error = open_regular("/dev/zero").expect_err("a device");
        assert_eq!(on_one_line(&error), "cannot open `/dev/zero`: it is not a regular file");
        assert!(open_regular("/proc/self/exe").is_ok());
    }

    #[test]
    fn text_that_is_not_utf8_has_a_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("latin1");
        fs::write(&path, b"a\nb\xc3\xa9 = \"\xe9\"\n").expect("written");
        let error = read_to_string(&path).expect_err("not UTF-8");
        assert_eq!(error.source.to_string(), "line 2, column 7: the byte 0xe9 is not UTF-8");
        assert_eq!(error.hint().as_deref(), Some("save the file as UTF-8"));
    }

    #[test]
    fn errors_name_the_operation_and_the_file() {
        let error = read_to_string("/nowhere/at/all").expect_err("absent");
        assert_eq!(
            on_one_line(&error),
            "cannot read `/nowhere/at/all`: No such file or directory (os error 2)"
        );
        let error = symlink("/target", "/nowhere/link").expect_err("absent");
        assert!(on_one_line(&error).starts_with("cannot create the link `/nowhere/link`: "), "{error}");
    }
}
