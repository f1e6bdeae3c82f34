// SPDX-License-Identifier: Apache-2.0
#![no_main]
use libfuzzer_sys::fuzz_target;
use loadgauge::sysext::gentoo::atom::Atom;

fuzz_target!(|text: &str| {
    if let Ok(atom) = Atom::parse(text) {
        assert_eq!(Atom::parse(&atom.to_string()).as_ref(), Ok(&atom));
    }
});
