// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

/// Bytes in a sector.
pub(super) const SECTOR: u64 = 512;
/// Sectors that partitions are aligned to: 2 MiB.
const ALIGNMENT: u64 = 4096;
const MIB: u64 = 1024 * 1024;
/// The disk GUID of Flatcar's images.
const DISK: &str = "00000000-0000-0000-0000-000000000001";
/// `PARTUUID` of USR-A, which Flatcar's kernel words name.
const USR_A: &str = "7130c94a-213a-4e5a-8e26-6cce9662f132";

/// What a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// FAT: kernel, initrd and the flag of the first boot
    Esp,
    /// GRUB's core.img
    BiosBoot,
    /// ext4: /usr
    Usr,
    /// ext4: everything else
    Root,
}

/// A partition of the disk.
///
/// Numbers, labels, types and sizes are those of Flatcar's `disk_layout.json` (layout `vm`, from
/// 4487); what stays empty there until something is installed to it is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) number: u32,
    pub(super) label: &'static str,
    type_guid: &'static str,
    unique_guid: &'static str,
    mebibytes: u64,
    pub(super) content: Content,
}

/// The partitions in the order in which they lie on the disk.
pub(super) const PARTITIONS: &[Partition] = &[
    Partition {
        number: 1,
        label: "EFI-SYSTEM",
        type_guid: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        unique_guid: "5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e01",
        mebibytes: 1024,
        content: Content::Esp,
    },
    Partition {
        number: 2,
        label: "BIOS-BOOT",
        type_guid: "21686148-6449-6e6f-744e-656564454649",
        unique_guid: "5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e02",
        mebibytes: 2,
        content: Content::BiosBoot,
    },
    Partition {
        number: 3,
        label: "USR-A",
        type_guid: "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6",
        unique_guid: USR_A,
        mebibytes: 2048,
        content: Content::Usr,
    },
    Partition {
        number: 9,
        label: "ROOT",
        type_guid: "3884dd41-8582-4404-b9a8-e9b84f2df50e",
        unique_guid: "5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e09",
        mebibytes: 6320,
        content: Content::Root,
    },
];

/// A partition and where it lies, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) partition: Partition,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Lays the partitions out one after another.
pub(super) fn layout() -> Vec<Placed> {
    let mut offset = ALIGNMENT * SECTOR;
    PARTITIONS
        .iter()
        .map(|partition| {
            let placed = Placed { partition: *partition, offset, length: partition.mebibytes * MIB };
            offset += placed.length.next_multiple_of(ALIGNMENT * SECTOR);
            placed
        })
        .collect()
}

/// The length of the disk in bytes: the partitions and room for the second partition table.
pub(super) fn length(layout: &[Placed]) -> u64 {
    layout.last().map_or(0, |last| last.offset + last.length) + ALIGNMENT * SECTOR
}

/// The partition table in the words of sfdisk(8).
pub(super) fn sfdisk_script(layout: &[Placed]) -> String {
    let mut script = format!("label: gpt\nlabel-id: {DISK}\nunit: sectors\nsector-size: {SECTOR}\n");
    for Placed { partition, offset, length } in layout {
        let Partition { number, label, type_guid, unique_guid, .. } = partition;
        let (start, size) = (offset / SECTOR, length / SECTOR);
        let _ = writeln!(
            script,
            "{number} : start={start}, size={size}, type={type_guid}, uuid={unique_guid}, name=\"{label}\""
        );
    }
    script
}

/// The kernel's words, as Flatcar's grub.cfg has them.
///
/// In place of dm-verity the partition itself is /usr. The security modules are chosen since the
/// one for BPF costs a second at each start of systemd where the processor is emulated, and
/// those of Debian (AppArmor, TOMOYO) are not Flatcar's. Mitigations of processor bugs are for real
/// processors, and serial ports without a line for real boards.
pub(super) fn kernel_words() -> String {
    format!(
        "mount.usr=PARTUUID={USR_A} mount.usrfstype=ext4 mount.usrflags=ro rootflags=rw rootfstype=ext4 \
         consoleblank=0 root=LABEL=ROOT console=ttyS0,115200n8 lsm=lockdown,capability,landlock,yama \
         mitigations=off loglevel=5 8250.nr_uarts=1 flatcar.oem.id=qemu"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_aligned_and_do_not_overlap() {
        let layout = layout();
        for pair in layout.windows(2) {
            assert!(pair[0].offset + pair[0].length <= pair[1].offset);
        }
        assert!(layout.iter().all(|placed| placed.offset % (2 * MIB) == 0 && placed.length % SECTOR == 0));
        assert!(length(&layout).is_multiple_of(MIB));
    }

    #[test]
    fn the_table_is_flatcars() {
        insta::assert_snapshot!(sfdisk_script(&layout()));
    }
}
