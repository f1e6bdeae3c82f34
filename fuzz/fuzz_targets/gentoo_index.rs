// SPDX-License-Identifier: Apache-2.0
#![no_main]
use libfuzzer_sys::fuzz_target;
use loadgauge::sysext::gentoo::index::Index;
use loadgauge::sysext::gentoo::package::Package;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(index) = Index::read(bytes) {
        for metadata in &index.packages {
            let _ = Package::of_index(metadata);
        }
    }
});
