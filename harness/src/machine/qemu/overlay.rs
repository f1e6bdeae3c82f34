// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::{CommandError, CommandExt as _, FileError, Hint, MissingTool, Tool};
use loadgauge_images::Image;
use loadgauge_images::image::DiskFormat;

use crate::machine::private_file;

/// A machine's disk cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// `qemu-img` is not installed
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// `qemu-img` failed
    #[error(transparent)]
    Command(#[from] CommandError),
    /// the file cannot be created
    #[error(transparent)]
    File(#[from] FileError),
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
            Self::File(error) => error.hint(),
            Self::Command(_) => None,
        }
    }
}

/// Creates an empty qcow2 file over an image. The guest's writes go there, and the image does not change. Only
/// the owner can read it: it will contain the guest's host keys and passwords.
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
    private_file::create(overlay)?;
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
    private_file::create(path)?;
    let mut command = Tool::find("qemu-img")?.command();
    command.args(["create", "-q", "-f", "qcow2"]).arg(path).arg(format!("{size_mib}M"));
    command.run()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_can_read_a_disk() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(directory.path()).expect("UTF-8");
        let (empty, over) = (root.join("empty"), root.join("over"));
        create_empty(1, &empty).expect("created");
        create_over(&empty, DiskFormat::Qcow2, &over).expect("created");
        assert_eq!([&empty, &over].map(|disk| private_file::mode(disk)), [0o600, 0o600]);
    }
}
