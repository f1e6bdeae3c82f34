// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::time::SystemTime;

use super::control::Paragraph;

/// The `Release` file of a suite, which lists its indices.
///
/// Format: <https://wiki.debian.org/DebianRepository/Format>, "Release files".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Release {
    /// `Suite` and `Codename`: `stable`, `trixie`
    pub(super) names: Vec<String>,
    /// `Acquire-By-Hash`: whether indices can be fetched by their digest, which stays valid while the
    /// archive is updated
    pub(super) by_hash: bool,
    /// `Valid-Until`: when the file expires; `None` where it does not
    pub(super) valid_until: Option<ValidUntil>,
    /// the indices by their path relative to the suite
    pub(super) files: BTreeMap<String, Listed>,
}

/// The time after which a `Release` file must not be used: an attacker could replay an old one, with packages
/// whose faults are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ValidUntil {
    /// the date as in the file
    pub(super) text: String,
    /// the same time; `None` where the date is invalid
    pub(super) time: Option<SystemTime>,
}

impl ValidUntil {
    /// Parses a date such as `Sat, 05 Dec 2026 02:13:54 UTC` (RFC 9110 has GMT in place of UTC).
    fn parse(text: &str) -> Self {
        let date = text.strip_suffix("UTC").or_else(|| text.strip_suffix("+0000"));
        let date = date.map_or_else(|| text.to_owned(), |date| format!("{date}GMT"));
        Self { text: text.to_owned(), time: httpdate::parse_http_date(&date).ok() }
    }

    /// Whether the time is over, or invalid.
    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.time.is_none_or(|time| time < now)
    }
}

/// An index in the `Release` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// SHA-256, in hex
    pub(super) sha256: String,
    /// size in bytes
    pub(super) size: u64,
}

impl Release {
    /// Parses the text, whose signature the caller has verified. Invalid entries are ignored.
    pub(super) fn parse(text: &str) -> Self {
        let paragraph = Paragraph::new(text.as_bytes());
        let mut names: Vec<String> =
            ["Suite", "Codename"].iter().filter_map(|field| paragraph.field(field)).collect();
        names.dedup();
        let by_hash = paragraph.field("Acquire-By-Hash").is_some_and(|value| value == "yes");
        let list = paragraph.field("SHA256").unwrap_or_default();
        let files = list.lines().filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (sha256, size, path) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?);
            Some((path.to_owned(), Listed { sha256: sha256.to_owned(), size }))
        });
        let valid_until = paragraph.field("Valid-Until").map(|text| ValidUntil::parse(&text));
        Self { names, by_hash, valid_until, files: files.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_file_lists_its_indices() {
        let release = Release::parse(
            "Origin: x\nSuite: stable\nCodename: trixie\nAcquire-By-Hash: yes\nMD5Sum:\n 00 1 main/x\nSHA256:\n \
             aa  12 main/binary-amd64/Packages.xz\n bb 3 main/y\n nonsense\nDescription: z\n",
        );
        assert_eq!(release.names, ["stable", "trixie"]);
        assert!(release.by_hash);
        let listed = |sha256: &str, size| Some(Listed { sha256: sha256.to_owned(), size });
        assert_eq!(release.files.get("main/binary-amd64/Packages.xz").cloned(), listed("aa", 12));
        assert_eq!(release.files.get("main/y").cloned(), listed("bb", 3));
        assert_eq!(release.files.len(), 2);
        assert_eq!(Release::parse(""), Release::default());
    }

    #[test]
    fn a_release_expires_at_its_time() {
        let until = |text: &str| Release::parse(&format!("Suite: x\nValid-Until: {text}\n")).valid_until;
        let is_over = |text: &str, now: u64| {
            until(text).expect("a time").is_over(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(now))
        };
        // date --utc --date "Sat, 05 Dec 2026 02:13:54 UTC" +%s
        let time = 1_796_436_834;
        for date in ["Sat, 05 Dec 2026 02:13:54 UTC", "Sat, 05 Dec 2026 02:13:54 +0000"] {
            assert!(!is_over(date, time) && is_over(date, time + 1), "{date}");
        }
        assert!(is_over("tomorrow", 0));
        assert_eq!(Release::parse("Suite: x\n").valid_until, None);
    }
}
