// SPDX-License-Identifier: Apache-2.0

/// Finds the escape sequence `~.` at the beginning of a typed line, as ssh(1) does: it disconnects from a
/// guest that does not answer. `~~` there sends one `~`.
#[derive(Debug, Default)]
pub(super) struct EscapeFilter {
    position: Position,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Position {
    #[default]
    LineStart,
    Tilde,
    Within,
}

/// The meaning of typed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// input for the guest
    Input,
    /// the escape sequence
    Disconnect,
}

impl EscapeFilter {
    /// Appends the input for the guest to `guest`.
    pub(super) fn filter(&mut self, typed: &[u8], guest: &mut Vec<u8>) -> Typed {
        for &byte in typed {
            match (self.position, byte) {
                (Position::Tilde, b'.') => return Typed::Disconnect,
                (Position::LineStart, b'~') => {
                    self.position = Position::Tilde;
                    continue;
                }
                (Position::Tilde, b'~') | (Position::Within | Position::LineStart, _) => {}
                (Position::Tilde, _) => guest.push(b'~'),
            }
            guest.push(byte);
            self.position =
                if matches!(byte, b'\r' | b'\n') { Position::LineStart } else { Position::Within };
        }
        Typed::Input
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(pieces: &[&str]) -> (String, Typed) {
        let (mut escape, mut guest, mut meaning) = (EscapeFilter::default(), Vec::new(), Typed::Input);
        for piece in pieces {
            meaning = escape.filter(piece.as_bytes(), &mut guest);
        }
        (String::from_utf8(guest).expect("UTF-8"), meaning)
    }

    #[test]
    fn a_tilde_and_a_dot_at_the_beginning_of_a_line_disconnect() {
        assert_eq!(typed(&["ls\r", "~", "."]), ("ls\r".to_owned(), Typed::Disconnect));
        assert_eq!(typed(&["~."]), (String::new(), Typed::Disconnect));
    }

    #[test]
    fn elsewhere_they_are_input() {
        assert_eq!(typed(&["ls ~.ssh\r"]), ("ls ~.ssh\r".to_owned(), Typed::Input));
        assert_eq!(typed(&["~/bin\r"]), ("~/bin\r".to_owned(), Typed::Input));
        assert_eq!(typed(&["~~."]), ("~.".to_owned(), Typed::Input));
    }

    proptest! {
        #[test]
        fn input_without_a_tilde_is_unchanged(text in "[^~]*") {
            prop_assert_eq!(typed(&[&text]), (text.clone(), Typed::Input));
        }
    }
}
