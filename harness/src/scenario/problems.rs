// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::ops::Range;

use camino::Utf8Path;
use loadgauge_host::Hint;
use loadgauge_host::problem::{Problem, line_of};

/// Everything that is wrong with one scenario file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    problems: Vec<Problem>,
}

impl ParseError {
    /// The problems in the order of the file; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// All problems, each with its hint below it, for a terminal.
    pub fn report(&self) -> String {
        let reports: Vec<String> = self.problems.iter().map(Problem::report).collect();
        reports.join("\n")
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
        let texts: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        formatter.write_str(&texts.join("\n"))
    }
}

impl std::error::Error for ParseError {}

/// A value could not be read, and its problem was added.
#[derive(Debug, Clone, Copy)]
pub(super) struct AlreadyReported;

/// The text of a scenario file with the problems that were found in it so far.
#[derive(Debug)]
pub(super) struct Problems<'text> {
    file: &'text Utf8Path,
    text: &'text str,
    found: Vec<(Range<usize>, Problem)>,
    /// the bytes of the tables and lists from which wrong values were removed
    incomplete: Vec<Range<usize>>,
}

impl<'text> Problems<'text> {
    pub(super) fn new(file: &'text Utf8Path, text: &'text str) -> Self {
        Self { file, text, found: Vec::new(), incomplete: Vec::new() }
    }

    /// Adds a problem with a range of bytes.
    pub(super) fn add(&mut self, span: Range<usize>, cause: impl Into<String>, hint: Option<String>) {
        let problem = Problem::new(self.file, self.text, span.clone(), cause, hint);
        self.found.push((span, problem));
    }

    /// Adds a problem with a value that is removed from the tables and lists `inside` which it was: what
    /// its absence leads to there is no other problem.
    pub(super) fn add_removed(
        &mut self,
        span: Range<usize>,
        inside: Vec<Range<usize>>,
        cause: impl Into<String>,
        hint: Option<String>,
    ) {
        self.incomplete.extend(inside);
        self.add(span, cause, hint);
    }

    /// Whether a value was removed from the table or list with these bytes.
    pub(super) fn is_incomplete(&self, span: &Range<usize>) -> bool {
        self.incomplete.contains(span)
    }

    /// The 1-based line of a byte.
    pub(super) fn line(&self, offset: usize) -> usize {
        line_of(self.text, offset)
    }

    /// Whether no problem was found yet.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The bytes of a 1-based line.
    pub(super) fn span_of_line(&self, line: usize) -> Range<usize> {
        let mut lines = self.text.split_inclusive('\n');
        let start: usize = lines.by_ref().take(line.saturating_sub(1)).map(str::len).sum();
        start..start + lines.next().map_or(0, |line| line.trim_end().len())
    }

    /// The value, or the problems if there are any.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, ParseError> {
        if let (Some(value), true) = (value, self.found.is_empty()) {
            return Ok(value);
        }
        self.found.sort_by_key(|(span, _)| (span.start, span.end));
        Err(ParseError { problems: self.found.into_iter().map(|(_, problem)| problem).collect() })
    }
}
