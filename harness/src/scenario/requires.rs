// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use loadgauge_images::image::Era;
use loadgauge_images::{Architecture, Image};

/// The properties that an image must have for a scenario to run on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requires {
    /// accepted eras; empty for any
    pub era: Vec<Era>,
    /// range of `VERSION_ID`
    pub version: Option<VersionRange>,
    /// range of the systemd version
    pub systemd: Option<VersionRange>,
    /// accepted architectures; empty for any
    pub architecture: Vec<Architecture>,
    /// whether the image's package database must be available
    pub base: bool,
}

/// Comparisons that a version must satisfy: `>=3794, <4628`.
///
/// Only the components that the range names are compared: 4593.2.5 is in `=4593` and in `<=4593.2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    comparisons: Vec<(Comparator, Vec<u32>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparator {
    AtLeast,
    AtMost,
    Equal,
    Greater,
    Less,
}

/// `>=` before `>`, which is a prefix of it.
const COMPARATORS: &[(&str, Comparator)] = &[
    (">=", Comparator::AtLeast),
    ("<=", Comparator::AtMost),
    ("=", Comparator::Equal),
    (">", Comparator::Greater),
    ("<", Comparator::Less),
];

impl VersionRange {
    /// Reads comparisons that are separated by commas.
    ///
    /// # Errors
    /// A comparison has no comparator, or no dotted version behind it, or no version satisfies all.
    pub fn parse(text: &str) -> Result<Self, String> {
        let comparisons = text.split(',').map(comparison).collect::<Result<_, _>>()?;
        let range = Self { comparisons };
        if range.is_empty() { Err(format!("no version satisfies `{text}`")) } else { Ok(range) }
    }

    /// Whether no version satisfies all comparisons. The lowest one that does is zero, a bound, or the one
    /// after a bound.
    fn is_empty(&self) -> bool {
        let next = |bound: &[u32]| {
            let mut next = bound.to_vec();
            if let Some(last) = next.last_mut() {
                *last = last.saturating_add(1);
            }
            next
        };
        let mut lowest = self.comparisons.iter().flat_map(|(_, bound)| [bound.clone(), next(bound)]);
        !self.contains(&[]) && !lowest.any(|version| self.contains(&version))
    }

    /// Whether a version satisfies all comparisons.
    pub fn contains(&self, version: &[u32]) -> bool {
        self.comparisons.iter().all(|(comparator, bound)| {
            let component = |index| version.get(index).copied().unwrap_or(0);
            let ordering = (0..bound.len()).map(component).cmp(bound.iter().copied());
            match comparator {
                Comparator::AtLeast => ordering.is_ge(),
                Comparator::AtMost => ordering.is_le(),
                Comparator::Equal => ordering.is_eq(),
                Comparator::Greater => ordering.is_gt(),
                Comparator::Less => ordering.is_lt(),
            }
        })
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (comparator, bound)) in self.comparisons.iter().enumerate() {
            let sign = COMPARATORS.iter().find(|(_, known)| known == comparator).map_or("", |(sign, _)| sign);
            let bound: Vec<String> = bound.iter().map(u32::to_string).collect();
            let comma = if index > 0 { ", " } else { "" };
            write!(formatter, "{comma}{sign}{}", bound.join("."))?;
        }
        Ok(())
    }
}

fn comparison(text: &str) -> Result<(Comparator, Vec<u32>), String> {
    let text = text.trim();
    let (comparator, version) = COMPARATORS
        .iter()
        .find_map(|(sign, comparator)| Some((*comparator, text.strip_prefix(sign)?)))
        .ok_or_else(|| format!("`{text}` does not begin with one of `>=`, `>`, `=`, `<`, `<=`"))?;
    let version =
        version_components(version.trim()).ok_or_else(|| format!("`{text}` is not a dotted version"))?;
    Ok((comparator, version))
}

/// The numbers of a dotted version, without the build that follows `+` or `-`.
fn version_components(text: &str) -> Option<Vec<u32>> {
    let text = text.split(['+', '-']).next().unwrap_or_default();
    text.split('.').map(|component| component.parse().ok()).collect()
}

impl Requires {
    /// The requirements that an image does not meet; absent where it meets all.
    pub fn unmet(&self, image: &Image) -> Option<String> {
        let facts = &image.facts;
        let mut reasons = Vec::new();
        if !self.era.is_empty() && !self.era.contains(&facts.era) {
            reasons.push(format!("needs era {}, the image has {}", or(&self.era), facts.era));
        }
        if let Some(range) = &self.version {
            let version = facts.os_release.get("VERSION_ID").unwrap_or("none");
            if !version_components(version).is_some_and(|version| range.contains(&version)) {
                reasons.push(format!("needs release {range}, the image is {version}"));
            }
        }
        if let Some(range) = self.systemd.as_ref().filter(|range| !range.contains(&[facts.systemd])) {
            reasons.push(format!("needs systemd {range}, the image has {}", facts.systemd));
        }
        if !self.architecture.is_empty() && !self.architecture.contains(&facts.architecture) {
            let known = or(&self.architecture);
            reasons.push(format!("needs architecture {known}, the image has {}", facts.architecture));
        }
        if self.base && image.base.is_none() {
            reasons.push("needs the package database of the image, which is not available".to_owned());
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

fn or<T: fmt::Display>(alternatives: &[T]) -> String {
    let texts: Vec<String> = alternatives.iter().map(ToString::to_string).collect();
    texts.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_without_any_version_is_refused() {
        for text in
            [">=5, <4", "=4593, =4594", ">4593, <=4593.2", "<0", ">=4593.2, <4593.2", ">3760, =3760.2"]
        {
            assert_eq!(VersionRange::parse(text), Err(format!("no version satisfies `{text}`")));
        }
        for text in
            [">=4, <5", "=4593, =4593.2", ">=4593.2, <=4593", "<=0", "<1", ">3760, <3761.1", ">3760, <3762"]
        {
            assert!(VersionRange::parse(text).is_ok(), "{text}");
        }
    }

    fn contains(range: &str, version: &str) -> bool {
        let range = VersionRange::parse(range).expect("a range");
        range.contains(&version_components(version).expect("a version"))
    }

    #[test]
    fn compares_as_many_components_as_the_range_names() {
        assert!(contains(">=3794", "3794.0.0"));
        assert!(contains(">3794.0", "3794.1.0"));
        assert!(!contains(">3794", "3794.1.0"));
        assert!(contains("=4593", "4593.2.5"));
        assert!(contains("<=4593.2", "4593.2.5"));
        assert!(contains(">=3794, <4628", "4593.2.5"));
        assert!(!contains(">=3794, <4628", "4628.0.0+nightly-20260101-0000"));
        assert!(contains("=4593.0.0", "4593"));
    }

    #[test]
    fn a_range_is_written_as_it_was_read() {
        let range = VersionRange::parse(" >= 3794 ,<4628.0").expect("a range");
        assert_eq!(range.to_string(), ">=3794, <4628.0");
    }

    #[test]
    fn other_texts_are_not_ranges() {
        for wrong in ["", "3794", ">=", ">=x", ">=1,", "==1", ">=1..2", ">=99999999999"] {
            assert!(VersionRange::parse(wrong).is_err(), "{wrong}");
        }
    }
}
