// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::disk::Disk;
use crate::image::ImageError;

/// Bytes in a sector; Flatcar's images have no others.
pub(crate) const SECTOR: u64 = 512;
/// The first bytes of the header.
const MAGIC: &[u8; 8] = b"EFI PART";
/// More bytes than the entries of a table take.
const LARGEST_TABLE: u64 = 1 << 20;
/// The types of partitions on Flatcar's disks and in extensions, with their names.
///
/// Source: Flatcar's `build_library/disk_layout.json` and `disk_util`; the first two are the UEFI
/// specification's and GRUB's, the last ones the discoverable partitions specification's.
const TYPES: &[(&str, &str)] = &[
    ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "efi"),
    ("21686148-6449-6e6f-744e-656564454649", "bios"),
    ("5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6", "flatcar-rootfs"),
    ("3884dd41-8582-4404-b9a8-e9b84f2df50e", "flatcar-resize"),
    ("c95dc21a-df0e-4340-8d7b-26cbfa9a03e0", "flatcar-reserved"),
    ("be9067b9-ea49-4f15-b4f6-f36f8c9e1818", "flatcar-root-raid"),
    ("0fc63daf-8483-4772-8e79-3d69d8477de4", "data"),
    ("4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "root-x86-64"),
    ("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5", "root-x86-64-verity"),
    ("41092b05-9fc8-4523-994f-2def0408b176", "root-x86-64-verity-sig"),
    ("b921b045-1df0-41c3-af44-4c6f280d3fae", "root-arm64"),
    ("df3300ce-d69f-4c92-978c-9bfb0f38d820", "root-arm64-verity"),
    ("6db69de6-29f4-4758-a7a5-962190f00ce3", "root-arm64-verity-sig"),
    ("8484680c-9521-48c6-9c11-b0720656f69e", "usr-x86-64"),
    ("77ff5f63-e7b6-4633-acf4-1565b864c0e6", "usr-x86-64-verity"),
    ("e7bb33fb-06cf-4e81-8273-e543b413e2e2", "usr-x86-64-verity-sig"),
    ("b0e01050-ee5f-4390-949a-9101b17104e9", "usr-arm64"),
    ("6e11a4e7-fbca-4ded-b9e9-e1a512bb664e", "usr-arm64-verity"),
    ("c23ce4ff-44bd-4b00-b2d4-b41b3419e02a", "usr-arm64-verity-sig"),
];

/// A partition of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// the number
    pub number: u32,
    /// the label in the table
    pub label: String,
    /// the type
    pub type_guid: Uuid,
    /// the name of the type, where it is known
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// the unique identifier, PARTUUID
    pub guid: Uuid,
    /// the offset on the disk, in bytes
    pub offset: u64,
    /// the size in bytes
    pub size: u64,
    /// the attributes by which GRUB chooses between USR-A and USR-B, where any is set
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
}

/// The attributes by which GRUB chooses between USR-A and USR-B.
///
/// Source: the disk format of ChromiumOS, bits 48 to 56.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// the priority; the highest is tried first, and 0 never
    pub priority: u8,
    /// the number of boots that may still be tried
    pub tries: u8,
    /// whether a boot was successful
    pub successful: bool,
}

/// The partition table of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// the identifier of the disk
    pub(crate) disk_guid: Uuid,
    /// in the order of their numbers
    pub(crate) partitions: Vec<Partition>,
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn guid(bytes: &[u8], at: usize) -> Uuid {
    bytes.get(at..at + 16).and_then(|part| part.try_into().ok()).map_or(Uuid::nil(), Uuid::from_bytes_le)
}

impl Table {
    /// Whether a disk has a partition table, damaged or not.
    pub(crate) fn is_on(disk: &Disk) -> bool {
        let mut magic = [0; 8];
        disk.length() >= 2 * SECTOR && disk.read(SECTOR, &mut magic).is_ok() && magic == *MAGIC
    }

