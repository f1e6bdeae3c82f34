// SPDX-License-Identifier: Apache-2.0
//! Errors at a place in a text file.
use std::fmt;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use crate::{Hint, suggest, toml_keys};

/// An error at a place in a text file that the user wrote, with the line that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// the file, as the user would name it
    pub file: Utf8PathBuf,
    /// the 1-based line
    pub line: usize,
    /// the 1-based column, in characters
    pub column: usize,
    /// the text of the line
    pub text: String,
    /// the length of the marked part of the line in characters, at least 1
    pub width: usize,
    /// the reason, without the place
    pub cause: String,
    hint: Option<String>,
}

impl Problem {
    /// A problem with a range of bytes of a file's text. A range of several lines is cut at the end of
    /// the first one.
    pub fn new(
        file: &Utf8Path,
        text: &str,
        span: Range<usize>,
        cause: impl Into<String>,
        hint: Option<String>,
    ) -> Self {
        let start = floor(text, span.start);
        let before = &text[..start];
        let from = before.rfind('\n').map_or(0, |newline| newline + 1);
        let to = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let end = floor(text, span.end).clamp(start, to);
        Self {
            file: file.to_owned(),
            line: line_of(text, start),
            column: text[from..start].chars().count() + 1,
            text: text[from..to].trim_end_matches('\r').to_owned(),
            width: text[start..end].chars().count().max(1),
            cause: cause.into(),
            hint,
        }
    }

    /// The problem with its hint below it, for a terminal.
    pub fn report(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{self}\n  hint: {hint}"),
            None => self.to_string(),
        }
    }
}

impl Hint for Problem {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}:{}:{}: {}", self.file, self.line, self.column, self.cause)?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        // The caret is below its character only if the padding has the same tabs.
        let padding: String = self
            .text
            .chars()
            .take(self.column - 1)
            .map(|character| if character == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(formatter, "  {number} | {}", self.text)?;
        write!(formatter, "  {margin} | {padding}{}", "^".repeat(self.width))
    }
}

impl std::error::Error for Problem {}

/// The 1-based line of a byte of a text.
pub fn line_of(text: &str, offset: usize) -> usize {
    text[..floor(text, offset)].matches('\n').count() + 1
}

/// Turns serde's message about a TOML value into a cause and a hint. `keys` are those of the format, and
/// `renamed` has the former names of keys with their present ones.
///
/// Types are checked before, with [`toml_keys::take_wrong_types`], whose messages say more.
pub fn explain(
    message: &str,
    keys: &'static [toml_keys::Key],
    renamed: &[(&str, &str)],
) -> (String, Option<String>) {
    let message = message.trim_end();
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let key = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        return (format!("unknown key `{key}`"), unknown_key(key, &known, renamed));
    }
    if message.starts_with("unknown variant") {
        let value = quoted.next().unwrap_or_default();
        return (format!("unknown value `{value}`"), suggest::did_you_mean(value, quoted));
    }
    if message.starts_with("missing field") {
        let key = quoted.next().unwrap_or_default();
        let hint = toml_keys::example_of(keys, key).map(|example| format!("add `{example}`"));
        return (format!("the key `{key}` is missing"), hint);
    }
    if SERDE.iter().any(|beginning| message.starts_with(beginning)) {
        return ("the value is not of the right type".to_owned(), None);
    }
    (message.replace('\n', "; "), None)
}

/// How serde and the TOML reader begin messages that name types of Rust.
const SERDE: [&str; 7] = [
    "invalid type",
    "invalid value",
    "invalid length",
    "data did not match",
    "expected ",
    "wanted ",
    "unit value",
];

/// The hint for an unknown key: its present name where it was renamed, otherwise the nearest known one.
pub fn unknown_key(key: &str, known: &[&str], renamed: &[(&str, &str)]) -> Option<String> {
    let present = renamed.iter().find(|(former, present)| *former == key && known.contains(present));
    match present {
        Some((_, present)) => Some(format!("the key is now called `{present}`")),
        None => suggest::did_you_mean(key, known.iter().copied()),
    }
}

/// The last boundary of a character at or before a byte.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str, span: Range<usize>) -> String {
        Problem::new(Utf8Path::new("x.toml"), text, span, "wrong", Some("correct it".to_owned())).report()
    }

    #[test]
    fn a_problem_marks_its_characters() {
        assert_eq!(
            report("a = 1\nbé = 2 # x\nc", 12..13),
            "x.toml:2:6: wrong\n  2 | bé = 2 # x\n    |      ^\n  hint: correct it"
        );
    }

    #[test]
    fn a_range_of_several_lines_is_cut_at_the_end_of_the_first() {
        assert_eq!(report("ab\ncd", 1..5), "x.toml:1:2: wrong\n  1 | ab\n    |  ^\n  hint: correct it");
        assert_eq!(report("", 9..12), "x.toml:1:1: wrong\n  1 | \n    | ^\n  hint: correct it");
    }

    #[test]
    fn a_renamed_key_is_named_before_a_similar_one() {
        let message = "unknown field `merged`, expected one of `merge`, `expect`";
        let hint = |renamed| explain(message, &[], renamed).1;
        assert_eq!(hint(&[("merged", "expect")]).as_deref(), Some("the key is now called `expect`"));
        assert_eq!(hint(&[("merged", "elsewhere")]).as_deref(), Some("did you mean `merge`?"));
        assert_eq!(explain(message, &[], &[]).0, "unknown key `merged`");
    }
}
