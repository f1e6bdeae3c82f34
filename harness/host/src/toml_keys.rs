// SPDX-License-Identifier: Apache-2.0
//! The keys of a TOML format with the types of their values.
//!
//! Types are checked against these keys before serde reads the values: its messages name Rust's types
//! instead of what the user can write, and it accepts a list in the place of a table.
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// the name, as the user writes it
    pub name: &'static str,
    /// the values that it can have
    pub kind: &'static Kind,
    /// the key with a value, as the user can write it
    pub example: &'static str,
}

impl Key {
    /// A key with an example of its value.
    pub const fn new(name: &'static str, kind: &'static Kind, example: &'static str) -> Self {
        Self { name, kind, example }
    }
}

/// The names of keys.
pub fn names(keys: &'static [Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

/// The example of the only key with a name, among keys and those of the tables in them.
pub fn example_of(keys: &'static [Key], name: &str) -> Option<&'static str> {
    let mut examples = Vec::new();
    collect(keys, name, &mut examples);
    examples.sort_unstable();
    examples.dedup();
    match examples.as_slice() {
        [example] => Some(example),
        _ => None,
    }
}

fn collect(keys: &'static [Key], name: &str, examples: &mut Vec<&'static str>) {
    for key in keys {
        if key.name == name {
            examples.push(key.example);
        }
        collect_in(key.kind, name, examples);
    }
}

fn collect_in(kind: &'static Kind, name: &str, examples: &mut Vec<&'static str>) {
    match kind {
        Kind::Table(keys) => collect(keys, name, examples),
        Kind::List(inner) | Kind::ByName(inner) => collect_in(inner, name, examples),
        Kind::Either(one, other) => {
            collect_in(one, name, examples);
            collect_in(other, name, examples);
        }
        Kind::Text | Kind::Number(..) | Kind::Boolean => {}
    }
}

/// A document for each key, among keys and those of the tables in them, that has a value at the key and
/// nothing else: for tests that a format has a message for every wrong value.
pub fn with_value_at_every_key(keys: &[Key], value: &str) -> Vec<String> {
    let mut documents = Vec::new();
    for key in keys {
        documents.push(format!("{} = {value}", key.name));
        let inner = with_value_in(key.kind, value);
        documents.extend(inner.into_iter().map(|inner| format!("{} = {inner}", key.name)));
    }
    documents
}

/// The values of a kind that have a value at one of the keys in them.
fn with_value_in(kind: &Kind, value: &str) -> Vec<String> {
    let table = |inner: String| format!("{{ {inner} }}");
    match kind {
        Kind::Table(keys) => with_value_at_every_key(keys, value).into_iter().map(table).collect(),
        Kind::List(element) => {
            let inner = with_value_in(element, value).into_iter().chain([value.to_owned()]);
            inner.map(|inner| format!("[{inner}]")).collect()
        }
        Kind::ByName(element) => {
            let inner = with_value_in(element, value).into_iter().chain([value.to_owned()]);
            inner.map(|inner| table(format!("name = {inner}"))).collect()
        }
        Kind::Either(one, other) => [with_value_in(one, value), with_value_in(other, value)].concat(),
        Kind::Text | Kind::Number(..) | Kind::Boolean => Vec::new(),
    }
}

/// The values that a key can have.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// a text
    Text,
    /// a whole number in a range, both ends included
    Number(i64, i64),
    /// `true` or `false`
    Boolean,
    /// a list of values
    List(&'static Kind),
    /// a table
    Table(&'static [Key]),
    /// a table with names that the user chooses
    ByName(&'static Kind),
    /// one of two kinds
    Either(&'static Kind, &'static Kind),
}

/// Any whole number from 0.
pub const WHOLE_NUMBER: Kind = Kind::Number(0, i64::MAX);
/// A list of texts.
pub const TEXTS: Kind = Kind::List(&Kind::Text);
/// A text or a list of texts.
pub const TEXT_OR_TEXTS: Kind = Kind::Either(&Kind::Text, &TEXTS);

impl Kind {
    /// The kind with its article, for a message.
    fn describe(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Number(0, i64::MAX) => "a whole number".to_owned(),
            Self::Number(least, most) => format!("a whole number from {least} to {most}"),
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::List(element) => format!("a list of {}", element.plural()),
            Self::Table(_) | Self::ByName(_) => "a table".to_owned(),
            Self::Either(one, other) => format!("{} or {}", one.describe(), other.describe()),
        }
    }

    fn plural(&self) -> &'static str {
        match self {
            Self::Text => "texts",
            Self::Number(..) => "numbers",
            Self::Table(_) | Self::ByName(_) => "tables",
            Self::Boolean | Self::List(_) | Self::Either(..) => "values",
        }
    }

    /// Whether a value is of this kind, apart from the values in it.
    fn accepts(&self, value: &DeValue<'_>) -> bool {
        match self {
            Self::Text => value.is_str(),
            Self::Number(least, most) => {
                number(value).is_some_and(|number| (*least..=*most).contains(&number))
            }
            Self::Boolean => value.is_bool(),
            Self::List(_) => value.is_array(),
            Self::Table(_) | Self::ByName(_) => value.is_table(),
            Self::Either(one, other) => one.accepts(value) || other.accepts(value),
        }
    }
}

/// The whole number of a value.
fn number(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A value of the wrong type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongType {
    /// the bytes of the value
    pub span: Range<usize>,
    /// the bytes of the tables and lists that it was in; of a table with a header, those of the header
    pub inside: Vec<Range<usize>>,
    /// what the value must be, and what it is
    pub cause: String,
    /// an example of the right form
    pub hint: String,
}

/// Removes the values of the wrong type from a table and from the tables in it. Unknown keys stay.
pub fn take_wrong_types(table: &mut DeTable<'_>, keys: &[Key]) -> Vec<WrongType> {
    let mut check = TypeCheck { inside: Vec::new(), wrong: Vec::new() };
    check.retain_right(table, keys);
    check.wrong.sort_by_key(|wrong| (wrong.span.start, wrong.span.end));
    check.wrong
}

/// A walk through a document.
struct TypeCheck {
    /// the bytes of the tables and lists around the current value
    inside: Vec<Range<usize>>,
    wrong: Vec<WrongType>,
}

impl TypeCheck {
    fn retain_right(&mut self, table: &mut DeTable<'_>, keys: &[Key]) {
        retain(table, |name, value| {
            let key = keys.iter().find(|key| key.name == name);
            key.is_none_or(|key| self.is_right(value, key.kind, key))
        });
    }

    /// Whether a value at a key, or in a list there, is of a kind. Wrong values in it are removed.
    fn is_right(&mut self, value: &mut Spanned<DeValue<'_>>, kind: &Kind, key: &Key) -> bool {
        if !kind.accepts(value.get_ref()) {
            let wrong = wrong_type(value, kind, key, self.inside.clone());
            self.wrong.push(wrong);
            return false;
        }
        if let Kind::Either(one, other) = kind {
            let kind = if one.accepts(value.get_ref()) { one } else { other };
            return self.is_right(value, kind, key);
        }
        self.inside.push(value.span());
        match (kind, value.get_mut()) {
            (Kind::List(element), DeValue::Array(list)) => {
                let elements = std::mem::replace(list, DeArray::new()).into_iter();
                let right = elements
                    .filter_map(|mut value| self.is_right(&mut value, element, key).then_some(value))
                    .collect();
                *list = right;
            }
            (Kind::Table(keys), DeValue::Table(table)) => self.retain_right(table, keys),
            (Kind::ByName(kind), DeValue::Table(table)) => {
                retain(table, |_, value| self.is_right(value, kind, key));
            }
            _ => {}
        }
        self.inside.pop();
        true
    }
}

/// Keeps some of the entries of a table.
fn retain(table: &mut DeTable<'_>, mut keep: impl FnMut(&str, &mut Spanned<DeValue<'_>>) -> bool) {
    *table = std::mem::take(table)
        .into_iter()
        .filter_map(|(name, mut value)| keep(name.get_ref(), &mut value).then_some((name, value)))
        .collect();
}

fn wrong_type(value: &Spanned<DeValue<'_>>, kind: &Kind, key: &Key, inside: Vec<Range<usize>>) -> WrongType {
    let Key { name, example, .. } = key;
    let found = match (kind, value.get_ref()) {
        // The type is right, so the value says more.
        (Kind::Number(..), DeValue::Integer(integer)) => integer.as_str().to_owned(),
        (_, value) => type_of(value).to_owned(),
    };
    let subject = if std::ptr::eq(kind, key.kind) {
        format!("`{name}` must be {}", kind.describe())
    } else {
        format!("`{name}` must contain {}", kind.describe())
    };
    WrongType {
        span: value.span(),
        inside,
        cause: format!("{subject}, not {found}"),
        hint: format!("write `{example}`"),
    }
}

/// The type of a value with its article, for a message.
pub fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(true) => "`true`",
        DeValue::Boolean(false) => "`false`",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &Kind = &Kind::Table(&[Key::new("contains", &TEXT_OR_TEXTS, "contains = \"active\"")]);
    const KEYS: &[Key] = &[
        Key::new("timeout", &Kind::Text, "timeout = \"90s\""),
        Key::new("exit", &Kind::Number(0, 255), "exit = 1"),
        Key::new("tpm", &Kind::Boolean, "tpm = true"),
        Key::new("tags", &TEXTS, "tags = [\"quick\"]"),
        Key::new("stdout", RULES, "stdout = { contains = \"active\" }"),
        Key::new("step", &Kind::List(RULES), "[[step]]"),
        Key::new(
            "unit",
            &Kind::ByName(&Kind::Either(&Kind::Text, RULES)),
            "unit = { \"a.service\" = \"active\" }",
        ),
    ];

    fn wrong(text: &str) -> Vec<String> {
        let mut table = DeTable::parse(text).expect("TOML").into_inner();
        let wrong = take_wrong_types(&mut table, KEYS);
        assert_eq!(take_wrong_types(&mut table, KEYS), [], "{text}: they are removed");
        wrong
            .into_iter()
            .map(|wrong| format!("{}: {}; {}", &text[wrong.span], wrong.cause, wrong.hint))
            .collect()
    }

    #[test]
    fn right_values_and_unknown_keys_stay() {
        let text = "timeout = \"1s\"\nexit = 0xff\ntpm = false\ntags = []\nother = 1979-05-27\n\
                    stdout.contains = [\"a\", \"b\"]\nunit = { a = \"x\", b = { contains = \"y\" } }\n\
                    [[step]]\ncontains = \"a\"\n";
        let mut table = DeTable::parse(text).expect("TOML").into_inner();
        let before = format!("{table:?}");
        assert_eq!(take_wrong_types(&mut table, KEYS), []);
        assert_eq!(format!("{table:?}"), before);
    }

    #[test]
    fn a_wrong_type_is_described_with_an_example() {
        for (text, expected) in [
            ("timeout = 90", "90: `timeout` must be a text, not a number; write `timeout = \"90s\"`"),
            ("tpm = \"yes\"", "\"yes\": `tpm` must be `true` or `false`, not a text; write `tpm = true`"),
            ("exit = 300", "300: `exit` must be a whole number from 0 to 255, not 300; write `exit = 1`"),
            ("exit = -1", "-1: `exit` must be a whole number from 0 to 255, not -1; write `exit = 1`"),
            (
                "exit = 1.5",
                "1.5: `exit` must be a whole number from 0 to 255, not a number with a fraction; write `exit = 1`",
            ),
            ("tags = \"x\"", "\"x\": `tags` must be a list of texts, not a text; write `tags = [\"quick\"]`"),
            ("tags = [\"x\", 3]", "3: `tags` must contain a text, not a number; write `tags = [\"quick\"]`"),
            (
                "stdout = [\"x\"]",
                "[\"x\"]: `stdout` must be a table, not a list; write `stdout = { contains = \"active\" }`",
            ),
            (
                "stdout.contains = 3",
                "3: `contains` must be a text or a list of texts, not a number; write `contains = \"active\"`",
            ),
            ("step = { }", "{ }: `step` must be a list of tables, not a table; write `[[step]]`"),
            (
                "unit = { a = true }",
                "true: `unit` must contain a text or a table, not `true`; write `unit = { \"a.service\" = \"active\" }`",
            ),
        ] {
            assert_eq!(wrong(text), [expected]);
        }
    }

    #[test]
    fn all_wrong_types_are_found() {
        assert_eq!(
            wrong("tags = 1\ntimeout = 2\n[[step]]\ncontains = 3\n[[step]]\ncontains = [4]\n").len(),
            4
        );
    }
}
