// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use super::version::{Version, VersionError};
use crate::version_order::Comparison;

/// A relation to another package: `libc6 (>= 2.38)`.
///
/// Source: Debian policy 7.1. Architecture restrictions and build profiles are refused, since binary
/// packages have none. An architecture qualifier (`:any`) is ignored: a base and its extensions have
/// one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// the name of a package, or of a virtual package
    pub name: String,
    /// the versions that satisfy it; all where there is no bound
    pub version: Option<(Comparison, Version)>,
}

/// Relations of which one must be satisfied: `mawk | awk`.
pub type Alternatives = Vec<Relation>;

/// A relation that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelationError {
    /// the syntax is invalid
    #[error("`{0}` is not a package relation, such as `libc6 (>= 2.38)`")]
    Syntax(String),
    /// its version is invalid
    #[error(transparent)]
    Version(#[from] VersionError),
}

fn parse_comparison(text: &str) -> Option<Comparison> {
    Some(match text {
        "<<" => Comparison::Less,
        // `<` and `>` are obsolete and mean the same in dpkg.
        "<=" | "<" => Comparison::LessOrEqual,
        "=" => Comparison::Equal,
        ">=" | ">" => Comparison::GreaterOrEqual,
        ">>" => Comparison::Greater,
        _ => return None,
    })
}

fn symbol(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Less => "<<",
        Comparison::LessOrEqual => "<=",
        Comparison::Equal => "=",
        Comparison::GreaterOrEqual => ">=",
        Comparison::Greater => ">>",
    }
}

impl Relation {
    /// Whether a version of the named package satisfies the relation.
    pub fn admits(&self, version: &Version) -> bool {
        self.version.as_ref().is_none_or(|(comparison, bound)| comparison.admits(version.cmp(bound)))
    }

    /// Whether a `Provides` of the name, with its version where it has one, satisfies the relation. An
    /// unversioned `Provides` satisfies no relation with a version.
    pub fn admits_provided(&self, version: Option<&Version>) -> bool {
        match (&self.version, version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(version)) => self.admits(version),
        }
    }

    fn parse(text: &str) -> Result<Self, RelationError> {
        let fail = || RelationError::Syntax(text.trim().to_owned());
        let (name, rest) = match text.find(['(', '[', '<']) {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let name = name.trim();
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
        if name.is_empty() || !name.bytes().all(valid) {
            return Err(fail());
        }
        let rest = rest.trim();
        if rest.is_empty() {
            return Ok(Self { name: name.to_owned(), version: None });
        }
        let inside = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(fail)?.trim();
        let end = inside.find(|letter| !"<=>".contains(letter)).ok_or_else(fail)?;
        let comparison = parse_comparison(&inside[..end]).ok_or_else(fail)?;
        Ok(Self { name: name.to_owned(), version: Some((comparison, inside[end..].trim().parse()?)) })
    }
}

/// Parses a field such as `Depends`: groups of alternatives.
///
/// # Errors
/// A relation is invalid.
pub fn parse_alternatives(field: &str) -> Result<Vec<Alternatives>, RelationError> {
    let groups = field.split(',').filter(|group| !group.trim().is_empty());
    groups.map(|group| group.split('|').map(Relation::parse).collect()).collect()
}

/// Parses a field such as `Conflicts`, which has no alternatives.
///
/// # Errors
/// A relation is invalid.
pub fn parse_relations(field: &str) -> Result<Vec<Relation>, RelationError> {
    field.split(',').filter(|part| !part.trim().is_empty()).map(Relation::parse).collect()
}

impl fmt::Display for Relation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        self.version
            .as_ref()
            .map_or(Ok(()), |(comparison, version)| write!(formatter, " ({} {version})", symbol(*comparison)))
    }
}

/// Formats alternatives as in a control file.
pub fn format_alternatives(alternatives: &[Relation]) -> String {
    alternatives.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn relations_are_parsed() {
        let groups = parse_alternatives("a, b (>= 1:2-3) | c:any (<<4),\n d(=5)").expect("relations");
        let formatted: Vec<String> = groups.iter().map(|group| format_alternatives(group)).collect();
        assert_eq!(formatted, ["a", "b (>= 1:2-3) | c (<< 4)", "d (= 5)"]);
        assert_eq!(parse_relations(" \n").expect("nothing"), []);
        for text in ["(>= 1)", "a (1)", "a (>= 1", "a (>= )", "a b", "a (~ 1)", "a (>= _)", "a [i386"] {
            assert!(parse_relations(text).is_err(), "{text}");
        }
    }

    #[test]
    fn versions_are_compared_with_the_bound() {
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
        fn formatting_is_the_inverse_of_parsing(text in "[a-z]{1,3}( \\((<<|<=|=|>=|>>) [0-9]\\))?") {
            prop_assert_eq!(parse_relations(&text).expect("a relation")[0].to_string(), text);
        }

        #[test]
        fn no_text_panics(text in "[a-c(<=> )|,:0-9\\[~é]{0,30}") {
            let _ = parse_alternatives(&text);
        }
    }
}
