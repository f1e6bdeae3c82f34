// SPDX-License-Identifier: Apache-2.0
//! The partition of a disk image that holds the extension's files, found by the discoverable partitions
//! specification of the UAPI group. Format: UEFI specification 2.10, chapter 5, for sectors of 512 bytes.
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use uuid::{Uuid, uuid};

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// More entries than any table has.
const MAXIMUM_ENTRIES: u32 = 1024;

/// Types of partitions that hold a root, or a /usr, and what their files lie under.
const KINDS: [(Uuid, &str); 4] = [
    (uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"), ""),
    (uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae"), ""),
    (uuid!("8484680c-9521-48c6-9c11-b0720656f69e"), "usr"),
    (uuid!("b0e01050-ee5f-4390-949a-9101b17104e9"), "usr"),
];

/// A partition with the files of an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partition {
    /// where it begins, in bytes
    pub(super) offset: u64,
    /// its length in bytes
    pub(super) length: u64,
    /// what its files lie under
    pub(super) under: &'static str,
}

/// A disk image that no extension can be taken out of.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// it cannot be read
    #[error("its partition table cannot be read")]
    Read(#[from] io::Error),
    /// it is neither a file system nor a disk
    #[error("it is neither squashfs, erofs, ext4, btrfs nor a disk image with a GPT")]
    Unknown,
    /// the table is broken
    #[error("its partition table is damaged: {0}")]
    Damaged(&'static str),
    /// the table has other partitions
    #[error("none of its partitions is a root or a /usr file system")]
    None,
}

/// Finds the partition of a disk image. Where a root and a /usr are there, the root counts.
///
/// # Errors
/// See [`PartitionError`].
pub(super) fn find(file: &File) -> Result<Partition, PartitionError> {
    let size = file.metadata()?.len();
    let mut header = [0; 92];
    match file.read_exact_at(&mut header, SECTOR) {
        Ok(()) if header.starts_with(b"EFI PART") => {}
        Ok(()) => return Err(PartitionError::Unknown),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(PartitionError::Unknown),
        Err(error) => return Err(error.into()),
    }
    let mut found: Option<Partition> = None;
    for entry in entries(file, &header)? {
        let kind = Uuid::from_bytes_le(array(&entry, 0));
        let Some((_, under)) = KINDS.iter().find(|(known, _)| *known == kind) else { continue };
        let (first, last) = (u64::from_le_bytes(array(&entry, 32)), u64::from_le_bytes(array(&entry, 40)));
        let sectors = last.checked_sub(first).and_then(|rest| rest.checked_add(1));
        let end = last.checked_add(1).and_then(|end| end.checked_mul(SECTOR));
        let (Some(sectors), Some(_)) = (sectors, end.filter(|end| *end <= size)) else {
            return Err(PartitionError::Damaged("a partition goes beyond the end"));
        };
        let partition = Partition { offset: first * SECTOR, length: sectors * SECTOR, under };
        if found.is_none_or(|before| before.under == "usr") {
            found = Some(partition);
        }
    }
    found.ok_or(PartitionError::None)
}

/// The entries of a table whose header and whose own sum are right.
fn entries(file: &File, header: &[u8; 92]) -> Result<Vec<Vec<u8>>, PartitionError> {
    let mut summed = *header;
    summed[16..20].fill(0);
    if crc32fast::hash(&summed) != u32::from_le_bytes(array(header, 16)) {
        return Err(PartitionError::Damaged("the sum of its header is wrong"));
    }
    let place = u64::from_le_bytes(array(header, 72)).checked_mul(SECTOR);
    let (count, size) = (u32::from_le_bytes(array(header, 80)), u32::from_le_bytes(array(header, 84)));
    let Some(place) = place.filter(|_| count <= MAXIMUM_ENTRIES && (128..=4096).contains(&size)) else {
        return Err(PartitionError::Damaged("its header cannot be right"));
    };
    let size = size as usize;
    let mut bytes = vec![0; count as usize * size];
    file.read_exact_at(&mut bytes, place)
        .map_err(|_| PartitionError::Damaged("it ends before its entries do"))?;
    if crc32fast::hash(&bytes) != u32::from_le_bytes(array(header, 88)) {
        return Err(PartitionError::Damaged("the sum of its entries is wrong"));
    }
    Ok(bytes.chunks_exact(size).map(<[u8]>::to_vec).collect())
}

/// Bytes at an offset that is known to be inside.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(bytes: &[u8]) -> Result<Partition, String> {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(bytes, 0).expect("written");
        find(&file).map_err(|error| error.to_string())
    }

    /// A table as sfdisk writes it.
    fn table(script: &str) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(4 << 20).expect("sized");
        let path = file.path().display().to_string();
        let script =
            format!("PATH=$PATH:/usr/sbin:/sbin; printf '{script}' | sfdisk --quiet --label gpt {path}");
        let status = std::process::Command::new("sh").args(["-c", &script]).status();
        assert!(status.expect("sh runs").success());
        std::fs::read(file.path()).expect("read")
    }

    const ROOT: &str = "start=4096, size=8, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709\\n";
    const USR: &str = "start=2048, size=16, type=8484680c-9521-48c6-9c11-b0720656f69e\\n";

    #[test]
    fn the_root_is_found_and_else_usr() {
        let root = Partition { offset: 4096 * 512, length: 8 * 512, under: "" };
        assert_eq!(found(&table(&format!("{USR}{ROOT}"))), Ok(root));
        let usr = Partition { offset: 2048 * 512, length: 16 * 512, under: "usr" };
        assert_eq!(found(&table(USR)), Ok(usr));
    }

    #[test]
    fn what_has_none_is_told() {
        assert!(found(b"short").expect_err("no disk").contains("neither"));
        assert!(found(&[7; 4096]).expect_err("no disk").contains("neither"));
        assert!(found(&table("start=2048, size=8, type=L\\n")).expect_err("other").contains("none of"));
        let mut broken = table(ROOT);
        broken[1024] ^= 1;
        assert!(found(&broken).expect_err("broken").contains("the sum of its entries"));
        let cut = &table(ROOT)[..4096 * 512];
        assert!(found(cut).expect_err("cut").contains("goes beyond the end"));
    }

    proptest! {
        #[test]
        fn broken_tables_do_not_make_it_panic(at in 512_usize..2048, byte: u8, sound: bool) {
            let mut bytes = table(ROOT);
            bytes[at] = byte;
            if sound {
                let (count, size) = (u32::from_le_bytes(array(&bytes, 592)), u32::from_le_bytes(array(&bytes, 596)));
                let end = (1024 + (count as usize).saturating_mul(size as usize)).min(bytes.len());
                let sum = crc32fast::hash(&bytes[1024..end]);
                bytes[600..604].copy_from_slice(&sum.to_le_bytes());
                bytes[528..532].fill(0);
                let sum = crc32fast::hash(&bytes[512..604]);
                bytes[528..532].copy_from_slice(&sum.to_le_bytes());
            }
            let _ = found(&bytes);
        }
    }
}
