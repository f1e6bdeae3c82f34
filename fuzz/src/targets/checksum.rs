// SPDX-License-Identifier: Apache-2.0
//! Repairs checksums after mutations, so that readers do not reject the changes early.

/// The size of a block of a tar, in bytes.
const TAR: usize = 512;
/// The size of the first block of an erofs, which its checksum covers, in bytes.
const EROFS: usize = 4096;

/// Repairs the headers of a tar, up to the first block that is not one.
pub(super) fn repair_tar(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = bytes.get_mut(at..at + TAR).filter(|header| &header[257..262] == b"ustar") {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = String::from_utf8_lossy(&header[124..135]).into_owned();
        let size = usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).unwrap_or_default();
        at = at.saturating_add(TAR).saturating_add(size.next_multiple_of(TAR));
    }
}

/// Repairs every partition table in a disk or in a qcow2 file.
pub(super) fn repair_gpt(bytes: &mut [u8]) {
    let places: Vec<usize> =
        (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(b"EFI PART")).collect();
    for at in places {
        let Some(table) = bytes.get_mut(at..at + 512 + 128 * 128) else { continue };
        let entries = crc32(&table[512..]);
        table[88..92].copy_from_slice(&entries.to_le_bytes());
        table[16..20].fill(0);
        let header = crc32(&table[..92]);
        table[16..20].copy_from_slice(&header.to_le_bytes());
    }
}

/// Repairs the superblock of an erofs.
pub(super) fn repair_erofs(bytes: &mut [u8]) {
    if bytes.get(1024..1028) == Some(&[0xe2, 0xe1, 0xf5, 0xe0]) && bytes.len() >= EROFS {
        bytes[1028..1032].fill(0);
        // erofs omits the last inversion of CRC-32C.
        let sum = !crc32c(&bytes[1024..EROFS]);
        bytes[1028..1032].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Repairs blocks of a btrfs, given by their offsets and lengths.
pub(super) fn repair_btrfs(bytes: &mut [u8], blocks: &[(usize, usize)]) {
    for (at, length) in blocks {
        let sum = crc32c(&bytes[at + 32..at + length]);
        bytes[*at..at + 4].copy_from_slice(&sum.to_le_bytes());
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

/// Returns the CRC-32C of bytes (RFC 3720, appendix B.4).
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repaired_tar_is_read_and_a_changed_one_is_not() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(600);
        tar.append_data(&mut header, "first", [1_u8; 600].as_slice()).expect("appended");
        tar.append_data(&mut header, "other", [2_u8; 600].as_slice()).expect("appended");
        let mut bytes = tar.into_inner().expect("a tar");
        let names = |bytes: &[u8]| -> Option<Vec<String>> {
            let mut archive = tar::Archive::new(bytes);
            let entries = archive.entries().ok()?;
            entries.map(|entry| Some(entry.ok()?.path().ok()?.to_string_lossy().into_owned())).collect()
        };
        bytes[0] = b'F';
        bytes[3 * TAR] = b'O';
        assert_eq!(names(&bytes), None);
        repair_tar(&mut bytes);
        assert_eq!(names(&bytes), Some(vec!["First".to_owned(), "Other".to_owned()]));
    }
}
