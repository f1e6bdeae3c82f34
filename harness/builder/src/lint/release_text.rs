// SPDX-License-Identifier: Apache-2.0
//! Extension-release files, parsed as systemd parses them.
use loadgauge_images::OsRelease;

/// Parses an extension-release file as systemd's `parse_env_file_internal()` does (`src/basic/env-file.c`).
/// Other than [`OsRelease::parse`], which is for files that must be sound, this skips lines that it cannot
/// read, and accepts blanks around the equals sign.
pub(super) fn parse(text: &str) -> OsRelease {
    let mut release = OsRelease::default();
    let mut characters = text.chars();
    while let Some(key) = key(&mut characters) {
        let value = value(&mut characters);
        release.set(&key, value);
    }
    release
}

/// The next key, up to its equals sign.
fn key(characters: &mut std::str::Chars<'_>) -> Option<String> {
    let mut key = String::new();
    while let Some(character) = characters.next() {
        match character {
            // A line without an assignment.
            '\n' | '\r' => key.clear(),
            '#' | ';' if key.is_empty() => drop(characters.find(|c| matches!(c, '\n' | '\r'))),
            '=' => return Some(key.trim_end().to_owned()),
            c if c.is_ascii_whitespace() && key.is_empty() => {}
            c => key.push(c),
        }
    }
    None
}

/// The value after an equals sign. A quoted text may have several lines, and may have others next to it.
fn value(characters: &mut std::str::Chars<'_>) -> String {
    let mut value = String::new();
    // How much of the value is kept when blanks at its end are removed.
    let mut kept = 0;
    let mut quote = None;
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '\n' | '\r') => break,
            (None, c) if c.is_ascii_whitespace() => {
                if kept > 0 {
                    value.push(c);
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), c) if open == c => quote = None,
            (None, '\\') => match characters.next() {
                Some('\n' | '\r') | None => {}
                Some(next) => value.push(next),
            },
            (Some('"'), '\\') => match characters.next() {
                Some(next @ ('"' | '\\' | '`' | '$')) => value.push(next),
                Some('\n') | None => {}
                Some(next) => value.extend(['\\', next]),
            },
            (_, c) => value.push(c),
        }
        kept = value.len();
    }
    value.truncate(kept);
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_is_read_as_systemd_reads_it() {
        for (text, expected) in [
            ("ID=flatcar\n", Some("flatcar")),
            ("ID = flatcar \n", Some("flatcar")),
            ("  ID=flatcar\r\nX=1", Some("flatcar")),
            ("no assignment\nID=\"flat\"'car'\n", Some("flatcar")),
            ("# ID=no\n; ID=no\nID=a\\ b", Some("a b")),
            ("ID=\"a\\$b\\c\"\n", Some("a$b\\c")),
            ("ID='open\n", Some("open\n")),
            ("\u{feff}ID=flatcar\n", None),
            ("ID\n=flatcar\n", None),
            ("ID=\n", None),
            ("", None),
        ] {
            assert_eq!(parse(text).get("ID"), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_sound_file_is_read_as_elsewhere(value in "[a-z0-9._-]{1,9}", quote in "['\"]?") {
            let text = format!("# a comment\nID={quote}{value}{quote}\nVERSION_ID={value}\n");
            prop_assert_eq!(Ok(parse(&text)), OsRelease::parse(&text));
        }

        #[test]
        fn no_text_breaks_it(text in "\\PC*") {
            parse(&text);
        }
    }
}
