// SPDX-License-Identifier: Apache-2.0
use super::atom::Atom;
use super::use_dependency::UseDependency;

/// A rule for the USE flags of packages, as in Portage's `package.use`: `app-misc/foo ssl -x`. It selects
/// among several builds of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseRule {
    /// the packages
    pub atom: Atom,
    /// the required state of their flags
    pub flags: Vec<UseDependency>,
}

impl UseRule {
    /// Parses a rule; `None` where it is not an atom without USE dependencies, followed by flags.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut tokens = text.split_ascii_whitespace();
        let atom = Atom::parse(tokens.next()?).ok()?;
        if atom.blocker.is_some() || !atom.flags.is_empty() {
            return None;
        }
        let flags: Vec<UseDependency> = tokens.map(parse_flag).collect::<Option<_>>()?;
        (!flags.is_empty()).then_some(Self { atom, flags })
    }
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
        for text in ["", "a/b", "a/b x?", "a/b x=", "a/b x(+)", "!a/b x", "a/b[x] y", "a x"] {
            assert!(UseRule::parse(text).is_none(), "{text}");
        }
    }
}
