// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use super::use_dependency::UseDependency;
use super::version::{Version, split_name};
use crate::version_order::Comparison;

/// A package dependency specification, such as `>=dev-db/sqlite-3.7:3=[threads(+)]`.
///
/// Source: Package Manager Specification, 8.3; and `::REPOSITORY` after the slot, which Portage accepts
/// from users.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Atom {
    /// whether it is a blocker
    pub blocker: Option<Blocker>,
    /// category and name: `dev-db/sqlite`
    pub name: String,
    /// the versions that match
    pub version: Option<(Operator, Version)>,
    /// the slot
    pub slot: Option<String>,
    /// the sub-slot
    pub sub_slot: Option<String>,
    /// `=` or `*` after the slot
    pub slot_operator: Option<SlotOperator>,
    /// the repository
    pub repository: Option<String>,
    /// the USE dependencies
    pub flags: Vec<UseDependency>,
}

/// The strength of a blocker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blocker {
    /// `!`: both packages may be installed while one replaces the other
    Weak,
    /// `!!`: both packages must never be installed together
    Strong,
}

/// How a version is compared with that of the atom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `<`, `<=`, `=`, `>=` or `>`
    Compare(Comparison),
    /// `=` with `*` after the version
    Glob,
    /// `~`: any revision
    AnyRevision,
}

/// Whether the dependant must be rebuilt when the slot of the package changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotOperator {
    /// `=`: it must be rebuilt; in a binary package, the slot that it was built with precedes the operator
    Rebuild,
    /// `*`: any slot satisfies it
    Any,
}

/// A text that is not an atom.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a package dependency: {reason}")]
pub struct AtomError {
    /// the text
    pub text: String,
    /// why it is not an atom
    pub reason: &'static str,
}

/// The properties of a package that an atom is matched against.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// category and name
    pub name: &'a str,
    /// the version
    pub version: &'a Version,
    /// the slot
    pub slot: &'a str,
    /// the sub-slot; equal to the slot where the package has none
    pub sub_slot: &'a str,
    /// the repository of the ebuild; empty where unknown
    pub repository: &'a str,
}

impl Atom {
    /// The atom of all versions of a package.
    pub(super) fn of_name(name: &str) -> Self {
        Self {
            blocker: None,
            name: name.to_owned(),
            version: None,
            slot: None,
            sub_slot: None,
            slot_operator: None,
            repository: None,
            flags: Vec::new(),
        }
    }

    /// Parses an atom.
    ///
    /// # Errors
    /// The text does not follow the specification.
    pub fn parse(text: &str) -> Result<Self, AtomError> {
        Self::read(text).map_err(|reason| AtomError { text: text.to_owned(), reason })
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        let (blocker, rest) = if let Some(rest) = text.strip_prefix("!!") {
            (Some(Blocker::Strong), rest)
        } else if let Some(rest) = text.strip_prefix('!') {
            (Some(Blocker::Weak), rest)
        } else {
            (None, text)
        };
        let (operator, rest) = read_operator(rest);
        let (rest, flags) = read_flags(rest)?;
        let (rest, repository) = match rest.split_once("::") {
            Some((rest, repository)) if is_repository(repository) => (rest, Some(repository.to_owned())),
            Some(_) => return Err("expected the name of a repository after `::`"),
            None => (rest, None),
        };
        let (rest, slot, sub_slot, slot_operator) = read_slot(rest)?;
        let (name, version) = read_version(operator, rest)?;
        if !is_name(name) {
            return Err("expected a category and a name, such as `app-misc/foo`");
        }
        let name = name.to_owned();
        Ok(Self { blocker, name, version, slot, sub_slot, slot_operator, repository, flags })
    }

    /// Whether a package matches, without regard to its USE flags.
    pub fn matches(&self, candidate: &Candidate<'_>) -> bool {
        self.name == candidate.name
            && self
                .version
                .as_ref()
                .is_none_or(|(operator, version)| operator.matches(candidate.version, version))
            && self.slot.as_ref().is_none_or(|slot| slot == candidate.slot)
            && self.sub_slot.as_ref().is_none_or(|sub_slot| sub_slot == candidate.sub_slot)
            && (candidate.repository.is_empty()
                || self.repository.as_ref().is_none_or(|repository| repository == candidate.repository))
    }

    /// The atom without its USE dependencies.
    #[must_use]
    pub fn without_flags(&self) -> Self {
        Self { flags: Vec::new(), ..self.clone() }
    }
}

