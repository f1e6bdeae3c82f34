// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::esp::Esp;
use super::extension::VendorExtension;
use crate::file_system::FileSystem;
use crate::gpt::Partition;
use crate::image::{DiskFormat, Era, Facts};
use crate::verity::HashTree;
use crate::{Architecture, OsRelease};

/// Everything that is known of a disk without booting it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// the format of the disk
    pub format: DiskFormat,
    /// SHA-256 of the disk's file, in hex; with backing files, one over all of them
    pub digest: String,
    /// the size that the guest sees, in bytes
    pub size: u64,
    /// the identifier of the disk
    pub disk_guid: Uuid,
    /// the partitions, in the order of their numbers
    pub partitions: Vec<Partition>,
    /// `/usr/lib/os-release`
    pub os_release: OsRelease,
    /// the architecture
    pub architecture: Architecture,
    /// the era: how Docker and containerd are delivered
    pub era: Era,
    /// the major version of systemd
    pub systemd: u32,
    /// the file system of /usr
    pub usr: FileSystem,
    /// the dm-verity hash tree of /usr, if there is one
    pub hash_tree: Option<HashTree>,
    /// the contents of the EFI system partition, if there is one
    pub esp: Option<Esp>,
    /// whether the boot code of the first sector loads a boot loader from BIOS-BOOT
    pub boots_bios: bool,
    /// the platform, `ID` of oem-release
    pub oem: Option<String>,
    /// the version of Docker, if it is known
    pub docker: Option<String>,
    /// the version of containerd, if it is known
    pub containerd: Option<String>,
    /// the extensions that the image merges
    pub extensions: Vec<VendorExtension>,
    /// the names of certificates in `/usr/lib/verity.d`
    pub certificates: Vec<String>,
    /// whether USR-B contains only zeros
    pub usr_b_is_empty: Option<bool>,
    /// contradictions
    pub warnings: Vec<String>,
}

impl Inspection {
    /// The facts that the harness relies on.
    pub fn facts(&self) -> Facts {
        Facts {
            os_release: self.os_release.clone(),
            architecture: self.architecture,
            era: self.era,
            systemd: self.systemd,
            vendor_extensions: self.extensions.iter().map(|extension| extension.name.clone()).collect(),
        }
    }

    /// The root hash of /usr, in hex: the one that the boot names, or else that of the tree.
    pub fn root_hash(&self) -> Option<&str> {
        let named = self.esp.as_ref().and_then(|esp| esp.root_hash.as_deref());
        named.or_else(|| self.hash_tree.as_ref().map(|tree| tree.root_hash.as_str()))
    }

    /// Adds the contradictions in the disk itself.
    pub(super) fn check(&mut self) {
        let version = self.os_release.get("VERSION_ID").unwrap_or("unknown").to_owned();
        if let Ok(release) = version.parse::<crate::Release>() {
            if release.era() != self.era {
                self.warnings.push(format!(
                    "the disk delivers Docker as in the era {}, but {version} belongs to the era {}",
                    self.era,
                    release.era()
                ));
            }
        } else {
            self.warnings.push(format!("`VERSION_ID={version}` in os-release is not a Flatcar version"));
        }
        let named = self.esp.as_ref().and_then(|esp| esp.root_hash.as_deref());
        let tree = self.hash_tree.as_ref().map(|tree| tree.root_hash.as_str());
        match (named, tree) {
            (Some(named), Some(tree)) if named != tree => self.warnings.push(format!(
                "the boot expects the root hash {named} of /usr, but its hash tree has {tree}: the image will not boot"
            )),
            (Some(named), None) => self.warnings.push(format!(
                "the boot expects the root hash {named} of /usr, but there is no hash tree: the image will not boot"
            )),
            _ => {}
        }
        if !self.boots_bios && self.esp.as_ref().is_none_or(|esp| esp.loaders.is_empty()) {
            self.warnings.push("there is no boot loader for BIOS or UEFI".to_owned());
        }
    }
}
