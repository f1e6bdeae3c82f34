// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use super::blueprint::Blueprint;

/// Bytes in a sector.
pub(super) const SECTOR: u64 = 512;
/// The alignment of partitions, in sectors (2 MiB).
const ALIGNMENT: u64 = 4096;
const MIB: u64 = 1024 * 1024;
/// The disk GUID of Flatcar's images.
const DISK: &str = "00000000-0000-0000-0000-000000000001";
/// `PARTUUID` of USR-A, which Flatcar's kernel arguments name.
const USR_A: &str = "7130c94a-213a-4e5a-8e26-6cce9662f132";
/// The partition type of USR-A and USR-B, which Flatcar calls flatcar-rootfs.
const USR_TYPE: &str = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";
/// The attribute bits by which GRUB chooses between USR-A and USR-B (ChromiumOS disk format).
///
/// Bit 48 is the lowest of the four priority bits; bit 56 marks a successful boot.
const CHOSEN: &str = "GUID:48,56";

/// The content of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// FAT: GRUB for UEFI, kernel, initrd and the flag of the first boot
    Esp,
    /// GRUB's core.img
    BiosBoot,
    /// the file system of /usr and its dm-verity hash tree
    Usr,
    /// nothing until an installation writes to it
    Empty,
    /// btrfs: the files specific to the platform
    Oem,
    /// ext4: everything else
    Root,
}

/// A partition of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) number: u32,
    pub(super) label: &'static str,
    type_guid: &'static str,
    unique_guid: &'static str,
    attributes: &'static str,
    mebibytes: u64,
    pub(super) content: Content,
}

/// Returns the partitions of a release, in their order on the disk.
///
/// Numbers, labels, types and sizes are those of the layout `vm` in the `disk_layout.json` of that
/// Flatcar release. The blank partitions of that layout (5 and 8) are absent.
fn partitions(blueprint: Blueprint) -> [Partition; 7] {
    let size = |small, large| if blueprint.large_partitions() { large } else { small };
    let plain = |number, label, type_guid, unique_guid, mebibytes, content| Partition {
        number,
        label,
        type_guid,
        unique_guid,
        attributes: "",
        mebibytes,
        content,
    };
    [
        plain(
            1,
            "EFI-SYSTEM",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
            "5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e01",
            size(128, 1024),
            Content::Esp,
        ),
        plain(
            2,
            "BIOS-BOOT",
            "21686148-6449-6e6f-744e-656564454649",
            "5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e02",
            2,
            Content::BiosBoot,
        ),
        Partition {
            attributes: CHOSEN,
            ..plain(3, "USR-A", USR_TYPE, USR_A, size(1024, 2048), Content::Usr)
        },
        plain(4, "USR-B", USR_TYPE, "e03dd35c-7c2d-4a47-b3fe-27f15780a57c", size(1024, 2048), Content::Empty),
        plain(
            6,
            "OEM",
            "0fc63daf-8483-4772-8e79-3d69d8477de4",
            "5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e06",
            size(128, 1024),
            Content::Oem,
        ),
        plain(
            7,
            "OEM-CONFIG",
            "c95dc21a-df0e-4340-8d7b-26cbfa9a03e0",
            "5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e07",
            64,
            Content::Empty,
        ),
        plain(
            9,
            "ROOT",
            "3884dd41-8582-4404-b9a8-e9b84f2df50e",
            "5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e09",
            6320,
            Content::Root,
        ),
    ]
}

/// A partition and its place on the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlacedPartition {
    pub(super) partition: Partition,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Places the partitions one after another.
pub(super) fn layout(blueprint: Blueprint) -> Vec<PlacedPartition> {
    let mut offset = ALIGNMENT * SECTOR;
    partitions(blueprint)
        .into_iter()
        .map(|partition| {
            let placed = PlacedPartition { partition, offset, length: partition.mebibytes * MIB };
            offset += placed.length.next_multiple_of(ALIGNMENT * SECTOR);
            placed
        })
        .collect()
}

/// Returns the length of the partition with the given content, in bytes.
pub(super) fn length_of(layout: &[PlacedPartition], content: Content) -> u64 {
    layout.iter().filter(|placed| placed.partition.content == content).map(|placed| placed.length).sum()
}

/// Returns the length of the disk in bytes: the partitions and the second partition table.
pub(super) fn length(layout: &[PlacedPartition]) -> u64 {
    layout.last().map_or(0, |last| last.offset + last.length) + ALIGNMENT * SECTOR
}

/// Returns the partition table as a script for sfdisk(8).
pub(super) fn sfdisk_script(layout: &[PlacedPartition]) -> String {
    let mut script = format!("label: gpt\nlabel-id: {DISK}\nunit: sectors\nsector-size: {SECTOR}\n");
    for PlacedPartition { partition, offset, length } in layout {
        let Partition { number, label, type_guid, unique_guid, attributes, .. } = partition;
        let (start, size) = (offset / SECTOR, length / SECTOR);
        let _ = write!(
            script,
            "{number} : start={start}, size={size}, type={type_guid}, uuid={unique_guid}, name=\"{label}\""
        );
        if !attributes.is_empty() {
            let _ = write!(script, ", attrs=\"{attributes}\"");
        }
        script.push('\n');
    }
    script
}

/// Returns the kernel arguments of every boot, as in Flatcar's grub.cfg.
pub(super) fn kernel_arguments() -> String {
    format!(
        "mount.usr=/dev/mapper/usr verity.usr=PARTUUID={USR_A} rootflags=rw mount.usrflags=ro consoleblank=0 \
         root=LABEL=ROOT"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BLUEPRINTS;

    #[test]
    fn partitions_are_aligned_and_do_not_overlap() {
        for layout in BLUEPRINTS.map(layout) {
            for pair in layout.windows(2) {
                assert!(pair[0].offset + pair[0].length <= pair[1].offset);
            }
            assert!(
                layout.iter().all(|placed| placed.offset % (2 * MIB) == 0 && placed.length % SECTOR == 0)
            );
            assert!(length(&layout).is_multiple_of(MIB));
        }
    }

    #[test]
    fn usr_has_room_for_its_blocks_and_their_hash_tree() {
        // 260094 data blocks; three levels of hash blocks (2033, 16 and 1); the superblock.
        let blocks: u64 = 260_094 + 2_032 + 16 + 1 + 1;
        for layout in BLUEPRINTS.map(layout) {
            assert!(length_of(&layout, Content::Usr) >= blocks * 4096);
        }
        assert_eq!(length_of(&layout(BLUEPRINTS[0]), Content::Usr), blocks * 4096);
    }

    #[test]
    fn the_tables_are_flatcars() {
        insta::assert_snapshot!("small", sfdisk_script(&layout(BLUEPRINTS[0])));
        insta::assert_snapshot!("large", sfdisk_script(&layout(BLUEPRINTS[1])));
        assert_eq!(sfdisk_script(&layout(BLUEPRINTS[1])), sfdisk_script(&layout(BLUEPRINTS[2])));
    }
}
