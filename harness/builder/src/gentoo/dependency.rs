// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::fmt;

use super::atom::{Atom, AtomError};
use super::use_dependency::is_flag;

/// How deep groups may be nested. Real ones are at most four deep, and a hostile text must not
/// exhaust the stack.
const MAXIMUM_DEPTH: usize = 64;

/// One item of a dependency such as `RDEPEND`.
///
/// Package Manager Specification, 8.2 ("Dependency specification format").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependency {
    /// a package
    Atom(Atom),
    /// `|| ( ... )`: one of these
    AnyOf(Vec<Dependency>),
    /// `( ... )`: all of these
    AllOf(Vec<Dependency>),
    /// `flag? ( ... )`: these, if the package is built with the flag
    IfFlag {
        /// the flag
        flag: String,
        /// whether it counts when the flag is absent: `!flag?`
        negated: bool,
        /// what is needed then
        inside: Vec<Dependency>,
    },
}

/// A text that is not a dependency specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DependencyError {
    /// one of its items is no atom
    #[error(transparent)]
    Atom(#[from] AtomError),
    /// its brackets or operators stand wrong
    #[error("{reason}, near `{near}`")]
    Structure {
        /// what is wrong
        reason: &'static str,
        /// the word that tells it
        near: String,
    },
}

/// Reads a dependency specification.
///
/// # Errors
/// An item is no atom, or the groups are not closed.
pub fn parse(text: &str) -> Result<Vec<Dependency>, DependencyError> {
    let mut words = text.split_ascii_whitespace();
    let items = group(&mut words, 0)?;
    Ok(items)
}

fn structure(reason: &'static str, near: &str) -> DependencyError {
    DependencyError::Structure { reason, near: near.to_owned() }
}

/// Reads up to the bracket that closes the group; at depth 0, to the end.
fn group<'a>(
    words: &mut impl Iterator<Item = &'a str>,
    depth: usize,
) -> Result<Vec<Dependency>, DependencyError> {
    if depth > MAXIMUM_DEPTH {
        return Err(structure("groups are nested too deep", "("));
    }
    let mut items = Vec::new();
    while let Some(word) = words.next() {
        items.push(match word {
            ")" if items.is_empty() && depth > 0 => return Err(structure("a group is empty", word)),
            ")" if depth > 0 => return Ok(items),
            ")" => return Err(structure("a group ends that was not begun", word)),
            "(" => Dependency::AllOf(group(words, depth + 1)?),
            "||" => {
                open(words, word)?;
                Dependency::AnyOf(group(words, depth + 1)?)
            }
            "^^" | "??" => return Err(structure("this operator is for REQUIRED_USE alone", word)),
            _ => match word.strip_suffix('?') {
                Some(flag) => conditional(words, word, flag, depth)?,
                None => Dependency::Atom(Atom::parse(word)?),
            },
        });
    }
    if depth > 0 { Err(structure("a group is not closed", "(")) } else { Ok(items) }
}

fn conditional<'a>(
    words: &mut impl Iterator<Item = &'a str>,
    word: &str,
    flag: &str,
    depth: usize,
) -> Result<Dependency, DependencyError> {
    let (flag, negated) = flag.strip_prefix('!').map_or((flag, false), |flag| (flag, true));
    if !is_flag(flag) {
        return Err(structure("expected a USE flag before `?`", word));
    }
    open(words, word)?;
    Ok(Dependency::IfFlag { flag: flag.to_owned(), negated, inside: group(words, depth + 1)? })
}

fn open<'a>(words: &mut impl Iterator<Item = &'a str>, word: &str) -> Result<(), DependencyError> {
    match words.next() {
        Some("(") => Ok(()),
        _ => Err(structure("expected `(` behind it", word)),
    }
}

