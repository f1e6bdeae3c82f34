// SPDX-License-Identifier: Apache-2.0
#![no_main]
use std::io::{Cursor, Read as _};

use libfuzzer_sys::fuzz_target;
use loadgauge::sysext::gentoo::compression::Compression;
use loadgauge::sysext::gentoo::{gpkg, xpak};

fuzz_target!(|bytes: &[u8]| {
    let _ = xpak::read_end(&mut Cursor::new(bytes));
    let _ = xpak::parse(bytes);
    let _ = gpkg::read(&mut Cursor::new(bytes));
    if let Ok(decoder) = Compression::of(bytes).decoder(bytes) {
        let _ = decoder.take(1 << 20).read_to_end(&mut Vec::new());
    }
});
