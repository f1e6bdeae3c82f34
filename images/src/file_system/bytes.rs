// SPDX-License-Identifier: Apache-2.0
//! Reads little-endian numbers from the structures of file systems.
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

pub(super) fn read<const LENGTH: usize>(file: &File, offset: u64) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Returns a number of two bytes, or zero where the bytes end before it.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    bytes.get(offset..offset + 2).and_then(|part| part.try_into().ok()).map_or(0, u16::from_le_bytes)
}

/// Returns a number of four bytes, or zero where the bytes end before it.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..offset + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// Returns a number of eight bytes, or zero where the bytes end before it.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..offset + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Joins the two halves of a number.
pub(super) fn u64_of(low: u32, high: u32) -> u64 {
    u64::from(low) | (u64::from(high) << 32)
}

pub(super) fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}
