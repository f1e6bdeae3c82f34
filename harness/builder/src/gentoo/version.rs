// SPDX-License-Identifier: Apache-2.0
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use crate::version_order::{self, version_traits};

/// A version of a Gentoo package, such as `1.2.3b_beta4_p20240101-r2`.
///
/// Grammar and order: Package Manager Specification, chapter 3 ("Names and Versions"). Different texts
/// can be equal versions, such as `1.0` and `1.00-r0`.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    numbers: Vec<String>,
    letter: Option<char>,
    suffixes: Vec<(Suffix, String)>,
    revision: String,
}

/// A suffix of a version, from the lowest to the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Suffix {
    Alpha,
    Beta,
    Pre,
    Release,
    /// the order of a version without a suffix
    None,
    Patch,
}

/// A text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version, such as `1.2_rc3-r1`")]
pub struct VersionError(pub String);

const SUFFIXES: [(&str, Suffix); 5] = [
    ("alpha", Suffix::Alpha),
    ("beta", Suffix::Beta),
    ("pre", Suffix::Pre),
    ("rc", Suffix::Release),
    ("p", Suffix::Patch),
];

impl Version {
    /// Parses a version with its revision.
    ///
    /// # Errors
    /// The text does not follow the specification.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        Self::read(text).ok_or_else(|| VersionError(text.to_owned()))
    }

    fn read(text: &str) -> Option<Self> {
        let (rest, revision) = match text.split_once("-r") {
            Some((rest, revision)) => (rest, digits(revision)?),
            None => (text, ""),
        };
        let mut parts = rest.split('_');
        let mut main = parts.next()?;
        let letter = main.chars().next_back().filter(char::is_ascii_lowercase);
        if letter.is_some() {
            main = &main[..main.len() - 1];
        }
        let numbers = main.split('.').map(|number| digits(number).map(str::to_owned));
        let numbers = numbers.collect::<Option<Vec<_>>>()?;
        let suffixes = parts.map(read_suffix).collect::<Option<Vec<_>>>()?;
        Some(Self { text: text.to_owned(), numbers, letter, suffixes, revision: revision.to_owned() })
    }

    /// The version as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The version as it was written, without the revision.
    pub fn without_revision(&self) -> &str {
        self.text.split_once("-r").map_or(&self.text, |(rest, _)| rest)
    }

    /// The order without the revisions.
    fn compare_without_revision(&self, other: &Self) -> Ordering {
        compare_numbers(&self.numbers, &other.numbers)
            .then_with(|| self.letter.cmp(&other.letter))
            .then_with(|| compare_suffixes(&self.suffixes, &other.suffixes))
    }

    /// Whether this version matches `=PREFIX*`: its text starts with the prefix, except for leading zeros,
    /// and the prefix ends between two components of the version.
    pub fn matches_glob(&self, prefix: &Self) -> bool {
        let (own, prefix) = (normalise_zeros(&self.text), normalise_zeros(&prefix.text));
        let Some(rest) = own.strip_prefix(prefix.as_str()) else { return false };
        let last_is_digit = prefix.bytes().next_back().is_some_and(|byte| byte.is_ascii_digit());
        match rest.bytes().next() {
            None | Some(b'.' | b'_' | b'-') => true,
            Some(next) => next.is_ascii_digit() != last_is_digit,
        }
    }

    /// The revision without leading zeros.
    fn revision_number(&self) -> &str {
        self.revision.trim_start_matches('0')
    }
}

/// One or more digits.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

fn read_suffix(text: &str) -> Option<(Suffix, String)> {
    let end = text.find(|character: char| character.is_ascii_digit()).unwrap_or(text.len());
    let (name, number) = text.split_at(end);
    let (_, suffix) = SUFFIXES.into_iter().find(|(known, _)| *known == name)?;
    (number.is_empty() || digits(number).is_some()).then(|| (suffix, number.to_owned()))
}

fn normalise_zeros(text: &str) -> String {
    let trimmed = text.trim_start_matches('0');
    if trimmed.starts_with(|character: char| character.is_ascii_digit()) {
        trimmed.to_owned()
    } else {
        format!("0{trimmed}")
    }
}

/// Compares integers of any length; an empty text is 0.
fn compare_integers(left: &str, right: &str) -> Ordering {
    version_order::compare_integers(left.as_bytes(), right.as_bytes())
}

