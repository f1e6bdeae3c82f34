// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::blueprint::BLUEPRINTS;
use loadgauge_host::{CommandError, MissingTool, StoreError};
use loadgauge_images::Architecture;
use loadgauge_images::base::BaseError;
use loadgauge_images::image::ImageError;
use loadgauge_images::release::Release;
use loadgauge_images::release_directory::ReleaseDirectoryError;

/// The stand-in could not be made.
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
    /// what was made cannot be read back
    #[error(transparent)]
    Base(#[from] BaseError),
    /// what was made cannot be read back
    #[error(transparent)]
    Image(#[from] ImageError),
    /// what belongs to a release cannot be written
    #[error(transparent)]
    Release(#[from] ReleaseDirectoryError),
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// there is no stand-in for it yet
    #[error("there is no stand-in for {0}")]
    Architecture(Architecture),
    /// a release without a stand-in
    #[error("there is no stand-in for release `{0}`")]
    NoBlueprint(Release),
    /// one of GRUB's files does not look as expected
    #[error("`{path}` is not what GRUB 2 for BIOS consists of: {cause}")]
    Grub {
        /// the file
        path: Utf8PathBuf,
        /// what is wrong with it
        cause: &'static str,
    },
    /// the kernel cannot carry the hash that /usr is verified by
    #[error("the root hash cannot be written into `{path}`: {cause}")]
    Kernel {
        /// the file
        path: Utf8PathBuf,
        /// what is wrong with it
        cause: &'static str,
    },
    /// a package is installed that the archive did not have
    #[error("`{index}` has no SHA256 of the package {package}")]
    NoDigest {
        /// name, architecture and version
        package: String,
        /// the archive's index as it was then
        index: Utf8PathBuf,
    },
    /// a name of an extension cannot be a file name
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
                Some(format!("make the base again: remove {entry}"))
            }
            Self::NoBlueprint(_) => {
                let releases = BLUEPRINTS.map(|blueprint| format!("`{}`", blueprint.release));
                Some(format!("there are stand-ins for {}", releases.join(", ")))
            }
            Self::Store(_) | Self::Base(_) | Self::Io { .. } | Self::Kernel { .. } => None,
        }
    }
}

/// Recognises the ways in which hosts commonly refuse.
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

/// Makes an error of a file operation, for `map_err`.
pub(super) fn io(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> StandinError + use<> {
    let path = path.to_owned();
    move |source| StandinError::Io { action, path, source }
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
