// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::fmt;

use super::atom::{Atom, AtomError};
use super::use_dependency::is_flag;

/// Limit of nested groups, so that a hostile text does not overflow the stack; packages of Gentoo nest at
/// most four.
const MAXIMUM_DEPTH: usize = 64;

/// An item of a dependency specification such as `RDEPEND`.
///
/// Source: Package Manager Specification, 8.2 ("Dependency specification format").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependency {
    /// a package
    Atom(Atom),
    /// `|| ( ... )`: one of the items
    AnyOf(Vec<Dependency>),
    /// `( ... )`: all items
    AllOf(Vec<Dependency>),
    /// `flag? ( ... )`: all items, if the package is built with the flag
    IfFlag {
        /// the flag
        flag: String,
        /// whether the flag must be disabled: `!flag?`
        negated: bool,
        /// the items
        inside: Vec<Dependency>,
    },
}

/// A text that is not a dependency specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DependencyError {
    /// an item is not an atom
    #[error(transparent)]
    Atom(#[from] AtomError),
    /// a bracket or an operator is misplaced
    #[error("{reason} at `{token}`")]
    Structure {
        /// what is wrong
        reason: &'static str,
        /// the token where the parser stopped
        token: String,
    },
}

/// Parses a dependency specification.
///
/// # Errors
/// An item is not an atom, or a group is malformed.
pub fn parse(text: &str) -> Result<Vec<Dependency>, DependencyError> {
    group(&mut text.split_ascii_whitespace(), 0)
}

fn structure(reason: &'static str, token: &str) -> DependencyError {
    DependencyError::Structure { reason, token: token.to_owned() }
}

/// Parses the items of a group up to its closing bracket; at depth 0, up to the end.
fn group<'a>(
    tokens: &mut impl Iterator<Item = &'a str>,
    depth: usize,
) -> Result<Vec<Dependency>, DependencyError> {
    if depth > MAXIMUM_DEPTH {
        return Err(structure("groups are nested too deeply", "("));
    }
    let mut items = Vec::new();
    while let Some(token) = tokens.next() {
        items.push(match token {
            ")" if items.is_empty() && depth > 0 => return Err(structure("a group is empty", token)),
            ")" if depth > 0 => return Ok(items),
            ")" => return Err(structure("unexpected `)`", token)),
            "(" => Dependency::AllOf(group(tokens, depth + 1)?),
            "||" => {
                open(tokens, token)?;
                Dependency::AnyOf(group(tokens, depth + 1)?)
            }
            "^^" | "??" => return Err(structure("operator of REQUIRED_USE in a dependency", token)),
            _ => match token.strip_suffix('?') {
                Some(flag) => conditional(tokens, token, flag, depth)?,
                None => Dependency::Atom(Atom::parse(token)?),
            },
        });
    }
    if depth > 0 { Err(structure("a group is not closed", "(")) } else { Ok(items) }
}

fn conditional<'a>(
    tokens: &mut impl Iterator<Item = &'a str>,
    token: &str,
    flag: &str,
    depth: usize,
) -> Result<Dependency, DependencyError> {
    let (flag, negated) = flag.strip_prefix('!').map_or((flag, false), |flag| (flag, true));
    if !is_flag(flag) {
        return Err(structure("expected a USE flag before `?`", token));
    }
    open(tokens, token)?;
    Ok(Dependency::IfFlag { flag: flag.to_owned(), negated, inside: group(tokens, depth + 1)? })
}

fn open<'a>(tokens: &mut impl Iterator<Item = &'a str>, token: &str) -> Result<(), DependencyError> {
    match tokens.next() {
        Some("(") => Ok(()),
        _ => Err(structure("expected `(` after the operator", token)),
    }
}

/// Evaluates the conditionals of dependencies for a package that is built with `flags`, and flattens
/// groups of a single item. A `|| ( )` without remaining items is kept: nothing satisfies it.
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
            // A conditional that is not met is not a choice.
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

/// All atoms, also those in groups.
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
    fn conditionals_are_evaluated_and_groups_flattened() {
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
    fn invalid_specifications_are_refused() {
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
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn no_tokens_panic_and_formatting_is_the_inverse_of_parsing(tokens in proptest::collection::vec("\\|\\||\\(|\\)|x\\?|!x\\?|a/b|!c/d|a", 0..20)) {
            if let Ok(items) = parse(&tokens.join(" ")) {
                let text = items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                prop_assert_eq!(parse(&text), Ok(items.clone()));
                reduce(&items, &BTreeSet::new());
            }
        }
    }
}
