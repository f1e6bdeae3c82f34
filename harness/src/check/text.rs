// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use regex::Regex;
use serde::Deserialize;

use super::Assertions;
use super::one_or_many::OneOrMany;
use super::recorder::{listed, tail};

/// The most lines of a text in a finding.
const SHOWN: usize = 10;

/// Conditions for a text: `{ equals, contains, excludes, matches, empty }`. All must hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawText")]
pub struct Text {
    equals: Option<String>,
    contains: Vec<String>,
    excludes: Vec<String>,
    matches: Option<Pattern>,
    empty: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawText {
    equals: Option<String>,
    contains: Option<OneOrMany>,
    excludes: Option<OneOrMany>,
    matches: Option<Pattern>,
    empty: Option<bool>,
}

impl TryFrom<RawText> for Text {
    type Error = String;

    fn try_from(raw: RawText) -> Result<Self, String> {
        let list = |texts: Option<OneOrMany>| texts.map(OneOrMany::into_vec).unwrap_or_default();
        let text = Self {
            equals: raw.equals,
            contains: list(raw.contains),
            excludes: list(raw.excludes),
            matches: raw.matches,
            empty: raw.empty,
        };
        let substrings = || text.contains.iter().chain(&text.excludes);
        if text.equals.is_none()
            && text.matches.is_none()
            && text.empty.is_none()
            && substrings().next().is_none()
        {
            return Err("no condition: set `equals`, `contains`, `excludes`, `matches` or `empty`".into());
        }
        if substrings().any(String::is_empty) {
            return Err("every text contains the empty text: write another one".into());
        }
        Ok(text)
    }
}

/// A regular expression in the syntax of the `regex` crate; `^` and `$` match at lines only with `(?m)`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Regex);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let regex = Regex::new(&text);
        regex
            .map(Self)
            .map_err(|error| format!("`{text}` is not a regular expression: {}", regex_message(&error)))
    }
}

