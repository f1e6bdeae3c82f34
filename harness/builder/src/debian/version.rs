// SPDX-License-Identifier: Apache-2.0
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A version in Debian's order: `[EPOCH:]UPSTREAM[-REVISION]`.
///
/// Source: deb-version(7) and Debian policy 5.6.12. Two texts can be equal as versions, such as
/// `1.0` and `1.00`; what [`Eq`] says is what dpkg says.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    epoch: u32,
    /// where the upstream part begins and ends in the text
    upstream: (usize, usize),
    /// where the revision begins; the end of the text where there is none
    revision: usize,
}

/// A text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a Debian version: {cause}")]
pub struct VersionError {
    /// the text
    pub text: String,
    /// what is wrong with it
    pub cause: &'static str,
}

impl Version {
    /// As it was written.
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
        let fail = |cause| VersionError { text: text.to_owned(), cause };
        let (epoch, start) = match text.split_once(':') {
            None => (0, 0),
            Some((epoch, _)) => {
                let digits = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
                // dpkg keeps it in an int.
                let number = epoch.parse::<i32>().ok().filter(|_| digits);
                let number = number.ok_or_else(|| fail("its epoch is not a number"))?;
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
            return Err(fail("it does not begin with a digit"));
        }
        let plain =
            |extra: &'static [u8]| move |byte: &u8| byte.is_ascii_alphanumeric() || extra.contains(byte);
        if !upstream.iter().all(plain(b".-+~:")) || !text.as_bytes()[revision..].iter().all(plain(b".+~")) {
            return Err(fail("it has a character that no version has"));
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

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Compares parts: in turns what is not digits, by [`weight`], and a number.
fn compare_part(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (words, other_words) = (
            split(&mut left, |byte| !byte.is_ascii_digit()),
            split(&mut right, |byte| !byte.is_ascii_digit()),
        );
        let length = words.len().max(other_words.len());
        let order = (0..length)
            .map(|at| weight(words.get(at)).cmp(&weight(other_words.get(at))))
            .find(|order| order.is_ne());
        if let Some(order) = order {
            return order;
        }
        let order =
            compare_number(split(&mut left, u8::is_ascii_digit), split(&mut right, u8::is_ascii_digit));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes the first bytes that fit.
fn split<'a>(text: &mut &'a [u8], fits: impl Fn(&u8) -> bool) -> &'a [u8] {
    let end = text.iter().position(|byte| !fits(byte)).unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    *text = rest;
    first
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

/// Numbers of any length.
fn compare_number(left: &[u8], right: &[u8]) -> Ordering {
    let strip = |digits: &'_ [u8]| digits.iter().position(|byte| *byte != b'0').unwrap_or(digits.len());
    let (left, right) = (&left[strip(left)..], &right[strip(right)..]);
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
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
    fn what_is_no_version_is_refused() {
        for text in ["", "a", "1_2", "-1", "1-", "x:1", ":1", "1:", "99999999999:1", "1 2", "1/2"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    /// dpkg's own judgement.
    fn dpkg_says(left: &str, relation: &str, right: &str) -> bool {
        let output = Command::new("dpkg")
            .args(["--compare-versions", left, relation, right])
            .output()
            .expect("dpkg runs");
        // It warns of what is no version and goes on.
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
            prop_assert_eq!(order == Ordering::Less, dpkg_says(&left, "lt", &right));
            prop_assert_eq!(order == Ordering::Equal, dpkg_says(&left, "eq", &right));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,12}", other in "[0-9:~.a-z-]{0,12}") {
            let both = (text.parse::<Version>(), other.parse::<Version>());
            if let (Ok(left), Ok(right)) = both {
                prop_assert_eq!(left.cmp(&right), right.cmp(&left).reverse());
            }
        }
    }
}
