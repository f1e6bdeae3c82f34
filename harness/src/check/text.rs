// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use regex::Regex;
use serde::Deserialize;

use super::docker::OneOrMany;
use super::inquiry::tail;
use super::{Judgement, inquiry::listed};

/// How many lines of a text stand in a finding.
const SHOWN: usize = 10;

/// What a text must be like: `{ equals, contains, excludes, matches, empty }`, all of it at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Text {
    equals: Option<String>,
    contains: Vec<String>,
    excludes: Vec<String>,
    matches: Option<Pattern>,
    empty: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    equals: Option<String>,
    contains: Option<OneOrMany>,
    excludes: Option<OneOrMany>,
    matches: Option<Pattern>,
    empty: Option<bool>,
}

impl TryFrom<Raw> for Text {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let list = |words: Option<OneOrMany>| words.map(OneOrMany::into_vec).unwrap_or_default();
        let text = Self {
            equals: raw.equals,
            contains: list(raw.contains),
            excludes: list(raw.excludes),
            matches: raw.matches,
            empty: raw.empty,
        };
        let words = || text.contains.iter().chain(&text.excludes);
        if text.equals.is_none() && text.matches.is_none() && text.empty.is_none() && words().next().is_none()
        {
            return Err("says nothing: give `equals`, `contains`, `excludes`, `matches` or `empty`".into());
        }
        if words().any(String::is_empty) {
            return Err("the empty text is in every text: give a word to look for".into());
        }
        Ok(text)
    }
}

/// A regular expression, in the syntax of the `regex` crate; `^` and `$` stand for lines only after
/// `(?m)`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Regex);

impl TryFrom<String> for Pattern {
    type Error = regex::Error;

    fn try_from(text: String) -> Result<Self, regex::Error> {
        Regex::new(&text).map(Self)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Text {
    /// Only this text.
    pub fn equal_to(text: impl Into<String>) -> Self {
        Self {
            equals: Some(text.into()),
            contains: Vec::new(),
            excludes: Vec::new(),
            matches: None,
            empty: None,
        }
    }

    /// What it asks for, to stand behind the name of the text.
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

    /// Judges a text; `name` is what the finding calls it.
    pub fn judge(&self, name: &str, bytes: &[u8]) -> Judgement {
        let text = String::from_utf8_lossy(bytes);
        let mut judgement = Judgement::default();
        if let Some(expected) = &self.equals {
            let same = expected.as_bytes() == bytes;
            let claim = format!("{name} is {}", quoted(expected));
            judgement.claim(claim, (!same).then(|| difference(name, expected, &text)));
        }
        let shown = || format!("{name} is {}", quoted(&tail(&text, SHOWN)));
        for word in &self.contains {
            let there = text.contains(word.as_str());
            judgement.claim(format!("{name} contains {}", visible(word)), (!there).then(shown));
        }
        for word in &self.excludes {
            let line = text.lines().find(|line| line.contains(word.as_str()));
            let there = line.is_some() || text.contains(word.as_str());
            let found = || format!("{name} contains it: {}", visible(line.unwrap_or(word)));
            judgement.claim(format!("{name} does not contain {}", visible(word)), there.then(found));
        }
        if let Some(pattern) = &self.matches {
            let there = pattern.0.is_match(&text);
            judgement.claim(format!("{name} matches `{}`", pattern.0), (!there).then(shown));
        }
        if let Some(empty) = self.empty {
            let claim = format!("{name} is {}", if empty { "empty" } else { "not empty" });
            judgement.claim(claim, (empty != bytes.is_empty()).then(shown));
        }
        judgement
    }
}

/// Where two texts part, line by line.
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

/// A text in a finding: short ones on the same line, long ones on lines of their own.
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

/// A text in backticks with what one cannot see written as escapes.
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
    fn equal_shows_what_one_cannot_see() {
        let rule = text(r#"equals = "hello\n""#).expect("a rule");
        assert!(rule.judge("stdout", b"hello\n").holds());
        let judgement = rule.judge("stdout", b"hello\r\n");
        assert_eq!(judgement.found(), r"stdout is `hello\r\n`");
        assert_eq!(judgement.finding(Vec::new()).expected, r"stdout is `hello\n`");
    }

    #[test]
    fn a_longer_difference_begins_where_the_texts_part() {
        let rule = text(r#"equals = "a\nb\nc\n""#).expect("a rule");
        insta::assert_snapshot!(rule.judge("stdout", b"a\nB\nc").found(), @r"
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
            assert!(rule.judge("stdout", good).holds(), "{rule:?}");
            assert!(!rule.judge("stdout", bad).holds(), "{rule:?}");
        }
        let rule = text(r#"excludes = "b""#).expect("a rule");
        assert_eq!(rule.judge("stderr", b"x\nabc\ny").found(), "stderr contains it: `abc`");
    }

    #[test]
    fn a_rule_that_says_nothing_is_refused() {
        for wrong in ["", "contains = \"\"", "excludes = []", "matches = \"(\"", "equal = \"x\""] {
            text(wrong).expect_err(wrong);
        }
    }

    proptest! {
        #[test]
        fn a_text_equals_itself_and_nothing_else(one in ".{0,20}", other in ".{0,20}") {
            let rule = Text::equal_to(one.clone());
            prop_assert!(rule.judge("x", one.as_bytes()).holds());
            prop_assert_eq!(rule.judge("x", other.as_bytes()).holds(), one == other);
        }

        #[test]
        fn no_bytes_upset_it(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let rule = text("equals = \"a\\nb\"\ncontains = \"x\"\nempty = true").expect("a rule");
            prop_assert!(!rule.judge("x", &bytes).holds());
        }
    }
}