    /// Reads the partition table at the beginning of a disk. The backup at the end is not read, since
    /// boot loaders do not either.
    ///
    /// # Errors
    /// There is none, its checksums are wrong, or a partition is outside of the disk or overlaps another.
    pub(crate) fn read(disk: &Disk) -> Result<Self, ImageError> {
        let fail = |place: &str, cause: String| ImageError::Damaged {
            path: disk.path().to_owned(),
            place: place.to_owned(),
            cause,
        };
        let mut header = vec![0; 512];
        if disk.length() < 2 * SECTOR {
            return Err(fail(
                "partition table",
                format!("a disk of {} bytes is too small for one", disk.length()),
            ));
        }
        disk.read(SECTOR, &mut header)?;
        let (count, size) = check_header(&header).map_err(|cause| fail("partition table", cause))?;
        let mut entries = vec![0; usize::try_from(count * size).unwrap_or(0)];
        disk.read(le64(&header, 72).saturating_mul(SECTOR), &mut entries)?;
        if crc32fast::hash(&entries) != le32(&header, 88) {
            return Err(fail("partition table", "the checksum of its entries is wrong".to_owned()));
        }
        let step = usize::try_from(size).unwrap_or(128);
        let mut partitions = Vec::new();
        for (number, entry) in (1_u32..).zip(entries.chunks_exact(step)) {
            if guid(entry, 0).is_nil() {
                continue;
            }
            let partition = partition(number, entry, disk.length())
                .map_err(|cause| fail(&format!("partition {number}"), cause))?;
            partitions.push(partition);
        }
        check_overlaps(&partitions).map_err(|cause| fail("partition table", cause))?;
        Ok(Self { disk_guid: guid(&header, 56), partitions })
    }

    /// The partition with a label.
    pub(crate) fn labelled(&self, label: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.label == label)
    }

    /// The first partition of a type, by its name.
    pub(crate) fn of_type(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.type_name.as_deref() == Some(name))
    }
}

/// The number of entries of a table and their size, from its header.
fn check_header(header: &[u8]) -> Result<(u64, u64), String> {
    if !header.starts_with(MAGIC) {
        return Err("there is no GUID partition table".to_owned());
    }
    let length = usize::try_from(le32(header, 12)).unwrap_or(0);
    if !(92..=header.len()).contains(&length) {
        return Err(format!("a header of {length} bytes is invalid"));
    }
    let mut summed = header[..length].to_vec();
    summed[16..20].fill(0);
    if crc32fast::hash(&summed) != le32(header, 16) {
        return Err("the checksum of its header is wrong".to_owned());
    }
    let (count, size) = (u64::from(le32(header, 80)), u64::from(le32(header, 84)));
    if size < 128 || !size.is_power_of_two() || count.saturating_mul(size) > LARGEST_TABLE {
        return Err(format!("{count} entries of {size} bytes are invalid"));
    }
    Ok((count, size))
}

fn partition(number: u32, entry: &[u8], disk: u64) -> Result<Partition, String> {
    let (first, last) = (le64(entry, 32), le64(entry, 40));
    let size = last.checked_sub(first).and_then(|sectors| sectors.checked_add(1));
    let bytes = |sectors: u64| sectors.checked_mul(SECTOR);
    let (offset, size) = bytes(first)
        .zip(size.and_then(bytes))
        .filter(|(offset, size)| offset.checked_add(*size).is_some_and(|end| end <= disk))
        .ok_or_else(|| format!("the sectors {first} to {last} are not on a disk of {disk} bytes"))?;
    let attributes = le64(entry, 48);
    let bits =
        |shift: u32, count: u32| u8::try_from((attributes >> shift) & ((1 << count) - 1)).unwrap_or(u8::MAX);
    let choice = Choice { priority: bits(48, 4), tries: bits(52, 4), successful: bits(56, 1) == 1 };
    let is_set = choice.priority > 0 || choice.tries > 0 || choice.successful;
    let units: Vec<u16> =
        entry[56..128].as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    let label = String::from_utf16_lossy(units.split(|unit| *unit == 0).next().unwrap_or_default());
    let type_guid = guid(entry, 0);
    let name = TYPES.iter().find(|(known, _)| known.parse() == Ok(type_guid));
    Ok(Partition {
        number,
        label,
        type_guid,
        type_name: name.map(|(_, name)| (*name).to_owned()),
        guid: guid(entry, 16),
        offset,
        size,
        choice: is_set.then_some(choice),
    })
}

fn check_overlaps(partitions: &[Partition]) -> Result<(), String> {
    let mut sorted: Vec<&Partition> = partitions.iter().collect();
    sorted.sort_by_key(|partition| partition.offset);
    match sorted.windows(2).find(|pair| pair[0].offset + pair[0].size > pair[1].offset) {
        Some(pair) => Err(format!("the partitions {} and {} overlap", pair[0].number, pair[1].number)),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
