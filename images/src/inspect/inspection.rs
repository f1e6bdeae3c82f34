// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Esp, FileSystem, HashTree, Partition, VendorExtension};
use crate::image::{DiskFormat, Era, Facts};
use crate::{Architecture, OsRelease};

/// All that a disk tells without being booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// how the disk is stored
    pub format: DiskFormat,
    /// SHA-256 of the disk's file, in hex
    pub digest: String,
    /// the guest's size of it, in bytes
    pub size: u64,
    /// the identity of the disk
    pub disk_guid: Uuid,
    /// in the order of their numbers
    pub partitions: Vec<Partition>,
    /// `/usr/lib/os-release`
    pub os_release: OsRelease,
    /// what it runs on
    pub architecture: Architecture,
    /// what delivers Docker and containerd
    pub era: Era,
    /// the major version of systemd
    pub systemd: u32,
    /// the file system of /usr
    pub usr: FileSystem,
    /// the hash tree that /usr is verified by, where there is one
    pub hash_tree: Option<HashTree>,
    /// what the EFI system partition holds, where there is one
    pub esp: Option<Esp>,
    /// whether the boot code of the first sector leads to a boot loader in BIOS-BOOT
    pub boots_bios: bool,
    /// the platform, `ID` of oem-release
    pub oem: Option<String>,
    /// the version of Docker, where something tells it
    pub docker: Option<String>,
    /// the version of containerd, where something tells it
    pub containerd: Option<String>,
    /// the extensions that it merges
    pub extensions: Vec<VendorExtension>,
    /// names of certificates in `/usr/lib/verity.d`
    pub certificates: Vec<String>,
    /// whether something was installed to USR-B
    pub usr_b_is_empty: Option<bool>,
    /// what does not go together
    pub warnings: Vec<String>,
}

impl Inspection {
    /// What the harness relies on.
    pub fn facts(&self) -> Facts {
        Facts {
            os_release: self.os_release.clone(),
            architecture: self.architecture,
            era: self.era,
            systemd: self.systemd,
            vendor_extensions: self.extensions.iter().map(|extension| extension.name.clone()).collect(),
        }
    }

    /// What /usr is verified by, in hex: what the boot says, or else the tree itself.
    pub fn root_hash(&self) -> Option<&str> {
        let said = self.esp.as_ref().and_then(|esp| esp.root_hash.as_deref());
        said.or_else(|| self.hash_tree.as_ref().map(|tree| tree.root_hash.as_str()))
    }

    /// Adds what does not go together in the disk itself.
    pub(super) fn check(&mut self) {
        let version = self.os_release.get("VERSION_ID").unwrap_or("unknown").to_owned();
        if let Ok(release) = version.parse::<crate::Release>() {
            if release.era() != self.era {
                self.warnings.push(format!(
                    "the disk delivers Docker in the way of the era {}, and {version} is of the era {}",
                    self.era,
                    release.era()
                ));
            }
        } else {
            self.warnings.push(format!("`{version}` in os-release is not a version of Flatcar"));
        }
        let said = self.esp.as_ref().and_then(|esp| esp.root_hash.as_deref());
        let tree = self.hash_tree.as_ref().map(|tree| tree.root_hash.as_str());
        match (said, tree) {
            (Some(said), Some(tree)) if said != tree => self.warnings.push(format!(
                "the boot verifies /usr by the root hash {said}, and its hash tree has {tree}: it will not boot"
            )),
            (Some(said), None) => self.warnings.push(format!(
                "the boot verifies /usr by the root hash {said}, and there is no hash tree: it will not boot"
            )),
            _ => {}
        }
        if !self.boots_bios && self.esp.as_ref().is_none_or(|esp| esp.loaders.is_empty()) {
            self.warnings.push("there is a boot loader neither for BIOS nor for UEFI".to_owned());
        }
    }
}
