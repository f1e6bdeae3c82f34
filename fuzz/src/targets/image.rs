// SPDX-License-Identifier: Apache-2.0
//! Builds recipes that extract images of extensions, in every format.
//!
//! An input is a list of changes to a sound image, because most bytes of an image are zeros or file
//! contents:
//!
//! - one byte: the number of the format
//! - one byte: whether a name is replaced with one that leads out of its directory
//! - five bytes for each change: the index among the bytes that are not zero, and the new value
//!
//! Checksums are repaired, so that the extractors do not reject the changes early.
use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::{Format, Recipe, build};
use loadgauge_host::{Store, fs};

use super::unpack::{build_with, os_release, target};

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

/// Returns the directory that hostile names lead to.
fn outside() -> Utf8PathBuf {
    let directory = std::env::temp_dir().join(format!("loadgauge-fuzz-{}", std::process::id()));
    Utf8PathBuf::from_path_buf(directory).expect("UTF-8")
}

/// Returns a name that leads to a file in the directory outside.
fn hostile_name() -> String {
    format!("{}{}/file", "../".repeat(12), outside().as_str().trim_start_matches('/'))
}

/// Returns a name of the same length, which the hostile name replaces.
fn placeholder() -> String {
    "A".repeat(hostile_name().len())
}

pub(super) fn image(bytes: &[u8]) {
    let [format, rename, changes @ ..] = bytes else { return };
    let images = images();
    let original = &images[usize::from(*format) % images.len()];
    let mut mutated = original.bytes.clone();
    if rename % 2 == 1 {
        replace(&mut mutated, placeholder().as_bytes(), hostile_name().as_bytes());
    }
    for change in changes.as_chunks::<5>().0 {
        let [index @ .., value] = change;
        let index = usize::try_from(u32::from_le_bytes(*index)).unwrap_or_default();
        mutated[original.filled[index % original.filled.len()]] = *value;
    }
    repair(&mut mutated, &original.summed);
    fs::create_dir_all(outside()).expect("created");
    build_with("image", |input| write(input, &mutated));
    // The directory is empty unless an image has written to it.
    fs::remove_dir(outside()).expect("nothing is written outside");
}

/// Returns each format unchanged, with a hostile name, and with two changed bytes.
pub(super) fn inputs() -> Vec<Vec<u8>> {
    (0..FORMATS.len())
        .flat_map(|format| {
            let format = u8::try_from(format).unwrap_or_default();
            [vec![format, 0], vec![format, 1], vec![format, 0, 9, 0, 0, 0, 255, 200, 0, 0, 0, 47]]
        })
        .collect()
}

/// Returns the sound images, packed by the builder.
fn images() -> &'static [Image] {
    static IMAGES: OnceLock<Vec<Image>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let text = format!(
            "name = \"x\"\n[[file]]\npath = \"/usr/bin/x\"\nmode = \"0755\"\ncontents = \"x\"\n\
             [[file]]\npath = \"/usr/lib/{}\"\ncontents = \"x\"\n\
             [[file]]\npath = \"/usr/lib/link\"\nlink = \"../bin/x\"\n",
            placeholder()
        );
        let recipe = Recipe::parse(&text, &directory.join("x.toml")).expect("a recipe");
        let os_release = os_release();
        let target = target(&os_release);
        let store = Store::at(directory.join("cache"));
        let pack = |format| {
            let built = build(&recipe, &target, format, &store, &|_| {});
            let bytes = fs::read(built.expect("built").extension.path).expect("read");
            let filled = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
            let summed = if format == Format::Btrfs { summed(&bytes) } else { Vec::new() };
            Image { bytes, filled, summed }
        };
        FORMATS.map(pack).into()
    })
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

/// Repairs the checksums of a btrfs, a GPT or an erofs.
fn repair(bytes: &mut [u8], summed: &[(usize, usize)]) {
    for (at, length) in summed {
        let sum = crc32c(&bytes[at + 32..at + length]);
        bytes[*at..at + 4].copy_from_slice(&sum.to_le_bytes());
    }
    if bytes.get(512..520) == Some(b"EFI PART") && bytes.len() > 1024 + 128 * 128 {
        let entries = crc32(&bytes[1024..1024 + 128 * 128]);
        bytes[600..604].copy_from_slice(&entries.to_le_bytes());
        bytes[528..532].fill(0);
        let header = crc32(&bytes[512..604]);
        bytes[528..532].copy_from_slice(&header.to_le_bytes());
    }
    if bytes.get(1024..1028) == Some(&[0xe2, 0xe1, 0xf5, 0xe0]) && bytes.len() >= BLOCK {
        bytes[1028..1032].fill(0);
        // erofs omits the last inversion of CRC-32C.
        let sum = !crc32c(&bytes[1024..BLOCK]);
        bytes[1028..1032].copy_from_slice(&sum.to_le_bytes());
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

/// Returns the CRC-32C of bytes (RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg()))
    })
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
