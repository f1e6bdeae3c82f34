// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::Hint;
use loadgauge_host::{CommandError, CommandExt as _, MissingTool, Tool};
use loadgauge_images::Image;
use loadgauge_images::image::DiskFormat;

/// The disk of a machine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// the host lacks `qemu-img`
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// `qemu-img` says no
    #[error(transparent)]
    Command(#[from] CommandError),
    /// the image is not there
    #[error("cannot find the image `{path}`")]
    Image {
        /// where it should be
        path: camino::Utf8PathBuf,
        /// why not
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

/// Makes an empty qcow2 file over an image: what the guest writes goes there, and the image stays as
/// it is.
///
/// # Errors
/// The image is not there, or `qemu-img` is missing or refuses.
pub(crate) fn create(image: &Image, overlay: &Utf8Path) -> Result<(), OverlayError> {
    create_over(&image.disk, image.format, overlay)
}

/// The same over any disk.
///
/// # Errors
/// The disk is not there, or `qemu-img` is missing or refuses.
pub(crate) fn create_over(
    disk: &Utf8Path,
    format: DiskFormat,
    overlay: &Utf8Path,
) -> Result<(), OverlayError> {
    // A relative path would count from the overlay's directory.
    let disk =
        disk.canonicalize_utf8().map_err(|source| OverlayError::Image { path: disk.to_owned(), source })?;
    let mut command = Tool::find("qemu-img")?.command();
    command.args(["create", "-q", "-f", "qcow2", "-F", format.name(), "-b"]).arg(disk).arg(overlay);
    command.run()?;
    Ok(())
}

/// Makes an empty disk, which takes room only for what is written to it.
///
/// # Errors
/// `qemu-img` is missing or refuses.
pub(crate) fn create_empty(size_mib: u32, path: &Utf8Path) -> Result<(), OverlayError> {
    let mut command = Tool::find("qemu-img")?.command();
    command.args(["create", "-q", "-f", "qcow2"]).arg(path).arg(format!("{size_mib}M"));
    command.run()?;
    Ok(())
}
