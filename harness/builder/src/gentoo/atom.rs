// SPDX-License-Identifier: Apache-2.0
use std::cmp::Ordering;
use std::fmt;

use super::use_dependency::UseDependency;
use super::version::{Version, split_name};

/// A package dependency: which packages satisfy it, such as `>=dev-db/sqlite-3.7:3=[threads(+)]`.
///
/// Package Manager Specification, 8.3 ("Package dependency specifications"); and `::REPOSITORY`
/// behind the slot, which Portage takes from users.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Atom {
    /// whether it forbids instead of asking
    pub blocker: Option<Blocker>,
    /// category and name: `dev-db/sqlite`
    pub name: String,
    /// which versions
    pub version: Option<(Operator, Version)>,
    /// which slot
    pub slot: Option<String>,
    /// which sub-slot
    pub sub_slot: Option<String>,
    /// `:=`, `:*`, or what stands behind a slot
    pub slot_operator: Option<SlotOperator>,
    /// from which repository
    pub repository: Option<String>,
    /// which USE flags
    pub flags: Vec<UseDependency>,
}

/// How much a blocker forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blocker {
    /// `!`: the two may be there together while one takes the place of the other
    Weak,
    /// `!!`: not even then
    Strong,
}

/// How versions are compared with the one of the atom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `=` with `*` at the end
    Begins,
    /// `~`: any revision
    AnyRevision,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

/// What is to happen when the slot of the package changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotOperator {
    /// `=`: the package must be built again; in a built package, the slot that it was built with
    /// stands before it
    Rebuild,
    /// `*`: any slot will do
    Any,
}

/// A text that is not an atom.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a package dependency: {reason}")]
pub struct AtomError {
    /// the text
    pub text: String,
    /// what is wrong with it
    pub reason: &'static str,
}

/// What an atom is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// category and name
    pub name: &'a str,
    /// its version
    pub version: &'a Version,
    /// its slot
    pub slot: &'a str,
    /// its sub-slot; the slot where it has none
    pub sub_slot: &'a str,
    /// where its ebuild came from; empty where that is not known
    pub repository: &'a str,
}

impl Atom {
    /// Reads an atom.
    ///
    /// # Errors
    /// It is not written as the specification demands.
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
            Some(_) => return Err("what stands behind `::` cannot name a repository"),
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

    /// Whether a package is one of those that the atom speaks of, its USE flags aside.
    pub fn matches(&self, candidate: &Candidate<'_>) -> bool {
        self.name == candidate.name
            && self
                .version
                .as_ref()
                .is_none_or(|(operator, version)| operator.holds(candidate.version, version))
            && self.slot.as_ref().is_none_or(|slot| slot == candidate.slot)
            && self.sub_slot.as_ref().is_none_or(|sub_slot| sub_slot == candidate.sub_slot)
            && (candidate.repository.is_empty()
                || self.repository.as_ref().is_none_or(|repository| repository == candidate.repository))
    }

    /// The atom without what it asks of USE flags.
    #[must_use]
    pub fn without_flags(&self) -> Self {
        Self { flags: Vec::new(), ..self.clone() }
    }
}

impl Operator {
    /// Whether `version` stands in this relation to `other`.
    pub fn holds(self, version: &Version, other: &Version) -> bool {
        let order = version.cmp(other);
        match self {
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
            Self::Equal => order == Ordering::Equal,
            Self::Begins => version.begins_with(other),
            // Portage demands the same text, `1.0` is not `1.00` here.
            Self::AnyRevision => version.without_revision() == other.without_revision(),
            Self::GreaterOrEqual => order != Ordering::Less,
            Self::Greater => order == Ordering::Greater,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal | Self::Begins => "=",
            Self::AnyRevision => "~",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }
}

fn read_operator(text: &str) -> (Option<Operator>, &str) {
    let signs = [
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("=", Operator::Equal),
        ("~", Operator::AnyRevision),
    ];
    for (sign, operator) in signs {
        if let Some(rest) = text.strip_prefix(sign) {
            return (Some(operator), rest);
        }
    }
    (None, text)
}

fn read_flags(text: &str) -> Result<(&str, Vec<UseDependency>), &'static str> {
    let Some((rest, inside)) = text.split_once('[') else { return Ok((text, Vec::new())) };
    let inside = inside.strip_suffix(']').ok_or("`[` without a `]` at the end")?;
    let flags = inside
        .split(',')
        .map(|flag| UseDependency::read(flag).ok_or("what stands in `[...]` is not a list of USE flags"))
        .collect::<Result<Vec<_>, _>>()?;
    for (index, flag) in flags.iter().enumerate() {
        if flags[..index].iter().any(|other| other.flag == flag.flag && other.default != flag.default) {
            return Err("the same USE flag stands in it with two defaults");
        }
    }
    Ok((rest, flags))
}

type Slot<'a> = (&'a str, Option<String>, Option<String>, Option<SlotOperator>);

fn read_slot(text: &str) -> Result<Slot<'_>, &'static str> {
    let wrong = "what stands behind `:` is not a slot";
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
        return Err(wrong);
    }
    Ok((rest, Some(slot.to_owned()), sub_slot.map(str::to_owned), operator))
}

type Versioned<'a> = (&'a str, Option<(Operator, Version)>);

fn read_version(operator: Option<Operator>, text: &str) -> Result<Versioned<'_>, &'static str> {
    let Some(operator) = operator else {
        return match split_name(text) {
            Some(_) => Err("a version needs an operator, such as `>=`, before the category"),
            None => Ok((text, None)),
        };
    };
    let (operator, text) = match (operator, text.strip_suffix('*')) {
        (Operator::Equal, Some(rest)) => (Operator::Begins, rest),
        (_, Some(_)) => return Err("`*` goes with `=` alone"),
        (_, None) => (operator, text),
    };
    let (name, version) = split_name(text).ok_or("an operator needs a version behind the name")?;
    if split_name(name).is_some() {
        return Err("the name ends like a version");
    }
    Ok((name, Some((operator, version))))
}

/// Category and name, specification 3.1.1 and 3.1.2.
pub(super) fn is_name(text: &str) -> bool {
    let Some((category, name)) = text.split_once('/') else { return false };
    is_word(category, b"+_.-") && is_word(name, b"+_-") && split_name(text).is_none()
}

fn is_slot(text: &str) -> bool {
    is_word(text, b"+_.-")
}

fn is_repository(text: &str) -> bool {
    is_word(text, b"_-")
}

/// Letters, digits, `_`; and behind the first character also others.
fn is_word(text: &str, others: &[u8]) -> bool {
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
                let end = if *operator == Operator::Begins { "*" } else { "" };
                write!(formatter, "{}{}-{version}{end}", operator.sign(), self.name)?;
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
    fn an_atom_is_written_as_it_was_read() {
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
    fn what_is_not_an_atom_is_refused_with_the_reason() {
        let told: Vec<String> = [
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
        insta::assert_snapshot!(told.join("\n"));
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
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = Atom::parse(&text);
        }

        #[test]
        fn what_is_read_can_be_read_again(text in "(!|!!)?(<|<=|=|~|>=|>)?[ab]/[a-c1-2-]{1,6}\\*?(:[0-1/=*]{0,4})?(::g)?(\\[[!-]?[ab](\\([+-]\\))?[?=]?(,b)?\\])?") {
            if let Ok(atom) = Atom::parse(&text) {
                prop_assert_eq!(Atom::parse(&atom.to_string()), Ok(atom));
            }
        }
    }
}
