// SPDX-License-Identifier: Apache-2.0

/// Finds `~.` at the beginning of a line in what a person types, as ssh(1) does: the way out of a
/// guest that no longer answers. `~~` there is one `~` for the guest.
#[derive(Debug, Default)]
pub(super) struct Escape {
    place: Place,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    LineStart,
    Tilde,
    Within,
}

/// What was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// something for the guest
    Words,
    /// the wish to leave
    Leave,
}

impl Escape {
    /// Hands on what is for the guest.
    pub(super) fn filter(&mut self, typed: &[u8], guest: &mut Vec<u8>) -> Said {
        for &byte in typed {
            match (self.place, byte) {
                (Place::Tilde, b'.') => return Said::Leave,
                (Place::LineStart, b'~') => {
                    self.place = Place::Tilde;
                    continue;
                }
                (Place::Tilde, b'~') | (Place::Within | Place::LineStart, _) => {}
                (Place::Tilde, _) => guest.push(b'~'),
            }
            guest.push(byte);
            self.place = if matches!(byte, b'\r' | b'\n') { Place::LineStart } else { Place::Within };
        }
        Said::Words
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(pieces: &[&str]) -> (String, Said) {
        let (mut escape, mut guest, mut said) = (Escape::default(), Vec::new(), Said::Words);
        for piece in pieces {
            said = escape.filter(piece.as_bytes(), &mut guest);
        }
        (String::from_utf8(guest).expect("UTF-8"), said)
    }

    #[test]
    fn a_tilde_and_a_dot_at_the_beginning_of_a_line_leave() {
        assert_eq!(typed(&["ls\r", "~", "."]), ("ls\r".to_owned(), Said::Leave));
        assert_eq!(typed(&["~."]), (String::new(), Said::Leave));
    }

    #[test]
    fn elsewhere_they_are_what_they_are() {
        assert_eq!(typed(&["ls ~.ssh\r"]), ("ls ~.ssh\r".to_owned(), Said::Words));
        assert_eq!(typed(&["~/bin\r"]), ("~/bin\r".to_owned(), Said::Words));
        assert_eq!(typed(&["~~."]), ("~.".to_owned(), Said::Words));
    }

    proptest! {
        #[test]
        fn without_a_tilde_nothing_is_changed(text in "[^~]*") {
            prop_assert_eq!(typed(&[&text]), (text.clone(), Said::Words));
        }
    }
}
