// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_host::{CommandError, FileError, Hint, MissingTool, StoreError};
use loadgauge_images::Architecture;
use loadgauge_images::base::BaseError;
use loadgauge_images::image::ImageError;
use loadgauge_images::release::Release;
use loadgauge_images::release_directory::ReleaseDirectoryError;

use super::blueprint::BLUEPRINTS;

/// An error while building a stand-in.
#[derive(Debug, thiserror::Error)]
pub enum StandinError {
    /// the host lacks a program
    #[error(transparent)]
    Tool(#[from] MissingTool),
    /// a program failed
    #[error(transparent)]
    Command(#[from] CommandError),
    /// the cache failed
    #[error(transparent)]
    Store(#[from] StoreError),
    /// the base cannot be read or written
    #[error(transparent)]
    Base(#[from] BaseError),
    /// the built image cannot be inspected
    #[error(transparent)]
    Image(#[from] ImageError),
    /// the release directory cannot be written
    #[error(transparent)]
    Release(#[from] ReleaseDirectoryError),
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// an architecture without a stand-in
    #[error("there is no stand-in for {0}")]
    Architecture(Architecture),
    /// a release without a stand-in
    #[error("there is no stand-in for release `{0}`")]
    NoBlueprint(Release),
    /// a GRUB file has an unexpected format
    #[error("`{path}` is not a file of GRUB 2 for BIOS: {cause}")]
    Grub {
        /// the file
        path: Utf8PathBuf,
        /// the reason
        cause: &'static str,
    },
    /// the root hash of /usr does not fit into the kernel
    #[error("cannot write the root hash into `{path}`: {cause}")]
    Kernel {
        /// the file
        path: Utf8PathBuf,
        /// the reason
        cause: &'static str,
    },
    /// an installed package is missing from the archive's index
    #[error("`{index}` has no SHA256 of the package {package}")]
    NoDigest {
        /// the package's name, architecture and version
        package: String,
        /// the archive's index when the base was made
        index: Utf8PathBuf,
    },
    /// an extension's name is not usable as a file name
    #[error("`{0}` cannot be the name of an extension")]
    ExtensionName(String),
}

impl Hint for StandinError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
            Self::Release(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Command(error) => command_hint(&error.to_string()),
            Self::Grub { .. } => {
                Some("install it: sudo apt-get install grub-pc-bin grub-efi-amd64-bin".to_owned())
            }
            Self::Architecture(_) => Some("use a downloaded image for this architecture".to_owned()),
            Self::ExtensionName(_) => Some("use letters, digits and `-._+`".to_owned()),
            Self::NoDigest { index, .. } => {
                let entry = index.parent().unwrap_or(index);
                Some(format!("remove `{entry}`, so that the base is built again"))
            }
            Self::NoBlueprint(_) => {
                let releases = BLUEPRINTS.map(|blueprint| format!("`{}`", blueprint.release));
                Some(format!("there are stand-ins for {}", releases.join(", ")))
            }
            Self::File(error) => error.hint(),
            Self::Store(_) | Self::Base(_) | Self::Kernel { .. } => None,
        }
    }
}

/// Returns a hint for the common reasons why a program of the host fails.
fn command_hint(text: &str) -> Option<String> {
    let has = |needle: &str| text.contains(needle);
    if has("newuidmap") || has("/etc/subuid") {
        Some("install `uidmap`, and give your user a range in /etc/subuid and /etc/subgid".to_owned())
    } else if has("unshare failed") || has("unshare: ") {
        Some(
            "allow user namespaces (on Ubuntu: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0), \
             or run as root"
                .to_owned(),
        )
    } else if has("Could not resolve") || has("Could not connect") || has("Failed to fetch") {
        Some("set LOADGAUGE_DEBIAN_MIRROR to a Debian mirror that this host can reach".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_refusals_get_a_hint_and_others_none() {
        for (text, expected) in [
            ("unshare: unshare failed: Operation not permitted", "user namespaces"),
            ("E: Could not resolve 'deb.debian.org'", "LOADGAUGE_DEBIAN_MIRROR"),
            ("newuidmap: uid range not allowed", "/etc/subuid"),
        ] {
            assert!(command_hint(text).is_some_and(|hint| hint.contains(expected)), "{text}");
        }
        assert_eq!(command_hint("`unshare -- sh x` failed: tar: No space left on device"), None);
    }
}
