// SPDX-License-Identifier: Apache-2.0
#![no_main]
use libfuzzer_sys::fuzz_target;
use loadgauge::sysext::gentoo::version::{Version, split_name};

// Two versions, one a line: their order is the opposite of the opposite, and equal to itself.
fuzz_target!(|text: &str| {
    let _ = split_name(text);
    let mut lines = text.lines().map(Version::parse);
    if let (Some(Ok(left)), Some(Ok(right))) = (lines.next(), lines.next()) {
        assert_eq!(left.cmp(&right), right.cmp(&left).reverse());
        assert_eq!(left, left.clone());
    }
});