impl Operator {
    /// Whether `version` matches the version of the atom.
    pub fn matches(self, version: &Version, of_atom: &Version) -> bool {
        match self {
            Self::Compare(comparison) => comparison.admits(version.cmp(of_atom)),
            Self::Glob => version.matches_glob(of_atom),
            // Portage compares the texts here: `1.0` is not `1.00`.
            Self::AnyRevision => version.without_revision() == of_atom.without_revision(),
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Compare(Comparison::Less) => "<",
            Self::Compare(Comparison::LessOrEqual) => "<=",
            Self::Compare(Comparison::Equal) | Self::Glob => "=",
            Self::Compare(Comparison::GreaterOrEqual) => ">=",
            Self::Compare(Comparison::Greater) => ">",
            Self::AnyRevision => "~",
        }
    }
}

fn read_operator(text: &str) -> (Option<Operator>, &str) {
    // A longer symbol precedes its prefix.
    let symbols = [
        ("<=", Operator::Compare(Comparison::LessOrEqual)),
        (">=", Operator::Compare(Comparison::GreaterOrEqual)),
        ("<", Operator::Compare(Comparison::Less)),
        (">", Operator::Compare(Comparison::Greater)),
        ("=", Operator::Compare(Comparison::Equal)),
        ("~", Operator::AnyRevision),
    ];
    for (symbol, operator) in symbols {
        if let Some(rest) = text.strip_prefix(symbol) {
            return (Some(operator), rest);
        }
    }
    (None, text)
}

fn read_flags(text: &str) -> Result<(&str, Vec<UseDependency>), &'static str> {
    let Some((rest, inside)) = text.split_once('[') else { return Ok((text, Vec::new())) };
    let inside = inside.strip_suffix(']').ok_or("`[` is not closed by `]` at the end")?;
    let flags = inside
        .split(',')
        .map(|flag| UseDependency::read(flag).ok_or("expected USE dependencies in `[...]`"))
        .collect::<Result<Vec<_>, _>>()?;
    for (index, flag) in flags.iter().enumerate() {
        if flags[..index].iter().any(|other| other.flag == flag.flag && other.default != flag.default) {
            return Err("a USE flag has two different defaults");
        }
    }
    Ok((rest, flags))
}

type Slot<'a> = (&'a str, Option<String>, Option<String>, Option<SlotOperator>);

fn read_slot(text: &str) -> Result<Slot<'_>, &'static str> {
    let invalid = "expected a slot after `:`";
    let Some((rest, slot)) = text.split_once(':') else { return Ok((text, None, None, None)) };
    let (slot, operator) = if let Some(slot) = slot.strip_suffix('=') {
        (slot, Some(SlotOperator::Rebuild))
    } else if let Some(slot) = slot.strip_suffix('*') {
        (slot, Some(SlotOperator::Any))
    } else {
        (slot, None)
    };
    if slot.is_empty() && operator.is_some() {
        return Ok((rest, None, None, operator));
    }
    let (slot, sub_slot) = match slot.split_once('/') {
        Some((slot, sub_slot)) => (slot, Some(sub_slot)),
        None => (slot, None),
    };
    if operator == Some(SlotOperator::Any) || !is_slot(slot) || !sub_slot.is_none_or(is_slot) {
        return Err(invalid);
    }
    Ok((rest, Some(slot.to_owned()), sub_slot.map(str::to_owned), operator))
}

type Versioned<'a> = (&'a str, Option<(Operator, Version)>);

fn read_version(operator: Option<Operator>, text: &str) -> Result<Versioned<'_>, &'static str> {
    let Some(operator) = operator else {
        return match split_name(text) {
            Some(_) => Err("a version requires an operator, such as `>=`, before the category"),
            None => Ok((text, None)),
        };
    };
    let (operator, text) = match (operator, text.strip_suffix('*')) {
        (Operator::Compare(Comparison::Equal), Some(rest)) => (Operator::Glob, rest),
        (_, Some(_)) => return Err("`*` after the version requires the operator `=`"),
        (_, None) => (operator, text),
    };
    let (name, version) = split_name(text).ok_or("an operator requires a version after the name")?;
    if split_name(name).is_some() {
        return Err("the name ends like a version");
    }
    Ok((name, Some((operator, version))))
}

/// Whether a text is a category and a name (specification, 3.1.1 and 3.1.2).
pub(super) fn is_name(text: &str) -> bool {
    let Some((category, name)) = text.split_once('/') else { return false };
    is_identifier(category, b"+_.-") && is_identifier(name, b"+_-") && split_name(text).is_none()
}

