// SPDX-License-Identifier: Apache-2.0
/// Where kernels of either architecture carry the root hash, in bytes.
const KERNEL_OFFSETS: [usize; 2] = [64, 512];
/// Digits of a root hash.
const DIGITS: usize = 64;

/// The root hash in a kernel, where it has one.
pub(crate) fn in_kernel(kernel: &[u8]) -> Option<String> {
    KERNEL_OFFSETS.into_iter().find_map(|offset| parse(kernel.get(offset..offset + DIGITS)?))
}

/// Parses a root hash: 64 lower-case hexadecimal digits.
pub(crate) fn parse(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok()?;
    let is_hash = text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_hash_is_64_lower_case_digits_and_nothing_else() {
        let hash = "0123456789abcdef".repeat(4);
        let mut kernel = vec![0; 1024];
        assert_eq!(in_kernel(&kernel), None);
        kernel[512..576].copy_from_slice(hash.as_bytes());
        assert_eq!(in_kernel(&kernel), Some(hash.clone()));
        kernel[64..128].copy_from_slice(hash.as_bytes());
        kernel[100] = b'X';
        assert_eq!(in_kernel(&kernel), Some(hash));
        assert_eq!(in_kernel(b"short"), None);
    }
}
