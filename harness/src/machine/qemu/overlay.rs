// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::{CommandError, CommandExt as _, Hint, MissingTool, Tool};
use loadgauge_images::Image;
use loadgauge_images::image::DiskFormat;

/// A machine's disk cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// `qemu-img` is not installed
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// `qemu-img` failed
    #[error(transparent)]
    Command(#[from] CommandError),
    /// the image does not exist
    #[error("cannot find the image `{path}`")]
    Image {
        /// the expected path
        path: camino::Utf8PathBuf,
        /// the error of the operating system
        source: std::io::Error,
    },
}

impl Hint for OverlayError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(missing) => missing.hint(),
            Self::Image { .. } => Some("make the stand-in image: loadgauge image build".to_owned()),
            Self::Command(_) => None,
        }
    }
}

/// Creates an empty qcow2 file over an image. The guest's writes go there, and the image does not change.
///
/// # Errors
/// The image does not exist, or `qemu-img` is missing or fails.
pub(crate) fn create(image: &Image, overlay: &Utf8Path) -> Result<(), OverlayError> {
    create_over(&image.disk, image.format, overlay)
}

/// As [`create`], over any disk.
///
/// # Errors
/// The disk does not exist, or `qemu-img` is missing or fails.
pub(crate) fn create_over(
    disk: &Utf8Path,
    format: DiskFormat,
    overlay: &Utf8Path,
) -> Result<(), OverlayError> {
    // A relative path would be relative to the overlay's directory.
    let disk =
        disk.canonicalize_utf8().map_err(|source| OverlayError::Image { path: disk.to_owned(), source })?;
    let mut command = Tool::find("qemu-img")?.command();
    command.args(["create", "-q", "-f", "qcow2", "-F", format.name(), "-b"]).arg(disk).arg(overlay);
    command.run()?;
    Ok(())
}

/// Creates an empty disk, which uses disk space only for what is written to it.
///
/// # Errors
/// `qemu-img` is missing or fails.
pub(crate) fn create_empty(size_mib: u32, path: &Utf8Path) -> Result<(), OverlayError> {
    let mut command = Tool::find("qemu-img")?.command();
    command.args(["create", "-q", "-f", "qcow2"]).arg(path).arg(format!("{size_mib}M"));
    command.run()?;
    Ok(())
}