/// Compares the components; after the first, components with a leading zero are decimal fractions.
fn compare_numbers(left: &[String], right: &[String]) -> Ordering {
    let mut pairs = left.iter().zip(right);
    let first = pairs.next().map_or(Ordering::Equal, |(left, right)| compare_integers(left, right));
    pairs
        .fold(first, |order, (left, right)| {
            order.then_with(|| {
                if left.starts_with('0') || right.starts_with('0') {
                    left.trim_end_matches('0').cmp(right.trim_end_matches('0'))
                } else {
                    compare_integers(left, right)
                }
            })
        })
        .then_with(|| left.len().cmp(&right.len()))
}

fn compare_suffixes(left: &[(Suffix, String)], right: &[(Suffix, String)]) -> Ordering {
    for index in 0..left.len().max(right.len()) {
        let order = match (left.get(index), right.get(index)) {
            (Some((left, left_number)), Some((right, right_number))) => {
                left.cmp(right).then_with(|| compare_integers(left_number, right_number))
            }
            (left, right) => {
                let kind = |side: Option<&(Suffix, String)>| side.map_or(Suffix::None, |(kind, _)| *kind);
                kind(left).cmp(&kind(right))
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare_without_revision(other).then_with(|| compare_integers(&self.revision, &other.revision))
    }
}

version_traits!(Version);

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Equal versions must have the same hash: `1.0` and `1.00` are equal.
        self.numbers.len().hash(state);
        self.letter.hash(state);
        self.suffixes.len().hash(state);
        self.revision_number().hash(state);
    }
}

/// Splits `foo-bar-1.2-r3` into name and version. The only hyphen of a version precedes its revision, so
/// the split is unique.
pub fn split_name(text: &str) -> Option<(&str, Version)> {
    let (rest, last) = text.rsplit_once('-')?;
    let is_revision = last.strip_prefix('r').is_some_and(|number| digits(number).is_some());
    if is_revision && let Some((name, version)) = rest.rsplit_once('-') {
        let whole = &text[text.len() - version.len() - 1 - last.len()..];
        if let Ok(version) = Version::parse(whole) {
            return Some((name, version));
        }
    }
    Version::parse(last).ok().map(|version| (rest, version))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn versions_are_ordered_as_specified() {
        let ascending = [
            "0.9",
            "1_alpha",
            "1_alpha1",
            "1_beta",
            "1_pre",
            "1_rc",
            "1_rc2",
            "1_rc2_p1",
            "1",
            "1-r1",
            "1-r2",
            "1-r10",
            "1_p",
            "1_p1",
            "1_p1_p1",
            "1a",
            "1b",
            "1.0",
            "1.01",
            "1.1",
            "1.2",
            "1.10",
            "1.10.1",
            "2",
            "10",
            "18446744073709551617",
        ];
        for (index, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                assert_eq!(version(left).cmp(&version(right)), index.cmp(&other), "{left} and {right}");
            }
        }
    }

    #[test]
    fn ways_to_write_the_same_version_are_equal() {
        for (left, right) in [("1.0", "1.00"), ("1", "1-r0"), ("01", "1"), ("1_p", "1_p0"), ("1-r01", "1-r1")]
        {
            assert_eq!(version(left), version(right), "{left} and {right}");
        }
    }

    #[test]
    fn what_is_not_a_version_is_refused() {
        for text in
            ["", "a", "1.", ".1", "1..2", "1_", "1_gamma", "1-r", "1-rc1", "1ab", "1A", "1-1", "1_p-r", "1 "]
        {
            assert!(Version::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_ends_between_parts() {
        let matches = |text: &str, pattern: &str| version(text).matches_glob(&version(pattern));
        assert!(matches("1.2.3", "1.2") && matches("1.2", "1.2") && matches("1.2_p1", "1.2"));
        assert!(matches("1.2a", "1.2") && matches("01.2", "1") && matches("1.2-r1", "1.2"));
        assert!(!matches("1.20", "1.2") && !matches("10", "1") && !matches("1.3", "1.2"));
    }

    #[test]
    fn names_with_hyphens_and_revisions_are_taken_apart() {
        let split = |text| split_name(text).map(|(name, version)| (name, version.as_str().to_owned()));
        assert_eq!(split("foo-bar-1.2-r3"), Some(("foo-bar", "1.2-r3".to_owned())));
        assert_eq!(split("foo-1"), Some(("foo", "1".to_owned())));
        assert_eq!(split("foo-r1"), None);
        assert_eq!(split("foo"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            if let Ok(version) = Version::parse(&text) {
                prop_assert_eq!(version.as_str(), text);
            }
        }

        #[test]
        fn the_order_is_one(texts in proptest::collection::vec("(0|1|2|10)(\\.(0|01|1|10)){0,2}[a-b]?(_(alpha|rc|p)[0-2]?){0,2}(-r[0-2])?", 3)) {
            let [a, b, c] = [version(&texts[0]), version(&texts[1]), version(&texts[2])];
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
