// SPDX-License-Identifier: Apache-2.0
//! The exit status that each error of the other stages leads to.
use std::error::Error;

use loadgauge_builder::signing::SigningError;
use loadgauge_builder::{BuildError, RecipeError};
use loadgauge_host::{CommandError, FileError, Hint, MissingTool, StoreError};
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

/// An error that a subcommand can end with.
pub(super) trait ExitCode: Error + Hint + Sized {
    /// The exit status of a process that ends with this error.
    fn exit(&self) -> Exit;

    /// The whole failure.
    fn failure(&self) -> Failure {
        Failure::of(self.exit(), self)
    }
}

impl<E: ExitCode> From<E> for Failure {
    fn from(error: E) -> Self {
        error.failure()
    }
}

/// Errors that always lead to the same exit status.
macro_rules! exit_codes {
    ($($exit:ident: $($error:ty),+;)*) => {$($(
        impl ExitCode for $error {
            fn exit(&self) -> Exit {
                Exit::$exit
            }
        }
    )+)*};
}

exit_codes! {
    Usage: ReadError, RegistryError, RecipeError;
    Host: AccelerationError, CommandError, DirectoryError, EmulatorError, FileError, ImageError,
        MissingTool, ReleaseDirectoryError, RetainError, SignatureError, SigningError, StandinError, StoreError,
        SupervisorError;
    Internal: ReportError;
}

impl ExitCode for CatalogueError {
    fn exit(&self) -> Exit {
        match self {
            Self::Store(_) => Exit::Host,
            _ => Exit::Usage,
        }
    }

    fn failure(&self) -> Failure {
        match self {
            // Each problem has a snippet of the file and a hint of its own.
            Self::Parse(_) => Failure::new(self.exit(), self.report()),
            _ => Failure::of(self.exit(), self),
        }
    }
}

impl ExitCode for SelectError {
    fn exit(&self) -> Exit {
        match self {
            Self::Catalogue(error) => error.exit(),
            Self::Nothing { .. } => Exit::Nothing,
            _ => Exit::Usage,
        }
    }

    fn failure(&self) -> Failure {
        match self {
            Self::Catalogue(error) => error.failure(),
            _ => Failure::of(self.exit(), self),
        }
    }
}

impl ExitCode for PlanError {
    fn exit(&self) -> Exit {
        if self.is_host() { Exit::Host } else { Exit::Usage }
    }
}

impl ExitCode for BuildError {
    fn exit(&self) -> Exit {
        if self.is_host() { Exit::Host } else { Exit::Usage }
    }
}