fn is_slot(text: &str) -> bool {
    is_identifier(text, b"+_.-")
}

fn is_repository(text: &str) -> bool {
    is_identifier(text, b"_-")
}

/// Whether a text consists of letters, digits and `_`; after the first character also of `others`.
fn is_identifier(text: &str, others: &[u8]) -> bool {
    let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().next().is_some_and(first) && text.bytes().all(|byte| first(byte) || others.contains(&byte))
}

impl fmt::Display for Atom {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.blocker {
            None => "",
            Some(Blocker::Weak) => "!",
            Some(Blocker::Strong) => "!!",
        })?;
        match &self.version {
            None => write!(formatter, "{}", self.name)?,
            Some((operator, version)) => {
                let end = if *operator == Operator::Glob { "*" } else { "" };
                write!(formatter, "{}{}-{version}{end}", operator.symbol(), self.name)?;
            }
        }
        if self.slot.is_some() || self.slot_operator.is_some() {
            write!(formatter, ":{}", self.slot.as_deref().unwrap_or_default())?;
        }
        if let Some(sub_slot) = &self.sub_slot {
            write!(formatter, "/{sub_slot}")?;
        }
        formatter.write_str(match self.slot_operator {
            None => "",
            Some(SlotOperator::Rebuild) => "=",
            Some(SlotOperator::Any) => "*",
        })?;
        if let Some(repository) = &self.repository {
            write!(formatter, "::{repository}")?;
        }
        if !self.flags.is_empty() {
            let flags: Vec<String> = self.flags.iter().map(ToString::to_string).collect();
            write!(formatter, "[{}]", flags.join(","))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formatting_is_the_inverse_of_parsing() {
        for text in [
            "app-misc/foo",
            "!app-misc/foo",
            "!!<app-misc/foo-2",
            ">=dev-db/sqlite-3.7.9:3",
            "=x11-libs/gtk+-2.24*:2/2.0=",
            "~dev-lang/python-3.12_beta1",
            "net-firewall/nftables:=",
            "net-firewall/nftables:*",
            "a/b:0/1.2::gentoo[a,-b,c?,!d?,e=,!f=,g(+),-h(-)]",
        ] {
            let atom = Atom::parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(atom.to_string(), text);
        }
    }

    #[test]
    fn invalid_atoms_are_refused_with_the_reason() {
        let errors: Vec<String> = [
            "foo",
            "app-misc/foo-1.2",
            ">=app-misc/foo",
            "=app-misc/foo-1-1",
            ">app-misc/foo-1*",
            "app-misc/foo:",
            "app-misc/foo:0*",
            "app-misc/foo:-0",
            "app-misc/foo[a",
            "app-misc/foo[a,]",
            "app-misc/foo[a(+),a(-)]",
            "app-misc/foo::",
            "!!!app-misc/foo",
            "app-misc/foo bar",
        ]
        .into_iter()
        .map(|text| Atom::parse(text).expect_err(text).to_string())
        .collect();
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn packages_match_by_version_slot_and_repository() {
        let version = Version::parse("1.2.3-r1").expect("a version");
        let candidate =
            Candidate { name: "a/b", version: &version, slot: "0", sub_slot: "1", repository: "gentoo" };
        let matches = |text: &str| Atom::parse(text).expect(text).matches(&candidate);
        for text in [
            "a/b",
            "=a/b-1.2*",
            "~a/b-1.2.3",
            ">a/b-1.2.3",
            "<=a/b-1.2.3-r1",
            "a/b:0",
            "a/b:0/1=",
            "a/b::gentoo",
        ] {
            assert!(matches(text), "{text}");
        }
        for text in ["a/c", "=a/b-1.2.3", "=a/b-1*::x", "<a/b-1.2.3", "a/b:1", "a/b:0/2", "~a/b-1.2"] {
            assert!(!matches(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Atom::parse(&text);
        }

        #[test]
        fn a_formatted_atom_is_parsed_again(text in "(!|!!)?(<|<=|=|~|>=|>)?[ab]/[a-c1-2-]{1,6}\\*?(:[0-1/=*]{0,4})?(::g)?(\\[[!-]?[ab](\\([+-]\\))?[?=]?(,b)?\\])?") {
            if let Ok(atom) = Atom::parse(&text) {
                prop_assert_eq!(Atom::parse(&atom.to_string()), Ok(atom));
            }
        }
    }
}
