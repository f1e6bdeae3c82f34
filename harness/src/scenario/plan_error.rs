// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_builder::ImageError;
use loadgauge_host::Hint;

use super::compose::ComposeError;
use super::{BuildFailure, Origin};
use crate::machine::FirmwareError;

/// A scenario cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// an extension cannot be built
    #[error("{origin}cannot build the extension")]
    Build {
        /// place of the request
        origin: Origin,
        /// error of the builder
        #[source]
        source: BuildFailure,
    },
    /// an extension image cannot be read
    #[error("{origin}{source}")]
    Image {
        /// place of the request
        origin: Origin,
        /// error of the image
        source: Box<ImageError>,
    },
    /// an extension image is empty, such as one that could not be written
    #[error("{origin}the image `{path}` has no bytes")]
    EmptyImage {
        /// place of the request
        origin: Origin,
        /// the file
        path: Utf8PathBuf,
    },
    /// two extensions of a machine would be the same file in the guest
    #[error("{origin}two extensions have the name `{name}`")]
    DuplicateExtension {
        /// place of the second request
        origin: Origin,
        /// the name
        name: String,
    },
    /// the firmware is not installed or does not fit the image
    #[error("{origin}cannot start the machine")]
    Firmware {
        /// the scenario
        origin: Origin,
        /// error of the firmware
        source: FirmwareError,
    },
    /// the Ignition config cannot be composed
    #[error("{origin}cannot compose the Ignition config")]
    Compose {
        /// the scenario
        origin: Origin,
        /// error of the config
        source: Box<ComposeError>,
    },
}

impl PlanError {
    /// Whether the host lacks something, so that the scenario is not at fault.
    pub fn is_host(&self) -> bool {
        match self {
            Self::Build { source, .. } => source.host,
            Self::Firmware { source, .. } => source.is_lacking(),
            Self::Image { .. }
            | Self::EmptyImage { .. }
            | Self::DuplicateExtension { .. }
            | Self::Compose { .. } => false,
        }
    }
}

impl Hint for PlanError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Build { source, .. } => source.hint(),
            Self::Image { source, .. } => source.hint(),
            Self::EmptyImage { .. } => Some("build the image again".to_owned()),
            Self::DuplicateExtension { .. } => Some("set another `name` for one of them".to_owned()),
            Self::Firmware { source, .. } => source.hint(),
            Self::Compose { source, .. } => source.hint(),
        }
    }
}
