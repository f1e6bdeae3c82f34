// SPDX-License-Identifier: Apache-2.0
//! What every error of the workspace has beside its message: a hint, and a chain of causes.
use std::error::Error;

/// What a person can do about an error.
///
/// A hint is a sentence in the imperative without a final period. It is printed beside the error and is
/// never part of its message.
pub trait Hint {
    /// The hint, or `None` where no general advice helps.
    fn hint(&self) -> Option<String>;
}

/// The messages of an error and of its causes, outermost first.
///
/// A cause whose message is already part of the one before it is left out.
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !messages.last().is_some_and(|last| last.contains(&message)) {
            messages.push(message);
        }
        source = cause.source();
    }
    messages
}

/// An error with its causes, a line each, as a terminal shows them.
pub fn on_lines(error: &dyn Error) -> String {
    let messages: Vec<String> = causes(error).iter().map(|cause| cause.replace('\n', "\n  ")).collect();
    messages.join("\n  because: ")
}

/// An error with its causes on one line: `cannot read `x`: No such file or directory`.
pub fn on_one_line(error: &dyn Error) -> String {
    causes(error).join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileError;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot load the recipe: {source}")]
    struct Repeats {
        source: FileError,
    }

    #[test]
    fn causes_are_listed_once_and_outermost_first() {
        let error = FileError::at("read", "/x")(std::io::Error::from_raw_os_error(2));
        assert_eq!(on_one_line(&error), "cannot read `/x`: No such file or directory (os error 2)");
        assert_eq!(on_lines(&error), "cannot read `/x`\n  because: No such file or directory (os error 2)");
        let error = Repeats { source: error };
        assert_eq!(
            causes(&error),
            ["cannot load the recipe: cannot read `/x`", "No such file or directory (os error 2)"]
        );
    }
}
