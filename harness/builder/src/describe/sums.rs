// SPDX-License-Identifier: Apache-2.0
//! `SHA256SUMS`, in the format that sha256sum(1) writes and systemd-sysupdate reads.
use std::collections::BTreeMap;

/// One line for each file: its digest in hex and its name.
pub(super) fn text(digests: &BTreeMap<String, String>) -> String {
    digests.iter().flat_map(|(name, digest)| [digest.as_str(), "  ", name.as_str(), "\n"]).collect()
}

/// Merges two files of digests. Of a name that both have, the newer line is kept.
pub fn merge(older: &str, newer: &str) -> String {
    let lines = older.lines().chain(newer.lines());
    let digests = lines.filter_map(|line| {
        let (digest, name) = line.split_once("  ")?;
        Some((name.to_owned(), digest.to_owned()))
    });
    text(&digests.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_two_extensions_fit_into_one_file() {
        assert_eq!(
            merge("11  a.raw\n22  b.raw\n", "33  b.raw\n44  c.raw\n"),
            "11  a.raw\n33  b.raw\n44  c.raw\n"
        );
        assert_eq!(merge("", "33  b.raw\n"), "33  b.raw\n");
    }
}
