// SPDX-License-Identifier: Apache-2.0
use super::atom::{Atom, Candidate, is_name};
use super::use_dependency::UseDependency;

/// A rule for the USE flags of packages, as in Portage's `package.use`: `app-misc/foo ssl -x`. It selects
/// among several builds of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseRule {
    /// the packages
    pub packages: UsePackages,
    /// the required state of their flags
    pub flags: Vec<UseDependency>,
}

/// The packages of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsePackages {
    /// those that an atom matches
    Atom(Box<Atom>),
    /// those whose category and name match, in which `*` is any text: `*/*`, `dev-libs/*`
    Names {
        /// the category
        category: String,
        /// the name
        name: String,
    },
}

impl UseRule {
    /// Parses a rule; `None` where it is not an atom without USE dependencies or a pattern of names,
    /// followed by flags.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut tokens = text.split_ascii_whitespace();
        let packages = UsePackages::parse(tokens.next()?)?;
        let flags: Vec<UseDependency> = tokens.map(parse_flag).collect::<Option<_>>()?;
        (!flags.is_empty()).then_some(Self { packages, flags })
    }
}

impl UsePackages {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(atom) = Atom::parse(text) {
            return (atom.blocker.is_none() && atom.flags.is_empty()).then(|| Self::Atom(Box::new(atom)));
        }
        let (category, name) = text.split_once('/').filter(|_| text.contains('*'))?;
        // With `a` for each asterisk it must be a name.
        if !is_name(&text.replace('*', "a")) {
            return None;
        }
        Some(Self::Names { category: category.to_owned(), name: name.to_owned() })
    }

    /// Whether the rule is about a package.
    pub(super) fn matches(&self, package: &Candidate<'_>) -> bool {
        match self {
            Self::Atom(atom) => atom.matches(package),
            Self::Names { category, name } => package
                .name
                .split_once('/')
                .is_some_and(|(of, called)| matches_pattern(category, of) && matches_pattern(name, called)),
        }
    }
}

/// Whether a text matches a pattern, in which `*` is any text.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    (0..=text.len()).any(|at| text.is_char_boundary(at) && matches_pattern(rest, &text[at..]))
}

/// Parses `ssl` or `-ssl`.
fn parse_flag(text: &str) -> Option<UseDependency> {
    UseDependency::read(text).filter(|flag| !text.ends_with(['?', '=', ')']) && flag.default.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_a_package_and_plain_flags() {
        assert!(UseRule::parse("a/b x -y").is_some() && UseRule::parse(">=a/b-1:0 x").is_some());
        for text in [
            "", "a/b", "a/b x?", "a/b x=", "a/b x(+)", "!a/b x", "a/b[x] y", "a x", "* x", ">=*/* x",
            "*/*:0 x",
        ] {
            assert!(UseRule::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn patterns_match_names() {
        let matches = |pattern: &str, name: &str| {
            let version = super::super::version::Version::parse("1").expect("a version");
            let candidate = Candidate { name, version: &version, slot: "0", sub_slot: "0", repository: "" };
            UseRule::parse(&format!("{pattern} x")).expect(pattern).packages.matches(&candidate)
        };
        assert!(matches("*/*", "dev-libs/store") && matches("dev-*/*", "dev-libs/store"));
        assert!(matches("*/s*e", "dev-libs/store") && !matches("*/s*x", "dev-libs/store"));
        assert!(!matches("dev-libs/*", "dev-lang/perl"));
    }
}
