// SPDX-License-Identifier: Apache-2.0
//! Builds recipes that extract images of extensions, in every format.
//!
//! An input is a list of changes to a sound image, because most bytes of an image are zeros or file
//! contents:
//!
//! - one byte: the number of the image
//! - one byte: the names that are replaced with hostile ones, see [`Hostile`]
//! - five bytes for each change: the index among the bytes that are not zero, and the new value
//!
//! Checksums are repaired, so that the extractors do not reject the changes early.
use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::Utf8Path;
use loadgauge_builder::{Format, Recipe, build};
use loadgauge_host::{CommandExt as _, Store, Tool, fs};
use loadgauge_images::gpt::{NewPartition, TAIL, table_bytes};
use uuid::Uuid;

use super::checksum::{crc32c, repair_btrfs, repair_erofs, repair_gpt};
use super::unpack::{build_with, os_release, target};
use crate::canary::{Canary, KEPT, MADE};

/// The size of a block to write, in bytes; blocks of zeros become holes.
const BLOCK: usize = 4096;
const FORMATS: [Format; 5] = [Format::Squashfs, Format::Erofs, Format::Ext4, Format::Btrfs, Format::Ddi];

/// A sound image.
struct Image {
    bytes: Vec<u8>,
    /// the positions of the bytes that are not zero
    filled: Vec<usize>,
    /// the offsets and lengths of blocks that begin with the CRC-32C of their bytes from 32 on
    summed: Vec<(usize, usize)>,
}

/// The ways in which names of an image lead out of it, with the names that they replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hostile {
    /// a file gets the path of one that does not exist
    New,
    /// a file gets the path of one that exists
    Existing,
    /// a directory gets the name of a link that leads to a directory outside
    Link,
}

impl Hostile {
    fn of(number: u8) -> Option<Self> {
        [None, Some(Self::New), Some(Self::Existing), Some(Self::Link)][usize::from(number % 4)]
    }

    /// Returns a name of the sound image, and the one that replaces it.
    fn names(self) -> (String, String) {
        match self {
            Self::New => (placeholder(), way_to(MADE)),
            Self::Existing => (placeholder(), way_to(KEPT)),
            Self::Link => ("link-B".to_owned(), "link-A".to_owned()),
        }
    }
}

/// Returns a name that leads to a file of the canary.
fn way_to(file: &str) -> String {
    let directory = Canary::directory();
    format!("{}{}/{file}", "../".repeat(12), directory.as_str().trim_start_matches('/'))
}

/// Returns the name in sound images that hostile ones replace, which are as long.
fn placeholder() -> String {
    "A".repeat(way_to(MADE).len())
}

/// The number of inputs whose files were extracted, or whose names were refused.
static REACHED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of inputs that passed the superblock and the inodes.
pub(super) fn reached() -> u64 {
    REACHED.load(Ordering::Relaxed)
}

pub(super) fn image(bytes: &[u8]) {
    let Some(mutated) = mutated(bytes) else { return };
    let canary = Canary::of_process();
    let outcome = build_with("image", |input| write(input, &mutated));
    canary.check();
    let is_name = |message: &String| message.contains("contains the name");
    if outcome.as_ref().err().is_none_or(is_name) {
        REACHED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Applies the changes of an input.
fn mutated(bytes: &[u8]) -> Option<Vec<u8>> {
    let [number, hostile, changes @ ..] = bytes else { return None };
    let images = images();
    let original = &images[usize::from(*number) % images.len()];
    let mut mutated = original.bytes.clone();
    if let Some(hostile) = Hostile::of(*hostile) {
        let (from, to) = hostile.names();
        replace(&mut mutated, from.as_bytes(), to.as_bytes());
    }
    for change in changes.as_chunks::<5>().0 {
        let [index @ .., value] = change;
        let index = usize::try_from(u32::from_le_bytes(*index)).unwrap_or_default();
        mutated[original.filled[index % original.filled.len()]] = *value;
    }
    repair_btrfs(&mut mutated, &original.summed);
    repair_gpt(&mut mutated);
    repair_erofs(&mut mutated);
    Some(mutated)
}

/// Returns each image unchanged, with hostile names, and with two changed bytes.
pub(super) fn inputs() -> Vec<Vec<u8>> {
    (0..images().len())
        .flat_map(|image| {
            let image = u8::try_from(image).unwrap_or_default();
            let changed = vec![image, 0, 9, 0, 0, 0, 255, 200, 0, 0, 0, 47];
            [vec![image, 0], vec![image, 1], vec![image, 2], vec![image, 3], changed]
        })
        .collect()
}

/// Returns the sound images: those that the builder packs, and two with uncompressed names.
fn images() -> &'static [Image] {
    static IMAGES: OnceLock<Vec<Image>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let text = format!(
            "name = \"x\"\n[[file]]\npath = \"/usr/bin/x\"\nmode = \"0755\"\ncontents = \"x\"\n\
             [[file]]\npath = \"/usr/lib/{}\"\ncontents = \"x\"\n\
             [[file]]\npath = \"/usr/lib/link\"\nlink = \"../bin/x\"\n\
             [[file]]\npath = \"/usr/lib/link-A\"\nlink = \"{}\"\n\
             [[file]]\npath = \"/usr/lib/link-B/{KEPT}\"\ncontents = \"x\"\n",
            placeholder(),
            Canary::directory()
        );
        let recipe = Recipe::parse(&text, &directory.join("x.toml")).expect("a recipe");
        let os_release = os_release();
        let target = target(&os_release);
        let store = Store::at(directory.join("cache"));
        let pack = |format| {
            let built = build(&recipe, &target, format, &store, &|_| {});
            built.expect("built").extension.path
        };
        let image = |format| {
            let bytes = fs::read(pack(format)).expect("read");
            let summed = if format == Format::Btrfs { summed(&bytes) } else { Vec::new() };
            Image::new(bytes, summed)
        };
        let mut images: Vec<Image> = FORMATS.map(image).into();
        let plain = directory.join("plain");
        let mut command = Tool::find("mksquashfs").expect("on the host").command();
        command.arg(pack(Format::Directory)).arg(&plain).args([
            "-quiet",
            "-no-progress",
            "-noI",
            "-noX",
            "-noId",
        ]);
        command.run().expect("packed");
        let plain = fs::read(&plain).expect("read");
        images.push(Image::new(disk(&plain), Vec::new()));
        images.push(Image::new(plain, Vec::new()));
        images
    })
}