/// What is left of dependencies for a package that is built with `flags`: conditionals are decided,
/// and groups that hold one thing only are that thing. A group of choices of which none counts
/// stays, empty: nothing satisfies it.
pub fn reduce(items: &[Dependency], flags: &BTreeSet<String>) -> Vec<Dependency> {
    let mut reduced = Vec::new();
    for item in items {
        match item {
            Dependency::Atom(_) => reduced.push(item.clone()),
            Dependency::AllOf(inside) => reduced.extend(reduce(inside, flags)),
            Dependency::IfFlag { flag, negated, inside } => {
                if flags.contains(flag) != *negated {
                    reduced.extend(reduce(inside, flags));
                }
            }
            Dependency::AnyOf(inside) => reduced.extend(any_of(inside, flags)),
        }
    }
    reduced
}

fn any_of(inside: &[Dependency], flags: &BTreeSet<String>) -> Vec<Dependency> {
    let mut choices = Vec::new();
    for item in inside {
        let mut choice = reduce(std::slice::from_ref(item), flags);
        match choice.len() {
            // A conditional that does not count is no choice.
            0 => {}
            1 => match choice.remove(0) {
                Dependency::AnyOf(more) => choices.extend(more),
                only => choices.push(only),
            },
            _ => choices.push(Dependency::AllOf(choice)),
        }
    }
    match choices.len() {
        1 => match choices.remove(0) {
            Dependency::AllOf(all) => all,
            only => vec![only],
        },
        _ => vec![Dependency::AnyOf(choices)],
    }
}

/// All atoms, wherever they stand.
pub fn atoms(items: &[Dependency]) -> Vec<&Atom> {
    let mut found = Vec::new();
    for item in items {
        match item {
            Dependency::Atom(atom) => found.push(atom),
            Dependency::AnyOf(inside) | Dependency::AllOf(inside) | Dependency::IfFlag { inside, .. } => {
                found.extend(atoms(inside));
            }
        }
    }
    found
}

impl fmt::Display for Dependency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, inside) = match self {
            Self::Atom(atom) => return atom.fmt(formatter),
            Self::AnyOf(inside) => ("|| (".to_owned(), inside),
            Self::AllOf(inside) => ("(".to_owned(), inside),
            Self::IfFlag { flag, negated, inside } => {
                (format!("{}{flag}? (", if *negated { "!" } else { "" }), inside)
            }
        };
        formatter.write_str(&start)?;
        for item in inside {
            write!(formatter, " {item}")?;
        }
        formatter.write_str(" )")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reduced(text: &str, flags: &[&str]) -> String {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let items = reduce(&parse(text).unwrap_or_else(|error| panic!("{error}")), &flags);
        items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn conditionals_are_decided_and_groups_flattened() {
        for (text, flags, expected) in [
            ("a/b  c/d\n\te/f", &[][..], "a/b c/d e/f"),
            ("( a/b ( c/d ) )", &[], "a/b c/d"),
            ("x? ( a/b ) !x? ( c/d )", &["x"], "a/b"),
            ("x? ( a/b ) !x? ( c/d )", &[], "c/d"),
            ("|| ( a/b )", &[], "a/b"),
            ("|| ( a/b ( c/d e/f ) )", &[], "|| ( a/b ( c/d e/f ) )"),
            ("|| ( a/b || ( c/d e/f ) )", &[], "|| ( a/b c/d e/f )"),
            ("|| ( x? ( a/b ) c/d )", &[], "c/d"),
            ("|| ( x? ( a/b ) )", &[], "|| ( )"),
            ("|| ( ( a/b !c/d ) )", &[], "a/b !c/d"),
        ] {
            assert_eq!(reduced(text, flags), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_specification_is_refused() {
        let deep = "( ".repeat(100_000);
        for text in [
            "(",
            ")",
            "||",
            "|| ( )",
            "( )",
            "x? ( )",
            "|| a/b",
            "x?",
            "x? a/b",
            "?? ( a/b )",
            "( a/b ))",
            "a",
            "-? ( a/b )",
            &deep,
        ] {
            assert!(parse(text).is_err(), "{text:.20}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn any_words_are_read_or_refused(words in proptest::collection::vec("\\|\\||\\(|\\)|x\\?|!x\\?|a/b|!c/d|a", 0..20)) {
            if let Ok(items) = parse(&words.join(" ")) {
                let text = items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                prop_assert_eq!(parse(&text), Ok(items.clone()));
                reduce(&items, &BTreeSet::new());
            }
        }
    }
}