/// The message of a regular expression's error, without the expression: its last line.
pub(crate) fn regex_message(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Text {
    /// The condition that a text equals another one.
    pub fn equal_to(text: impl Into<String>) -> Self {
        Self {
            equals: Some(text.into()),
            contains: Vec::new(),
            excludes: Vec::new(),
            matches: None,
            empty: None,
        }
    }

    /// Why no text satisfies the conditions, or why every text does.
    pub(crate) fn senseless(&self) -> Option<String> {
        let excluded = self.excludes.iter().find_map(|excluded| {
            let required = self.contains.iter().find(|required| required.contains(excluded.as_str()))?;
            Some((required, excluded))
        });
        if let Some((required, excluded)) = excluded {
            return Some(format!("no text contains `{required}` and excludes `{excluded}`"));
        }
        if let Some(text) = &self.equals {
            let rest = Self { equals: None, ..self.clone() };
            return (!rest.evaluate("it", text.as_bytes()).all_hold())
                .then(|| "the other conditions do not hold for the text in `equals`".to_owned());
        }
        if self.empty == Some(true) && !self.contains.is_empty() {
            return Some("an empty text contains nothing".to_owned());
        }
        let pattern = self.matches.as_ref()?;
        if self.empty == Some(true) && !pattern.0.is_match("") {
            return Some(format!("an empty text does not match `{}`", pattern.0));
        }
        let only = self.contains.is_empty() && self.excludes.is_empty() && self.empty.is_none();
        (only && probes().iter().all(|text| pattern.0.is_match(text)))
            .then(|| format!("every text matches `{}`", pattern.0))
    }

    /// A description that follows the name of the text.
    pub fn summary(&self) -> String {
        let mut claims = Vec::new();
        claims.extend(self.equals.iter().map(|text| format!("is {}", visible(text.trim_end()))));
        if !self.contains.is_empty() {
            claims.push(format!("contains {}", listed(&self.contains)));
        }
        if !self.excludes.is_empty() {
            claims.push(format!("does not contain {}", listed(&self.excludes)));
        }
        claims.extend(self.matches.iter().map(|pattern| format!("matches `{}`", pattern.0)));
        claims.extend(self.empty.map(|empty| if empty { "is empty" } else { "is not empty" }.to_owned()));
        claims.join(" and ")
    }

    /// Evaluates a text; `name` is its name in the finding.
    pub fn evaluate(&self, name: &str, bytes: &[u8]) -> Assertions {
        let text = String::from_utf8_lossy(bytes);
        let mut assertions = Assertions::default();
        if let Some(expected) = &self.equals {
            let same = expected.as_bytes() == bytes;
            let claim = format!("{name} is {}", quoted(expected));
            assertions.assert(claim, (!same).then(|| difference(name, expected, &text)));
        }
        let shown = || format!("{name} is {}", quoted(&tail(&text, SHOWN)));
        for word in &self.contains {
            let there = text.contains(word.as_str());
            assertions.assert(format!("{name} contains {}", visible(word)), (!there).then(shown));
        }
        for word in &self.excludes {
            let line = text.lines().find(|line| line.contains(word.as_str()));
            let there = line.is_some() || text.contains(word.as_str());
            let found = || format!("{name} contains it: {}", visible(line.unwrap_or(word)));
            assertions.assert(format!("{name} does not contain {}", visible(word)), there.then(found));
        }
        if let Some(pattern) = &self.matches {
            let there = pattern.0.is_match(&text);
            assertions.assert(format!("{name} matches `{}`", pattern.0), (!there).then(shown));
        }
        if let Some(empty) = self.empty {
            let claim = format!("{name} is {}", if empty { "empty" } else { "not empty" });
            assertions.assert(claim, (empty != bytes.is_empty()).then(shown));
        }
        assertions
    }
}

/// Texts with little in common: an expression that matches all of them is not a condition.
fn probes() -> Vec<String> {
    let all: String = (0..0x250).filter_map(char::from_u32).chain(['\u{2026}', '\u{fffd}']).collect();
    let mut probes = ["", "\n", "a", "7 ", "\u{e9}"].map(str::to_owned).to_vec();
    probes.push(all.repeat(20));
    probes
}

/// The lines from the first difference of two texts on.
fn difference(name: &str, expected: &str, found: &str) -> String {
    let (wanted, got): (Vec<_>, Vec<_>) =
        (expected.split_inclusive('\n').collect(), found.split_inclusive('\n').collect());
    let first = wanted.iter().zip(&got).take_while(|(one, other)| one == other).count();
    if wanted.len() <= 1 && got.len() <= 1 {
        return format!("{name} is {}", quoted(found));
    }
    let mut text = format!("{name} differs from line {} on:", first + 1);
    for (sign, lines) in [('-', &wanted), ('+', &got)] {
        for line in lines.iter().skip(first).take(SHOWN) {
            write!(text, "\n{sign} {}", visible(line)).unwrap_or_default();
        }
        if lines.len() > first + SHOWN {
            write!(text, "\n{sign} ({} more lines)", lines.len() - first - SHOWN).unwrap_or_default();
        }
    }
    text
}

/// A text for a finding: one line in the sentence, several lines below it.
fn quoted(text: &str) -> String {
    match text.lines().count() {
        0 => "empty".to_owned(),
        1 => visible(text),
        _ => {
            let lines: Vec<String> = text.split_inclusive('\n').take(SHOWN).map(visible).collect();
            format!("\n{}", lines.join("\n"))
        }
    }
}

/// A text in backticks, with invisible characters as escapes.
fn visible(text: &str) -> String {
    let mut result = String::from("`");
    for character in text.chars() {
        match character {
            '\\' => result.push_str(r"\\"),
            '\u{a0}' => result.push_str(r"\u{a0}"),
            '\u{200b}' | '\u{feff}' => result.extend(character.escape_unicode()),
            _ if character.is_control() => result.extend(character.escape_default()),
            _ => result.push(character),
        }
    }
    result.push('`');
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(toml: &str) -> Result<Text, toml::de::Error> {
        toml::from_str(toml)
    }

    #[test]
    fn a_difference_shows_invisible_characters() {
        let rule = text(r#"equals = "hello\n""#).expect("a rule");
        assert!(rule.evaluate("stdout", b"hello\n").all_hold());
        let assertions = rule.evaluate("stdout", b"hello\r\n");
        assert_eq!(assertions.found(), r"stdout is `hello\r\n`");
        assert_eq!(assertions.into_finding(Vec::new()).expected, r"stdout is `hello\n`");
    }

    #[test]
    fn a_longer_difference_starts_at_the_first_other_line() {
        let rule = text(r#"equals = "a\nb\nc\n""#).expect("a rule");
        insta::assert_snapshot!(rule.evaluate("stdout", b"a\nB\nc").found(), @r"
        stdout differs from line 2 on:
        - `b\n`
        - `c\n`
        + `B\n`
        + `c`
        ");
    }

    #[test]
    fn contains_excludes_matches_and_empty_can_each_fail() {
        let cases: [(&str, &[u8], &[u8]); 5] = [
            (r#"contains = "b""#, b"abc", b"ac"),
            (r#"contains = ["a", "c"]"#, b"abc", b"ab"),
            (r#"excludes = "b""#, b"ac", b"x\nabc\ny"),
            (r#"matches = "(?m)^b+$""#, b"a\nbb\nc", b"a\nbc\n"),
            ("empty = true", b"", b"\n"),
        ];
        for (rule, good, bad) in cases {
            let rule = text(rule).expect("a rule");
            assert!(rule.evaluate("stdout", good).all_hold(), "{rule:?}");
            assert!(!rule.evaluate("stdout", bad).all_hold(), "{rule:?}");
        }
        let rule = text(r#"excludes = "b""#).expect("a rule");
        assert_eq!(rule.evaluate("stderr", b"x\nabc\ny").found(), "stderr contains it: `abc`");
    }

    #[test]
    fn a_rule_without_a_condition_is_refused() {
        for wrong in ["", "contains = \"\"", "excludes = []", "matches = \"(\"", "equal = \"x\""] {
            text(wrong).expect_err(wrong);
        }
    }

    proptest! {
        #[test]
        fn a_text_equals_itself_and_nothing_else(one in ".{0,20}", other in ".{0,20}") {
            let rule = Text::equal_to(one.clone());
            prop_assert!(rule.evaluate("x", one.as_bytes()).all_hold());
            prop_assert_eq!(rule.evaluate("x", other.as_bytes()).all_hold(), one == other);
        }

        #[test]
        fn any_bytes_are_evaluated(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let rule = text("equals = \"a\\nb\"\ncontains = \"x\"\nempty = true").expect("a rule");
            prop_assert!(!rule.evaluate("x", &bytes).all_hold());
        }
    }
}
