// SPDX-License-Identifier: Apache-2.0
use uuid::Uuid;

use super::table::SECTOR;

/// Bytes of a sector.
pub const SECTOR_SIZE: u64 = SECTOR;
/// Sectors of the table at the start: protective MBR, header, entries.
pub const HEAD: u64 = 34;
/// Sectors of the backup at the end: entries, header.
pub const TAIL: u64 = 33;

const ENTRIES: u32 = 128;
const ENTRY: u32 = 128;
const HEADER: u32 = 92;
/// Bit 60, the discoverable partitions specification's flag of a read-only partition.
const READ_ONLY: u64 = 1 << 60;

/// A partition to write into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartition {
    /// the type
    pub kind: Uuid,
    /// the unique identifier
    pub identifier: Uuid,
    /// the label, at most 36 characters
    pub label: &'static str,
    /// the first sector
    pub first: u64,
    /// the number of sectors
    pub sectors: u64,
}

/// Returns the bytes at the start and at the end of a disk of `sectors` sectors, for a table of 128 entries.
///
/// The same partitions give the same bytes.
pub fn table_bytes(disk: Uuid, sectors: u64, partitions: &[NewPartition]) -> (Vec<u8>, Vec<u8>) {
    let entries = entries(partitions);
    let sum = crc32fast::hash(&entries);
    let header = |own, other, first_entry| header(disk, sectors, own, other, first_entry, sum);
    let mut head = protective_mbr(sectors);
    head.extend(header(1, sectors - 1, 2));
    head.extend(&entries);
    let mut tail = entries;
    tail.extend(header(sectors - 1, 1, sectors - TAIL));
    (head, tail)
}

fn entries(partitions: &[NewPartition]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((ENTRIES * ENTRY) as usize);
    for partition in partitions {
        bytes.extend(partition.kind.to_bytes_le());
        bytes.extend(partition.identifier.to_bytes_le());
        bytes.extend(partition.first.to_le_bytes());
        bytes.extend((partition.first + partition.sectors - 1).to_le_bytes());
        bytes.extend(READ_ONLY.to_le_bytes());
        let mut label: Vec<u8> = partition.label.encode_utf16().flat_map(u16::to_le_bytes).collect();
        label.resize(72, 0);
        bytes.extend(label);
    }
    bytes.resize((ENTRIES * ENTRY) as usize, 0);
    bytes
}

fn header(disk: Uuid, sectors: u64, own: u64, other: u64, first_entry: u64, sum: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend(b"EFI PART");
    bytes.extend(0x0001_0000_u32.to_le_bytes());
    bytes.extend(HEADER.to_le_bytes());
    bytes.extend([0; 8]);
    for number in [own, other, HEAD, sectors - TAIL - 1] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(disk.to_bytes_le());
    bytes.extend(first_entry.to_le_bytes());
    for number in [ENTRIES, ENTRY, sum] {
        bytes.extend(number.to_le_bytes());
    }
    let own_sum = crc32fast::hash(&bytes);
    bytes[16..20].copy_from_slice(&own_sum.to_le_bytes());
    bytes.resize(512, 0);
    bytes
}

/// One partition of type 0xEE over the whole disk.
fn protective_mbr(sectors: u64) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[446..454].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
    bytes[454..458].copy_from_slice(&1_u32.to_le_bytes());
    let size = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    bytes[458..462].copy_from_slice(&size.to_le_bytes());
    bytes[510..].copy_from_slice(&[0x55, 0xaa]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_as_long_as_it_says() {
        let partition = NewPartition {
            kind: Uuid::from_u128(1),
            identifier: Uuid::from_u128(2),
            label: "root-x86-64",
            first: 2048,
            sectors: 8,
        };
        let (head, tail) = table_bytes(Uuid::from_u128(3), 4096, &[partition]);
        assert_eq!(head.len() as u64, HEAD * SECTOR);
        assert_eq!(tail.len() as u64, TAIL * SECTOR);
        assert_eq!(&head[512..520], b"EFI PART");
        assert_eq!(&tail[tail.len() - 512..tail.len() - 504], b"EFI PART");
        assert_eq!(head[1024..], tail[..tail.len() - 512], "both have the same entries");
    }
}
