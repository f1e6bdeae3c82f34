// SPDX-License-Identifier: Apache-2.0
use std::cmp::Ordering;
use std::str::FromStr;

use crate::version_order::{compare_integers, version_traits};

/// A Debian version: `[EPOCH:]UPSTREAM[-REVISION]`.
///
/// Source: deb-version(7) and Debian policy 5.6.12. Different texts can be equal versions, such as `1.0`
/// and `1.00`; [`Eq`] and [`Ord`] are those of dpkg.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    epoch: u32,
    /// start and end of the upstream part in the text
    upstream: (usize, usize),
    /// start of the revision in the text; its end where there is no revision
    revision: usize,
}

/// A text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a Debian version: {reason}")]
pub struct VersionError {
    /// the text
    pub text: String,
    /// why it is not
    pub reason: &'static str,
}

impl Version {
    /// The version as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn upstream(&self) -> &[u8] {
        &self.text.as_bytes()[self.upstream.0..self.upstream.1]
    }

    fn revision(&self) -> &[u8] {
        &self.text.as_bytes()[self.revision..]
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let fail = |reason| VersionError { text: text.to_owned(), reason };
        let (epoch, start) = match text.split_once(':') {
            None => (0, 0),
            Some((epoch, _)) => {
                let digits = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
                // dpkg stores the epoch in an int.
                let number = epoch.parse::<i32>().ok().filter(|_| digits);
                let number = number.ok_or_else(|| fail("the epoch is not a number"))?;
                (number.unsigned_abs(), epoch.len() + 1)
            }
        };
        let end = text[start..].rfind('-').map_or(text.len(), |at| start + at);
        let revision = (end + 1).min(text.len());
        if text.len() == start || end == start {
            return Err(fail("the upstream part is empty"));
        }
        if end < text.len() && revision == text.len() {
            return Err(fail("the revision is empty"));
        }
        let upstream = &text.as_bytes()[start..end];
        if !upstream[0].is_ascii_digit() {
            return Err(fail("it does not start with a digit"));
        }
        let valid =
            |extra: &'static [u8]| move |byte: &u8| byte.is_ascii_alphanumeric() || extra.contains(byte);
        if !upstream.iter().all(valid(b".-+~:")) || !text.as_bytes()[revision..].iter().all(valid(b".+~")) {
            return Err(fail("it contains an invalid character"));
        }
        Ok(Self { text: text.to_owned(), epoch, upstream: (start, end), revision })
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_part(self.upstream(), other.upstream()))
            .then_with(|| compare_part(self.revision(), other.revision()))
    }
}

version_traits!(Version);

/// Compares upstream parts or revisions: in turn the longest prefix without digits, by [`weight`], and a
/// number.
fn compare_part(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (prefix, other_prefix) = (
            split(&mut left, |byte| !byte.is_ascii_digit()),
            split(&mut right, |byte| !byte.is_ascii_digit()),
        );
        let length = prefix.len().max(other_prefix.len());
        let order = (0..length)
            .map(|at| weight(prefix.get(at)).cmp(&weight(other_prefix.get(at))))
            .find(|order| order.is_ne());
        if let Some(order) = order {
            return order;
        }
        let order =
            compare_integers(split(&mut left, u8::is_ascii_digit), split(&mut right, u8::is_ascii_digit));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Removes the longest prefix of bytes that match, and returns it.
fn split<'a>(text: &mut &'a [u8], matches: impl Fn(&u8) -> bool) -> &'a [u8] {
    let end = text.iter().position(|byte| !matches(byte)).unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    *text = rest;
    first
}

/// The rank of a byte: `~` sorts before the end, the end before letters, letters before all others.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect(text)
    }

    #[test]
    fn the_order_is_that_of_the_manual() {
        let sorted = [
            "1.0~~",
            "1.0~rc1",
            "1.0",
            "1.0-0+b1",
            "1.0-1~bpo12+1",
            "1.0-1",
            "1.0a",
            "1.0+x",
            "1.0.1",
            "1.10",
            "1:0.1",
        ];
        for pair in sorted.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert_eq!(version("1.0"), version("1.00"));
        assert_eq!(version("1.0"), version("0:1.0-0"));
        assert_eq!(version("1-2-3").upstream(), b"1-2");
    }

    #[test]
    fn invalid_versions_are_refused() {
        for text in ["", "a", "1_2", "-1", "1-", "x:1", ":1", "1:", "99999999999:1", "1 2", "1/2"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    /// The answer of `dpkg --compare-versions`.
    fn dpkg_compares(left: &str, relation: &str, right: &str) -> bool {
        let output = Command::new("dpkg")
            .args(["--compare-versions", left, relation, right])
            .output()
            .expect("dpkg runs");
        // dpkg accepts an invalid version with a warning.
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        output.status.success()
    }

    fn any_version() -> impl Strategy<Value = String> {
        ("([0-2]:)?[0-9][0-9.a-c+~-]{0,6}", proptest::option::of("-[0-9a-b.+~]{1,4}"))
            .prop_map(|(upstream, revision)| format!("{upstream}{}", revision.unwrap_or_default()))
            .prop_filter("a version", |text| text.parse::<Version>().is_ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn dpkg_orders_them_the_same(left in any_version(), right in any_version()) {
            let order = version(&left).cmp(&version(&right));
            prop_assert_eq!(order == Ordering::Less, dpkg_compares(&left, "lt", &right));
            prop_assert_eq!(order == Ordering::Equal, dpkg_compares(&left, "eq", &right));
        }

        #[test]
        fn no_text_panics(text in ".{0,12}", other in "[0-9:~.a-z-]{0,12}") {
            let both = (text.parse::<Version>(), other.parse::<Version>());
            if let (Ok(left), Ok(right)) = both {
                prop_assert_eq!(left.cmp(&right), right.cmp(&left).reverse());
            }
        }
    }
}
