// SPDX-License-Identifier: Apache-2.0
//! Which exit status the errors of the stages lead to.
use loadgauge_host::Hint as _;
use loadgauge_host::StoreError;
use loadgauge_images::base::BaseError;
use loadgauge_images::image::ImageError;
use loadgauge_images::release_directory::ReleaseDirectoryError;
use loadgauge_images::signature::SignatureError;
use loadgauge_standin::StandinError;

use super::{Exit, Failure};
use crate::machine::{AccelerationError, EmulatorError, SupervisorError};
use crate::report::ReportError;
use crate::report::json_lines::ReadError;
use crate::runner::{DirectoryError, RegistryError, RetainError};
use crate::scenario::{CatalogueError, PlanError, SelectError};
use loadgauge_builder::signing::SigningError;
use loadgauge_builder::{BuildError, RecipeError};
use loadgauge_host::FileError;

/// Errors that always lead to the same status and know a hint.
macro_rules! reasons {
    ($($error:ty => $exit:expr),* $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new($exit, &error, error.hint())
            }
        }
    )*};
}

reasons! {
    AccelerationError => Exit::Host,
    DirectoryError => Exit::Host,
    EmulatorError => Exit::Host,
    ImageError => Exit::Host,
    ReadError => Exit::Usage,
    RegistryError => Exit::Usage,
    RecipeError => Exit::Usage,
    ReleaseDirectoryError => Exit::Host,
    ReportError => Exit::Internal,
    SignatureError => Exit::Host,
    SigningError => Exit::Host,
    StandinError => Exit::Host,
    SupervisorError => Exit::Host,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let hint = "set LOADGAUGE_CACHE to a directory that can be written".to_owned();
        Self::new(Exit::Host, &error, Some(hint))
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::new(Exit::Host, &error, None)
    }
}

impl From<RetainError> for Failure {
    fn from(error: RetainError) -> Self {
        Self::new(Exit::Host, &error, None)
    }
}

impl From<BaseError> for Failure {
    fn from(error: BaseError) -> Self {
        Self::new(Exit::Host, &error, None)
    }
}

impl From<CatalogueError> for Failure {
    fn from(error: CatalogueError) -> Self {
        match &error {
            // Each problem is told with its place and its own hint.
            CatalogueError::Parse(_) => Self::words(Exit::Usage, error.report(), None),
            CatalogueError::Store(_) => Self::new(Exit::Host, &error, error.hint()),
            _ => Self::new(Exit::Usage, &error, error.hint()),
        }
    }
}

impl From<SelectError> for Failure {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Catalogue(error) => error.into(),
            SelectError::Nothing { .. } => Self::new(Exit::Nothing, &error, error.hint()),
            error => Self::new(Exit::Usage, &error, error.hint()),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let exit = if error.is_lacking() { Exit::Host } else { Exit::Usage };
        Self::new(exit, &error, error.hint())
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let exit = if error.is_host() { Exit::Host } else { Exit::Usage };
        Self::new(exit, &error, error.hint())
    }
}