impl Image {
    fn new(bytes: Vec<u8>, summed: Vec<(usize, usize)>) -> Self {
        let filled = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        Self { bytes, filled, summed }
    }
}

/// Puts a file system on a disk with a partition table.
fn disk(file_system: &[u8]) -> Vec<u8> {
    let (first, sectors) = (64, file_system.len().div_ceil(512) as u64);
    let end = first + sectors + TAIL;
    // The root file system of the discoverable partitions specification, for x86-64.
    let kind = Uuid::from_u128(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709);
    let partition = NewPartition { kind, identifier: Uuid::from_u128(2), label: "root", first, sectors };
    let (mut bytes, tail) = table_bytes(Uuid::from_u128(1), end, &[partition]);
    bytes.resize(64 * 512, 0);
    bytes.extend(file_system);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend(tail);
    bytes
}

/// Returns the offsets and lengths of the superblock and the nodes of a btrfs.
fn summed(bytes: &[u8]) -> Vec<(usize, usize)> {
    let is_sound = |at: usize, length: usize| {
        let block = bytes.get(at..at + length);
        block.is_some_and(|block| block[0..4] != [0; 4] && block[..4] == crc32c(&block[32..]).to_le_bytes())
    };
    let places =
        (0..bytes.len()).step_by(BLOCK).filter(|at| bytes[*at..].iter().take(4).any(|byte| *byte != 0));
    places
        .filter_map(|at| {
            [16_384, BLOCK].into_iter().find(|length| is_sound(at, *length)).map(|length| (at, length))
        })
        .collect()
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let places: Vec<usize> =
        bytes.windows(from.len()).enumerate().filter(|(_, part)| *part == from).map(|(at, _)| at).collect();
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
}

/// Writes a file with holes for zeros.
fn write(path: &Utf8Path, bytes: &[u8]) {
    let mut file = fs::create(path).expect("created");
    file.set_len(bytes.len() as u64).expect("sized");
    for (index, block) in bytes.chunks(BLOCK).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start((index * BLOCK) as u64)).expect("sought");
            file.write_all(block).expect("written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn sound_images_are_extracted_and_hostile_ones_refused_for_their_names() {
        for number in 0..u8::try_from(images().len()).expect("few") {
            let outcome = |input: &[u8]| {
                let mutated = mutated(input).expect("an image");
                build_with("image", |path| write(path, &mutated))
            };
            assert_eq!(outcome(&[number, 0]), Ok(()), "{number}");
            // The names in the builder's squashfs are compressed, also on a disk.
            let is_plain = images()[usize::from(number)].bytes.windows(6).any(|part| part == b"link-A");
            assert!(is_plain || matches!(number, 0 | 4), "{number}");
            for hostile in [1, 2, 3].into_iter().filter(|_| is_plain) {
                let message = outcome(&[number, hostile]).expect_err("refused");
                assert!(message.contains("contains the name"), "{number} {hostile}: {message}");
            }
        }
    }

    /// The oracle notices what a program writes that does not check names: fsck.erofs alone.
    #[test]
    fn a_program_that_checks_no_names_changes_the_canary() {
        for hostile in [Hostile::New, Hostile::Existing] {
            let mutated = mutated(&[1, if hostile == Hostile::New { 1 } else { 2 }]).expect("an erofs");
            let scratch = tempfile::tempdir().expect("a directory");
            let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
            write(&directory.join("image"), &mutated);
            let canary = Canary::of_process();
            let mut command = Tool::find("fsck.erofs").expect("on the host").command();
            command.arg(format!("--extract={}", directory.join("target"))).args(["--force", "--overwrite"]);
            let _ = command.arg(directory.join("image")).run();
            let noticed = catch_unwind(std::panic::AssertUnwindSafe(|| canary.check())).is_err();
            assert!(noticed, "{hostile:?}");
        }
    }
}
