// SPDX-License-Identifier: Apache-2.0
//! Data URLs (RFC 2397), which carry file contents in a config.
//!
//! They are decoded here and not by the crate `data-url`, which follows the forgiving rules of browsers:
//! Ignition refuses blanks, missing padding and unescaped characters that it accepts.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Characters that are escaped: all but the unreserved ones, and the reserved ones that neither end the path
/// of a URL (`?`, `#`) nor are rare. Ignition's decoder accepts all others.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'/')
    .remove(b':')
    .remove(b'=')
    .remove(b'@')
    .remove(b',')
    .remove(b';')
    .remove(b'+')
    .remove(b'$')
    .remove(b'&');

/// A data URL that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DataUrlError {
    #[error("it does not begin with `data:`")]
    Prefix,
    #[error("the comma before the data is missing")]
    Comma,
    #[error("`{0}` is not a media type, a parameter `name=value` or `;base64`")]
    MediaType(String),
    #[error("the base64 data is not valid: {0}")]
    Base64(String),
    #[error("the `%` at byte {0} of the data is not followed by two hexadecimal digits")]
    Escape(usize),
    #[error("the character `{0}` at byte {1} of the data must be escaped with `%`")]
    Character(char, usize),
}

/// Encodes bytes as a data URL: percent-encoded, so that text is legible, or in base64 where that is shorter.
/// The result depends on the bytes alone.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let legible = format!("data:,{}", percent_encode(bytes, ESCAPED));
    let length = bytes.len() as u64;
    let is_text = std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0'));
    let bound = if is_text { longest(length) } else { base64_length(length) };
    if legible.len() as u64 <= bound { legible } else { format!("data:;base64,{}", STANDARD.encode(bytes)) }
}

/// The longest data URL of [`encode`] for a number of bytes.
pub(crate) fn longest(bytes: u64) -> u64 {
    let base64 = base64_length(bytes);
    // A short text can be longer by half, so that it is legible in reports.
    if bytes <= 1024 { base64.saturating_mul(3) / 2 } else { base64 }
}

/// The length of a data URL in base64.
fn base64_length(bytes: u64) -> u64 {
    "data:;base64,".len() as u64 + bytes.div_ceil(3).saturating_mul(4)
}

/// Whether Ignition accepts a character that is not escaped.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()/:=@,;+$&".contains(&byte)
}

/// Decodes a data URL as strictly as Ignition: base64 with padding, no blanks, ASCII only.
pub(crate) fn decode(url: &str) -> Result<Vec<u8>, DataUrlError> {
    let rest = url.strip_prefix("data:").ok_or(DataUrlError::Prefix)?;
    let (media_type, data) = rest.split_once(',').ok_or(DataUrlError::Comma)?;
    if is_base64(media_type)? {
        STANDARD.decode(data).map_err(|error| DataUrlError::Base64(error.to_string()))
    } else {
        unescape(data)
    }
}

/// Whether the part before the comma ends with `;base64`; the rest must be a media type with parameters.
fn is_base64(media_type: &str) -> Result<bool, DataUrlError> {
    let bad = |part: &str| DataUrlError::MediaType(part.to_owned());
    let is_token = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~\"".contains(&b))
    };
    let mut parts = media_type.split(';');
    let kind = parts.next().unwrap_or_default();
    let well_formed =
        kind.is_empty() || kind.split_once('/').is_some_and(|(a, b)| is_token(a) && is_token(b));
    if !well_formed {
        return Err(bad(kind));
    }
    let mut base64 = false;
    for part in parts {
        let is_parameter =
            part.split_once('=').is_some_and(|(name, value)| is_token(name) && is_token(value));
        match part {
            _ if base64 => return Err(bad(part)),
            "base64" => base64 = true,
            _ if is_parameter => {}
            _ => return Err(bad(part)),
        }
    }
    Ok(base64)
}

fn unescape(data: &str) -> Result<Vec<u8>, DataUrlError> {
    let mut bytes = Vec::with_capacity(data.len());
    let mut characters = data.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == '%' {
            let digits = data.get(at + 1..at + 3).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
            let byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok()).ok_or(DataUrlError::Escape(at))?;
            bytes.push(byte);
            characters.nth(1);
            continue;
        }
        match u8::try_from(character) {
            Ok(byte) if is_plain(byte) || byte == b'?' => bytes.push(byte),
            _ => return Err(DataUrlError::Character(character, at)),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_legible_and_other_data_is_base64() {
        assert_eq!(encode(b""), "data:,");
        assert_eq!(encode(b"core=1\n"), "data:,core=1%0A");
        assert_eq!(encode(&[0, 255, 0]), "data:,%00%FF%00", "shorter than base64");
        assert_eq!(encode(&[0, 255, 0].repeat(3)), "data:;base64,AP8AAP8AAP8A");
        assert!(encode("ü".repeat(600).as_bytes()).starts_with("data:;base64,"));
    }

    #[test]
    fn urls_that_ignition_refuses_are_refused() {
        assert_eq!(decode("data:;base64,AAA"), Err(DataUrlError::Base64("Invalid padding".into())));
        assert_eq!(decode("data:,50%"), Err(DataUrlError::Escape(2)));
        assert_eq!(decode("data:,a b"), Err(DataUrlError::Character(' ', 1)));
        assert_eq!(decode("data:text,a"), Err(DataUrlError::MediaType("text".into())));
        assert_eq!(
            decode("data:;base64;charset=utf-8,"),
            Err(DataUrlError::MediaType("charset=utf-8".into()))
        );
        assert_eq!(decode("data:text/plain;charset=utf-8;base64,aGk="), Ok(b"hi".to_vec()));
        assert_eq!(decode("hello"), Err(DataUrlError::Prefix));
        assert_eq!(decode("data:hello"), Err(DataUrlError::Comma));
    }

    proptest! {
        #[test]
        fn encoded_bytes_are_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let url = encode(&bytes);
            prop_assert!(url.len() as u64 <= longest(bytes.len() as u64));
            prop_assert_eq!(decode(&url), Ok(bytes));
        }

        #[test]
        fn decoding_never_panics(url in "data:\\PC*") {
            let _ = decode(&url);
        }
    }
}
