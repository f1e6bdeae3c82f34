// SPDX-License-Identifier: Apache-2.0
//! Tells cargo that the catalogue is part of the binary: the macro that embeds it cannot.
fn main() {
    println!("cargo::rerun-if-changed=../scenarios");
    println!("cargo::rerun-if-changed=build.rs");
}
