// SPDX-License-Identifier: Apache-2.0
use loadgauge_images::image::Era;
use loadgauge_images::release::Release;

/// The file system of /usr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsrFileSystem {
    /// ext2, up to 3760
    Ext2,
    /// btrfs with data compressed by zstd, from 3794
    Btrfs,
}

/// The properties of a stand-in that its release number does not imply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blueprint {
    /// the Flatcar release that the stand-in imitates
    pub release: Release,
    /// the Debian suite with the closest package versions
    pub suite: &'static str,
    /// the major version of the suite's systemd: the release's own, or the next one that the archive has
    pub systemd: u32,
    /// whether the installer, not a package of the suite, makes /bin and similar directories links
    pub(super) merged_by_installer: bool,
}

/// The releases with a stand-in, one for each era, the oldest first.
pub const BLUEPRINTS: [Blueprint; 3] = [
    Blueprint {
        release: Release { major: 3654, minor: 0, patch: 0 },
        suite: "bookworm",
        systemd: 252,
        merged_by_installer: true,
    },
    Blueprint {
        release: Release { major: 4593, minor: 2, patch: 0 },
        suite: "trixie",
        systemd: 257,
        merged_by_installer: false,
    },
    Blueprint {
        release: Release { major: 4790, minor: 0, patch: 0 },
        suite: "forky",
        systemd: 262,
        merged_by_installer: false,
    },
];

impl Blueprint {
    /// Returns the blueprint of a release, if there is a stand-in for it.
    pub fn of(release: Release) -> Option<Self> {
        BLUEPRINTS.into_iter().find(|blueprint| blueprint.release == release)
    }

    /// Returns the era, which decides how Docker and containerd are delivered.
    pub fn era(self) -> Era {
        self.release.era()
    }

    /// Returns the file system of /usr.
    pub fn usr_file_system(self) -> UsrFileSystem {
        if self.release.major < 3794 { UsrFileSystem::Ext2 } else { UsrFileSystem::Btrfs }
    }

    /// Whether the partitions have the sizes of 4487 and later.
    pub(super) fn large_partitions(self) -> bool {
        self.release.major >= 4487
    }

    /// Whether the disk image uses compressed clusters, as from 3745.
    pub(super) fn compressed_disk(self) -> bool {
        self.release.major >= 3745
    }

    /// Whether the firmware files are in the format qcow2, as from 4152.
    pub(super) fn firmware_in_qcow2(self) -> bool {
        self.release.major >= 4152
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_of_each_era_with_the_systemd_of_its_release_or_a_newer() {
        assert_eq!(BLUEPRINTS.map(Blueprint::era), [Era::Torcx, Era::Sysext, Era::Initrd]);
        for blueprint in BLUEPRINTS {
            let systemd = blueprint.release.systemd().expect("a known release");
            assert!((systemd..=systemd + 2).contains(&blueprint.systemd), "{blueprint:?}");
            assert_eq!(Blueprint::of(blueprint.release), Some(blueprint));
        }
        assert_eq!(Blueprint::of(Release { major: 4593, minor: 2, patch: 5 }), None);
    }
}
