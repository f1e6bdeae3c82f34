// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::fmt;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

/// Something wrong with a scenario file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// the file, as the user would name it
    pub file: Utf8PathBuf,
    /// 1-based
    pub line: usize,
    /// 1-based, in characters
    pub column: usize,
    /// the offending line
    pub text: String,
    /// how many characters of it are meant, at least 1
    pub width: usize,
    /// what is wrong
    pub cause: String,
    hint: Option<String>,
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
        // The caret stands under its character only if the padding has the same tabs.
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

/// Everything that is wrong with one scenario file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    problems: Vec<Problem>,
}

impl ParseError {
    /// The problems, in the order of the file; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// All problems, each with its hint below it, for a terminal.
    pub fn report(&self) -> String {
        let parts: Vec<String> = self
            .problems
            .iter()
            .map(|problem| match &problem.hint {
                Some(hint) => format!("{problem}\n  hint: {hint}"),
                None => problem.to_string(),
            })
            .collect();
        parts.join("\n")
    }
}

impl Hint for ParseError {
    fn hint(&self) -> Option<String> {
        match self.problems.as_slice() {
            [problem] => problem.hint(),
            _ => None,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            problem.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseError {}

/// Something could not be read, and the problem was added.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told;

/// The text of a scenario file, and what was found wrong with it so far.
#[derive(Debug)]
pub(super) struct Problems<'text> {
    file: &'text Utf8Path,
    text: &'text str,
    found: Vec<(Range<usize>, Problem)>,
}

impl<'text> Problems<'text> {
    pub(super) fn new(file: &'text Utf8Path, text: &'text str) -> Self {
        Self { file, text, found: Vec::new() }
    }

    /// Adds a problem of a range of bytes.
    pub(super) fn add(&mut self, span: Range<usize>, cause: impl Into<String>, hint: Option<String>) {
        let place = Place::of(self.text, span.clone());
        let problem = Problem {
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            text: place.text.to_owned(),
            width: place.width,
            cause: cause.into(),
            hint,
        };
        self.found.push((span, problem));
    }

    /// The 1-based line of a byte.
    pub(super) fn line(&self, offset: usize) -> usize {
        Place::of(self.text, offset..offset).line
    }

    /// Whether nothing was found yet.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The bytes of a 1-based line.
    pub(super) fn span_of_line(&self, line: usize) -> Range<usize> {
        let mut lines = self.text.split_inclusive('\n');
        let start: usize = lines.by_ref().take(line.saturating_sub(1)).map(str::len).sum();
        start..start + lines.next().map_or(0, |line| line.trim_end().len())
    }

    /// What was found, or the value where nothing was.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, ParseError> {
        if let (Some(value), true) = (value, self.found.is_empty()) {
            return Ok(value);
        }
        self.found.sort_by_key(|(span, _)| (span.start, span.end));
        Err(ParseError { problems: self.found.into_iter().map(|(_, problem)| problem).collect() })
    }
}

/// A range of bytes in terms of lines.
struct Place<'text> {
    line: usize,
    column: usize,
    text: &'text str,
    width: usize,
}

impl<'text> Place<'text> {
    fn of(text: &'text str, span: Range<usize>) -> Self {
        let start = floor(text, span.start);
        let before = &text[..start];
        let from = before.rfind('\n').map_or(0, |newline| newline + 1);
        let to = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let end = floor(text, span.end).clamp(start, to);
        Self {
            line: before.matches('\n').count() + 1,
            column: text[from..start].chars().count() + 1,
            text: text[from..to].trim_end_matches('\r'),
            width: text[start..end].chars().count().max(1),
        }
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

    fn problems(text: &str, span: Range<usize>) -> String {
        let mut problems = Problems::new(Utf8Path::new("x.toml"), text);
        problems.add(span, "wrong", Some("mend it".to_owned()));
        problems.finish::<()>(None).expect_err("a problem").report()
    }

    #[test]
    fn a_problem_points_at_its_characters() {
        assert_eq!(
            problems("a = 1\nbé = 2 # x\nc", 12..13),
            "x.toml:2:6: wrong\n  2 | bé = 2 # x\n    |      ^\n  hint: mend it"
        );
    }

    #[test]
    fn a_span_that_goes_on_is_cut_at_the_end_of_the_line() {
        assert_eq!(problems("ab\ncd", 1..5), "x.toml:1:2: wrong\n  1 | ab\n    |  ^\n  hint: mend it");
        assert_eq!(problems("", 9..12), "x.toml:1:1: wrong\n  1 | \n    | ^\n  hint: mend it");
    }
}
