// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, HashSet};

/// Returns the versions of the packages that dpkg's status file lists as installed, by
/// `name:architecture`.
///
/// # Errors
/// The first package that is missing from the archive's index, with its version.
///
/// Formats: deb-control paragraphs, with a `Status` field (dpkg(1)) or with one `SHA256` (Debian
/// repository format, "Packages" indices).
pub(super) fn installed(status: &str, index: &str) -> Result<BTreeMap<String, String>, String> {
    let published: HashSet<(String, String)> = index
        .split("\n\n")
        .filter_map(|paragraph| {
            field(paragraph, "SHA256")?;
            Some((name(paragraph)?, field(paragraph, "Version")?))
        })
        .collect();
    status
        .split("\n\n")
        .filter(|paragraph| field(paragraph, "Status").as_deref() == Some("install ok installed"))
        .filter_map(|paragraph| Some((name(paragraph)?, field(paragraph, "Version")?)))
        .map(|package| {
            let is_published = published.contains(&package);
            if is_published { Ok(package) } else { Err(format!("{} {}", package.0, package.1)) }
        })
        .collect()
}

/// Returns `name:architecture` of a paragraph.
fn name(paragraph: &str) -> Option<String> {
    Some(format!("{}:{}", field(paragraph, "Package")?, field(paragraph, "Architecture")?))
}

/// Returns a field of a paragraph.
fn field(paragraph: &str, name: &str) -> Option<String> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|text| text.trim().to_owned());
    paragraph.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let status = "Package: jq\nStatus: install ok installed\nArchitecture: amd64\nDepends: libjq1 (= 1.7)\n\
                      Description: JSON\n Version: not this\nVersion: 1.7-1\n\nPackage: dracut\n\
                      Status: deinstall ok config-files\nArchitecture: all\nVersion: 106-6\n";
        let index = "Package: jq\nArchitecture: amd64\nVersion: 1.6-1\nSHA256: 00\n\n\
                     Package: jq\nArchitecture: amd64\nVersion: 1.7-1\nSHA256: ab\n";
        let packages = installed(status, index).expect("the index has it");
        let jq = ("jq:amd64".to_owned(), "1.7-1".to_owned());
        assert_eq!(packages.into_iter().collect::<Vec<_>>(), [jq]);
        assert_eq!(installed(status, "").expect_err("no digest"), "jq:amd64 1.7-1");
    }
}
