// SPDX-License-Identifier: Apache-2.0
use std::sync::atomic::{AtomicU32, Ordering};

/// The longest text of a guest in a log message, in characters.
const LONGEST: usize = 200;

/// Counts the log messages that a guest causes, so that it cannot fill the log.
#[derive(Debug)]
pub(crate) struct LogLimit {
    left: AtomicU32,
}

impl LogLimit {
    /// Allows a number of messages.
    pub(crate) fn of(messages: u32) -> Self {
        Self { left: AtomicU32::new(messages) }
    }

    /// Whether one more message is allowed.
    pub(crate) fn allows(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// The beginning of a guest's text for a log message.
pub(crate) fn beginning(text: &str) -> &str {
    text.char_indices().nth(LONGEST).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_their_texts_are_limited() {
        let limit = LogLimit::of(3);
        assert_eq!((0..1000).filter(|_| limit.allows()).count(), 3);
        assert_eq!(beginning(&"ä".repeat(1000)).chars().count(), LONGEST);
        assert_eq!(beginning("short"), "short");
    }
}
