// SPDX-License-Identifier: Apache-2.0
use std::ops::Range;

/// The place of the root hash of /usr in Flatcar's kernels for amd64: 64 hex digits.
const HASH: Range<usize> = 64..128;
/// The field of a kernel with the offset of its PE header (PE format, "MS-DOS stub").
const PE_OFFSET: Range<usize> = 0x3c..0x40;
/// The value of that field once the header follows the root hash.
const MOVED_TO: [u8; 4] = [128, 0, 0, 0];
/// The offset of the setup header of the x86 boot protocol, which must not be overwritten.
const SETUP_HEADER: usize = 0x1f1;
/// The size of a section in the table of a PE header, in bytes.
const SECTION: usize = 40;

/// Writes the root hash of /usr into a kernel, at the offset that Flatcar uses.
///
/// Kernels from 6.7 on have their PE header there, which UEFI needs to start them. Flatcar patches its
/// kernels so that a message is there and the header follows it. This function instead moves the header
/// into the room before the setup header.
pub(super) fn write_root_hash(kernel: &mut [u8], hash: &str) -> Result<(), &'static str> {
    if hash.len() != HASH.len() || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("the hash is not of 64 hex digits");
    }
    if kernel.len() <= SETUP_HEADER || !kernel.starts_with(b"MZ") {
        return Err("it is no kernel with a PE header");
    }
    let header = u32_at(kernel, PE_OFFSET.start).ok_or("it is cut short")? as usize;
    if header < HASH.end {
        let length = header_length(kernel, header)?;
        if header < HASH.start || HASH.end + length > SETUP_HEADER {
            return Err("its PE header cannot be moved out of the way");
        }
        kernel.copy_within(header..header + length, HASH.end);
        kernel[PE_OFFSET].copy_from_slice(&MOVED_TO);
    }
    kernel[HASH].copy_from_slice(hash.as_bytes());
    Ok(())
}

/// Returns the length of a PE header with its section table.
fn header_length(kernel: &[u8], header: usize) -> Result<usize, &'static str> {
    if kernel.get(header..header + 4) != Some(b"PE\0\0") {
        return Err("its PE header is not where it says");
    }
    let sections = u16_at(kernel, header + 6).ok_or("it is cut short")?;
    let optional = u16_at(kernel, header + 20).ok_or("it is cut short")?;
    Ok(24 + usize::from(optional) + SECTION * usize::from(sections))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    /// Returns a kernel whose PE header is at an offset.
    fn kernel(offset: u8, sections: u16) -> Vec<u8> {
        let header = usize::from(offset);
        let mut kernel = vec![0xee; 1024];
        kernel[..2].copy_from_slice(b"MZ");
        kernel[PE_OFFSET].copy_from_slice(&[offset, 0, 0, 0]);
        kernel[header..header + 4].copy_from_slice(b"PE\0\0");
        kernel[header + 6..header + 8].copy_from_slice(&sections.to_le_bytes());
        kernel[header + 20..header + 22].copy_from_slice(&160_u16.to_le_bytes());
        kernel
    }

    #[test]
    fn a_header_in_the_way_is_moved_whole() {
        let original = kernel(0x40, 4);
        let mut changed = original.clone();
        write_root_hash(&mut changed, DIGITS).expect("there is room");
        assert_eq!(&changed[HASH], DIGITS.as_bytes());
        assert_eq!(u32_at(&changed, 0x3c), Some(0x80));
        let length = 24 + 160 + 4 * SECTION;
        assert_eq!(changed[0x80..0x80 + length], original[0x40..0x40 + length]);
        assert_eq!(changed[SETUP_HEADER..], original[SETUP_HEADER..]);
    }

    #[test]
    fn a_header_out_of_the_way_stays() {
        let original = kernel(0x80, 4);
        let mut changed = original.clone();
        write_root_hash(&mut changed, DIGITS).expect("nothing is in the way");
        assert_eq!((&changed[..64], &changed[128..]), (&original[..64], &original[128..]));
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        for (mut kernel, hash) in [
            (kernel(0x40, 5), DIGITS),
            (kernel(0x40, 4), "00"),
            (vec![0; 1024], DIGITS),
            (b"MZ".to_vec(), DIGITS),
        ] {
            assert!(write_root_hash(&mut kernel, hash).is_err());
        }
        let mut lost = kernel(0x40, 4);
        lost[0x40] = 0;
        assert!(write_root_hash(&mut lost, DIGITS).is_err());
    }
}
