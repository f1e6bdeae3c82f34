// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::{FileError, Hint, Problem};

/// A recipe that cannot be read or is not valid.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// the file cannot be read
    #[error(transparent)]
    File(#[from] FileError),
    /// a value or key in it is wrong
    #[error(transparent)]
    Problem(Box<Problem>),
}

impl From<Problem> for RecipeError {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl Hint for RecipeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) if error.kind() == std::io::ErrorKind::NotFound => Some(
                "name a file `NAME.toml`; `loadgauge build --help` lists where recipes are found".to_owned(),
            ),
            Self::File(error) => error.hint(),
            Self::Problem(problem) => problem.hint(),
        }
    }
}
