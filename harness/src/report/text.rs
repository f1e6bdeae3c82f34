// SPDX-License-Identifier: Apache-2.0
use std::borrow::Cow;
use std::fmt::Write as _;

/// Number of lines of a long text that are shown from its beginning.
const HEAD: usize = 10;
/// Number of lines of a long text that are shown from its end.
const TAIL: usize = 20;

/// Replaces control characters by escapes such as `\u{1b}`.
///
/// Output of a guest could otherwise move the cursor of a terminal, and XML 1.0 allows most control
/// characters not even as references (section 2.2, `Char`). Tab and line feed stay; a carriage return
/// before a line feed is removed.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(needs_escape) {
        return Cow::Borrowed(text);
    }
    let mut result = String::with_capacity(text.len() + 16);
    for character in text.replace("\r\n", "\n").chars() {
        if needs_escape(character) {
            // Writing to a string cannot fail.
            let _ = write!(result, "{}", character.escape_default());
        } else {
            result.push(character);
        }
    }
    Cow::Owned(result)
}

fn needs_escape(character: char) -> bool {
    // The last two ranges are the bidirectional controls, which reorder the text around them.
    (character.is_control() && !matches!(character, '\t' | '\n'))
        || matches!(character, '\u{fffe}' | '\u{ffff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Joins the lines of a text with semicolons, collapses its spaces and escapes control characters.
pub(super) fn one_line(text: &str) -> String {
    let text = visible(text.trim());
    let collapse = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(collapse).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Cuts a text off after a number of characters.
pub(super) fn shorten(text: &str, characters: usize) -> Cow<'_, str> {
    match text.char_indices().nth(characters) {
        Some((end, _)) => Cow::Owned(format!("{} ..", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// The lines of a text, without its middle where it is long.
pub(super) struct HeadAndTail<'a> {
    pub(super) head: Vec<&'a str>,
    /// the number of lines between the two that are left out
    pub(super) left_out: usize,
    pub(super) tail: Vec<&'a str>,
}

impl<'a> HeadAndTail<'a> {
    /// Splits a text into its first [`HEAD`] and last [`TAIL`] lines. All lines of a short text are its head.
    /// The text may have a line in place of `lacking` ones in its middle.
    pub(super) fn of(text: &'a str, lacking: usize) -> Self {
        let lines: Vec<&str> = text.trim_end_matches('\n').lines().collect();
        if lines.len() <= HEAD + TAIL + 1 {
            return Self { head: lines, left_out: 0, tail: Vec::new() };
        }
        let split = lines.len() - TAIL;
        // The line in their place is none of the text's.
        let left_out = split - HEAD + lacking - usize::from(lacking > 0);
        Self { head: lines[..HEAD].to_vec(), left_out, tail: lines[split..].to_vec() }
    }
}

/// Formats a duration: `0.4s`, `12.3s`, `2m 05s`, `1h 02m`.
pub(super) fn duration(milliseconds: u64) -> String {
    let tenths = milliseconds.saturating_add(50) / 100;
    let seconds = tenths / 10;
    match seconds {
        0..=59 => format!("{seconds}.{}s", tenths % 10),
        60..=3599 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `1 scenario`, `2 scenarios`.
pub(super) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Turns a text into a file name of lower-case letters, digits and single hyphens, at most 48 bytes long.
pub(super) fn slug(text: &str) -> String {
    let mut result = String::new();
    for character in text.chars() {
        if result.len() >= 48 {
            break;
        }
        if character.is_ascii_alphanumeric() {
            result.push(character.to_ascii_lowercase());
        } else if !result.is_empty() && !result.ends_with('-') {
            result.push('-');
        }
    }
    let result = result.trim_end_matches('-');
    if result.is_empty() { "step".to_owned() } else { result.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let times = [0, 49, 50, 400, 12_345, 59_949, 59_950, 125_000, 3_720_000];
        let shown = ["0.0s", "0.0s", "0.1s", "0.4s", "12.3s", "59.9s", "1m 00s", "2m 05s", "1h 02m"];
        assert_eq!(times.map(duration), shown);
    }

    #[test]
    fn a_text_is_cut_off_between_characters() {
        assert_eq!(shorten("äöü", 3), "äöü");
        assert_eq!(shorten("äöü", 2), "äö ..");
    }

    #[test]
    fn slugs_are_plain() {
        assert_eq!(slug("`docker.socket` is active (really!)"), "docker-socket-is-active-really");
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("—"), "step");
    }

    #[test]
    fn a_long_text_loses_its_middle() {
        let text: Vec<String> = (1..=100).map(|number| number.to_string()).collect();
        let text = text.join("\n");
        let parts = HeadAndTail::of(&text, 0);
        assert_eq!(parts.head.last(), Some(&"10"));
        assert_eq!(parts.left_out, 70);
        assert_eq!(parts.tail.first(), Some(&"81"));
        assert_eq!(HeadAndTail::of("a\nb\n", 0).left_out, 0);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(visible("\u{1b}[2Jgone\r\n\u{ffff}"), "\\u{1b}[2Jgone\n\\u{ffff}");
    }

    proptest! {
        #[test]
        fn visible_text_has_no_control_character(text in any::<String>()) {
            prop_assert!(!visible(&text).chars().any(needs_escape));
        }

        #[test]
        fn head_and_tail_account_for_every_line(count in 0usize..200) {
            let text = "line\n".repeat(count);
            let parts = HeadAndTail::of(&text, 0);
            prop_assert_eq!(parts.head.len() + parts.left_out + parts.tail.len(), count);
            prop_assert!(parts.left_out != 1, "the note takes a line itself");
        }
    }
}
