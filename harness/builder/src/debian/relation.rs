// SPDX-License-Identifier: Apache-2.0
use std::cmp::Ordering;
use std::fmt;

use super::version::{Version, VersionError};

/// What a package says of another one: `libc6 (>= 2.38)`.
///
/// Source: Debian policy 7.1. Restrictions to architectures and build profiles, which binary
/// packages do not have, are no part of it; an architecture behind a colon is read and dropped,
/// since a base and an extension for it have one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// the other package, or what it provides
    pub name: String,
    /// which versions of it are meant; all without
    pub version: Option<(Operator, Version)>,
}

/// How versions are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// Relations of which one must hold: `mawk | awk`.
pub type Alternatives = Vec<Relation>;

/// Relations that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelationError {
    /// it does not look like a relation
    #[error("`{0}` is not a relation between packages")]
    Form(String),
    /// the version in it cannot be read
    #[error(transparent)]
    Version(#[from] VersionError),
}

impl Operator {
    /// Whether a version fits.
    pub fn admits(self, version: &Version, bound: &Version) -> bool {
        let order = version.cmp(bound);
        match self {
            Self::Earlier => order == Ordering::Less,
            Self::EarlierOrEqual => order != Ordering::Greater,
            Self::Equal => order == Ordering::Equal,
            Self::LaterOrEqual => order != Ordering::Less,
            Self::Later => order == Ordering::Greater,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "<<" => Self::Earlier,
            // The single ones are what they were before 1995, and dpkg still reads them.
            "<=" | "<" => Self::EarlierOrEqual,
            "=" => Self::Equal,
            ">=" | ">" => Self::LaterOrEqual,
            ">>" => Self::Later,
            _ => return None,
        })
    }
}

impl Relation {
    /// Whether a package of this name and version is meant.
    pub fn admits(&self, version: &Version) -> bool {
        self.version.as_ref().is_none_or(|(operator, bound)| operator.admits(version, bound))
    }

    /// Whether something provided is meant: a version is asked for only where one is provided.
    pub fn admits_provided(&self, version: Option<&Version>) -> bool {
        match (&self.version, version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(version)) => self.admits(version),
        }
    }

    fn parse(text: &str) -> Result<Self, RelationError> {
        let fail = || RelationError::Form(text.trim().to_owned());
        let (name, rest) = match text.find(['(', '[', '<']) {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let name = name.trim();
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(fail());
        }
        let rest = rest.trim();
        if rest.is_empty() {
            return Ok(Self { name: name.to_owned(), version: None });
        }
        let inside = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(fail)?.trim();
        let end = inside.find(|letter| !"<=>".contains(letter)).ok_or_else(fail)?;
        let operator = Operator::parse(&inside[..end]).ok_or_else(fail)?;
        Ok(Self { name: name.to_owned(), version: Some((operator, inside[end..].trim().parse()?)) })
    }
}

/// Reads a field such as `Depends`: groups of alternatives.
///
/// # Errors
/// A part of it is no relation.
pub fn parse_alternatives(field: &str) -> Result<Vec<Alternatives>, RelationError> {
    let groups = field.split(',').filter(|group| !group.trim().is_empty());
    groups.map(|group| group.split('|').map(Relation::parse).collect()).collect()
}

/// Reads a field such as `Conflicts`, which has no alternatives.
///
/// # Errors
/// A part of it is no relation.
pub fn parse_relations(field: &str) -> Result<Vec<Relation>, RelationError> {
    field.split(',').filter(|part| !part.trim().is_empty()).map(Relation::parse).collect()
}

impl fmt::Display for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        self.version
            .as_ref()
            .map_or(Ok(()), |(operator, version)| write!(formatter, " ({operator} {version})"))
    }
}

/// Alternatives in the words of a control file.
pub fn show(alternatives: &[Relation]) -> String {
    alternatives.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn relations_are_read() {
        let groups = parse_alternatives("a, b (>= 1:2-3) | c:any (<<4),\n d(=5)").expect("relations");
        let shown: Vec<String> = groups.iter().map(|group| show(group)).collect();
        assert_eq!(shown, ["a", "b (>= 1:2-3) | c (<< 4)", "d (= 5)"]);
        assert_eq!(parse_relations(" \n").expect("nothing"), []);
        for text in ["(>= 1)", "a (1)", "a (>= 1", "a (>= )", "a b", "a (~ 1)", "a (>= _)", "a [i386"] {
            assert!(parse_relations(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bounds_hold() {
        let one: Version = "1".parse().expect("a version");
        let admitted = |text: &str| parse_relations(text).expect("a relation")[0].admits(&one);
        assert!(admitted("a") && admitted("a (= 1)") && admitted("a (>= 1)") && admitted("a (<< 2)"));
        assert!(!admitted("a (>> 1)") && !admitted("a (<< 1)") && !admitted("a (>= 2)"));
        let provided =
            |text: &str, version| parse_relations(text).expect("a relation")[0].admits_provided(version);
        assert!(provided("a", None) && provided("a (= 1)", Some(&one)));
        assert!(!provided("a (= 1)", None));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "[a-z]{1,3}( \\((<<|<=|=|>=|>>) [0-9]\\))?") {
            prop_assert_eq!(parse_relations(&text).expect("a relation")[0].to_string(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-c(<=> )|,:0-9\\[~é]{0,30}") {
            let _ = parse_alternatives(&text);
        }
    }
}
