// SPDX-License-Identifier: Apache-2.0
use memchr::memmem;

/// A paragraph of a control file.
///
/// Source: deb822(5). Field names are case-insensitive; continuation lines start with a blank. Bytes that
/// are not UTF-8 are replaced when a field is read, since old packages have some in descriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paragraph<'a> {
    text: &'a [u8],
}

impl<'a> Paragraph<'a> {
    /// A paragraph of this text.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text }
    }

    /// The whole text.
    pub fn bytes(&self) -> &'a [u8] {
        self.text
    }

    /// The value of a field: the first line trimmed, and each continuation line after a newline, without
    /// its first blank.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut rest = self.text;
        while !rest.is_empty() {
            let (line, after) = split_line(rest);
            if let Some(first) = value_of(line, name) {
                let mut value = String::from_utf8_lossy(first).trim().to_owned();
                let mut rest = after;
                while rest.first().is_some_and(|byte| *byte == b' ' || *byte == b'\t') {
                    let (line, after) = split_line(rest);
                    value.push('\n');
                    value.push_str(&String::from_utf8_lossy(&line[1..]));
                    rest = after;
                }
                return Some(value);
            }
            rest = after;
        }
        None
    }
}

/// The paragraphs of a control file.
pub(super) fn paragraphs(text: &[u8]) -> impl Iterator<Item = Paragraph<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while rest.first() == Some(&b'\n') {
            rest = &rest[1..];
        }
        if rest.is_empty() {
            return None;
        }
        let end = memmem::find(rest, b"\n\n").map_or(rest.len(), |at| at + 1);
        let (first, after) = rest.split_at(end);
        rest = after;
        Some(Paragraph::new(first))
    })
}

fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', text) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}

/// The value on a line of the form `NAME: VALUE`.
fn value_of<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    (start.eq_ignore_ascii_case(name.as_bytes()) && rest.first() == Some(&b':')).then(|| &rest[1..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_found_by_name_with_their_continuation_lines() {
        let text = b"\n\nPackage: x\nDepends: a,\n b\nX-Package: no\nSHA256:\n 00 1 f\n\n\n\nPackage:y\n";
        let all: Vec<Paragraph<'_>> = paragraphs(text).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].field("package").as_deref(), Some("x"));
        assert_eq!(all[0].field("Depends").as_deref(), Some("a,\nb"));
        assert_eq!(all[0].field("SHA256").as_deref(), Some("\n00 1 f"));
        assert_eq!(all[0].field("b"), None);
        assert_eq!(all[1].field("Package").as_deref(), Some("y"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b' '), Just(b':'), any::<u8>()], 0..200)) {
            for paragraph in paragraphs(&text) {
                let _ = paragraph.field("Package");
            }
        }
    }
}
