// SPDX-License-Identifier: Apache-2.0
//! Defines the targets: functions that panic when a rule is broken, with sound inputs.
mod checksum;
mod debian;
mod disk;
mod gentoo;
mod image;
mod text;
mod unpack;

/// A target: a reader of foreign bytes, with the rules that it must keep.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// the name on the command line
    pub name: &'static str,
    /// the function that reads an input, and panics when a rule is broken
    pub run: fn(&[u8]),
    /// the sound inputs, which the mutator changes
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// whether an input takes milliseconds, because the target writes files or runs programs
    pub is_slow: bool,
    /// the number of inputs so far that passed the headers and reached the reader of names and contents, if
    /// the target counts them
    pub reached: Option<fn() -> u64>,
}

const fn quick(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds, is_slow: false, reached: None }
}

const fn slow(
    name: &'static str,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
    reached: fn() -> u64,
) -> Target {
    Target { name, run, seeds, is_slow: true, reached: Some(reached) }
}

/// All targets.
pub const ALL: &[Target] = &[
    quick("debian-version", debian::version, debian::versions),
    quick("debian-relation", debian::relation, debian::relations),
    quick("debian-index", debian::index, debian::indices),
    slow("deb", debian::package, debian::packages, debian::reached),
    quick("gentoo-version", gentoo::version, gentoo::versions),
    quick("gentoo-atom", gentoo::atom, gentoo::atoms),
    quick("gentoo-dependency", gentoo::dependency, gentoo::dependencies),
    quick("gentoo-index", gentoo::index, gentoo::indices),
    quick("gentoo-xpak", gentoo::xpak, gentoo::xpaks),
    quick("gentoo-gpkg", gentoo::gpkg, gentoo::gpkgs),
    quick("recipe", text::recipe, text::recipes),
    quick("os-release", text::os_release, text::os_releases),
    quick("contents", text::contents, text::contents_lists),
    quick("elf", text::elf, text::elfs),
    slow("archive", unpack::archive, unpack::archives, unpack::reached),
    slow("image", image::image, image::inputs, image::reached),
    slow("disk", disk::disk, disk::inputs, disk::reached),
];

/// Returns an input as text, if it is UTF-8.
fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn seeds<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.map(|text| text.as_bytes().to_vec()).into()
}
