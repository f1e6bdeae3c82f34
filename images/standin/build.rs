// SPDX-License-Identifier: Apache-2.0
//! Tells cargo that the embedded tree of the stand-in may gain and lose files.

fn main() {
    println!("cargo::rerun-if-changed=assets");
    println!("cargo::rerun-if-changed=build.rs");
}
