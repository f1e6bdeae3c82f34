// SPDX-License-Identifier: Apache-2.0
/// The files of an image to extract.
#[derive(Debug, Clone, Copy)]
pub enum Selection<'a> {
    /// everything, with modes
    All,
    /// the regular files that match a pattern; other files may be extracted as well
    Files(&'a [FilePattern<'a>]),
}

impl Selection<'_> {
    /// Whether a regular file is selected.
    pub(super) fn contains(self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Files(patterns) => {
                let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
                patterns.iter().any(|pattern| pattern.directory == directory && pattern.matches(name))
            }
        }
    }
}

/// Files of one directory.
#[derive(Debug, Clone, Copy)]
pub struct FilePattern<'a> {
    /// the directory, relative to the root of the file system
    pub directory: &'a str,
    /// the first part of the names
    pub prefix: &'a str,
    /// the last part of the names
    pub suffix: &'a str,
    /// whether text may separate the two parts; otherwise they form one name
    pub is_open: bool,
}

impl<'a> FilePattern<'a> {
    /// Selects one file.
    pub const fn file(directory: &'a str, name: &'a str) -> Self {
        Self { directory, prefix: name, suffix: "", is_open: false }
    }

    /// Selects the files whose names have a prefix and a suffix.
    pub const fn between(directory: &'a str, prefix: &'a str, suffix: &'a str) -> Self {
        Self { directory, prefix, suffix, is_open: true }
    }

    /// Whether a name matches.
    pub(super) fn matches(&self, name: &str) -> bool {
        let (shortest, longest) = (self.prefix.len() + self.suffix.len(), if self.is_open { 255 } else { 0 });
        let fits = (shortest..=longest.max(shortest)).contains(&name.len());
        fits && name.starts_with(self.prefix) && name.ends_with(self.suffix) && !name.contains('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_contains_the_files_of_its_patterns() {
        let patterns =
            [FilePattern::file("", "top"), FilePattern::between("lib/systemd", "libsystemd-", ".so")];
        let selection = Selection::Files(&patterns);
        for path in ["top", "lib/systemd/libsystemd-257.so", "lib/systemd/libsystemd-.so"] {
            assert!(selection.contains(path), "{path}");
        }
        for path in ["top2", "lib/top", "lib/libsystemd-257.so", "lib/systemd/a/libsystemd-257.so", ""] {
            assert!(!selection.contains(path), "{path}");
        }
    }
}
