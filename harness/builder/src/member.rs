// SPDX-License-Identifier: Apache-2.0
//! Names of archive members and of files in foreign directories.
use camino::{Utf8Path, Utf8PathBuf};

/// A name that cannot be used in an extension.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// it is not UTF-8
    #[error("`{0}` is not UTF-8")]
    NotUtf8(String),
    /// it has a control character, which breaks listings and tools
    #[error("`{0}` contains a control character")]
    Control(String),
    /// it is absolute
    #[error("`{0}` is an absolute path")]
    Absolute(String),
    /// it leaves the tree
    #[error("`{0}` leads out of the tree")]
    Upwards(String),
}

/// The path of an archive member relative to the root; empty for the root itself.
///
/// # Errors
/// The name cannot be unpacked safely.
pub(super) fn member_path(name: &[u8]) -> Result<Utf8PathBuf, NameError> {
    let text = text(name)?;
    if text.starts_with('/') {
        return Err(NameError::Absolute(text));
    }
    let mut path = Utf8PathBuf::new();
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(NameError::Upwards(text));
        }
        path.push(part);
    }
    Ok(path)
}

/// The target of a symbolic link at `path`. An absolute target is resolved in the guest; a relative one must
/// not lead above the root.
///
/// # Errors
/// The target is not UTF-8, or leads above the root.
pub(super) fn link_target(path: &Utf8Path, target: &[u8]) -> Result<String, NameError> {
    let target = text(target)?;
    let mut depth = path.components().count().saturating_sub(1);
    if !target.starts_with('/') {
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." => depth = depth.checked_sub(1).ok_or_else(|| NameError::Upwards(target.clone()))?,
                _ => depth += 1,
            }
        }
    }
    Ok(target)
}

/// An absolute path relative to the root.
pub(super) fn below_root(path: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(path.trim_start_matches('/'))
}

/// The path of a file on a system whose /bin, /sbin and /lib* are links into /usr.
pub(super) fn merge_usr(path: &Utf8Path) -> Utf8PathBuf {
    match path.components().next().map(|first| first.as_str()) {
        Some("bin" | "sbin" | "lib" | "lib32" | "lib64" | "libx32") => Utf8Path::new("usr").join(path),
        _ => path.to_owned(),
    }
}

fn text(bytes: &[u8]) -> Result<String, NameError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| NameError::NotUtf8(String::from_utf8_lossy(bytes).escape_debug().to_string()))?;
    if text.chars().any(char::is_control) {
        return Err(NameError::Control(text.escape_debug().to_string()));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn valid_names_become_relative() {
        assert_eq!(member_path(b"./usr/bin/x").as_deref(), Ok(Utf8Path::new("usr/bin/x")));
        assert_eq!(member_path(b"./").as_deref(), Ok(Utf8Path::new("")));
        assert_eq!(merge_usr(Utf8Path::new("lib64/ld.so")), Utf8Path::new("usr/lib64/ld.so"));
        assert_eq!(merge_usr(Utf8Path::new("library/x")), Utf8Path::new("library/x"));
    }

    #[test]
    fn names_that_lead_out_of_the_tree_are_refused() {
        assert!(matches!(member_path(b"/etc/passwd"), Err(NameError::Absolute(_))));
        assert!(matches!(member_path(b"usr/../../etc/passwd"), Err(NameError::Upwards(_))));
        assert!(matches!(member_path(b"usr/\xff"), Err(NameError::NotUtf8(_))));
        assert!(matches!(member_path(b"usr/a\nb"), Err(NameError::Control(_))));
        assert!(matches!(link_target(Utf8Path::new("usr/x"), b"../../etc"), Err(NameError::Upwards(_))));
        assert_eq!(link_target(Utf8Path::new("usr/bin/x"), b"../lib/x").as_deref(), Ok("../lib/x"));
        assert_eq!(link_target(Utf8Path::new("usr/x"), b"/etc/x").as_deref(), Ok("/etc/x"));
    }

    proptest! {
        #[test]
        fn accepted_names_stay_inside(name in proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), any::<u8>()], 0..40)) {
            if let Ok(path) = member_path(&name) {
                prop_assert!(!path.is_absolute());
                prop_assert!(path.components().all(|part| !matches!(part.as_str(), "." | ".." | "")));
            }
        }
    }
}
