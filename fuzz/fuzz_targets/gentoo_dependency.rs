// SPDX-License-Identifier: Apache-2.0
#![no_main]
use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use loadgauge::sysext::gentoo::dependency::{parse, reduce};

fuzz_target!(|text: &str| {
    if let Ok(items) = parse(text) {
        let written: Vec<String> = items.iter().map(ToString::to_string).collect();
        assert_eq!(parse(&written.join(" ")).as_ref(), Ok(&items));
        reduce(&items, &BTreeSet::new());
    }
});
