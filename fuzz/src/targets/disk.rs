// SPDX-License-Identifier: Apache-2.0
//! Inspects disks of Flatcar: raw disks with the files of /usr, and qcow2 disks with a dm-verity hash tree.
//!
//! An input is one byte for the disk, and five bytes for each change, as in `image`. The checksums of the
//! partition table are repaired.
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::Utf8Path;
use loadgauge_host::{CommandExt as _, Store, Tool, fs};
use loadgauge_images::gpt::{NewPartition, TAIL, table_bytes};
use loadgauge_images::inspect::{Inspected, verify_usr};
use loadgauge_images::verity::{Parameters, hash_area};
use uuid::Uuid;

use super::checksum::repair_gpt;
use crate::canary::Canary;

/// The first sector of USR-A.
const FIRST: u64 = 2048;
/// The offset of the hash tree in USR-A, in bytes, as on Flatcar's disks.
const TREE: u64 = 1_065_345_024;
/// The size of the file system, in bytes.
const USR: u64 = 1 << 20;

/// A sound disk.
struct Disk {
    bytes: Vec<u8>,
    /// the positions of the bytes that are not zero
    filled: Vec<usize>,
    is_qcow2: bool,
}

/// The number of inputs whose partition table was read.
static REACHED: AtomicU64 = AtomicU64::new(0);

pub(super) fn reached() -> u64 {
    REACHED.load(Ordering::Relaxed)
}

pub(super) fn disk(bytes: &[u8]) {
    let [number, changes @ ..] = bytes else { return };
    let canary = Canary::of_process();
    let outcome = inspect(*number, changes);
    canary.check();
    let is_early =
        |message: &String| ["partition table", "header", "USR-A"].iter().any(|part| message.contains(part));
    if !outcome.is_err_and(|message| is_early(&message)) {
        REACHED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Applies changes to a disk and inspects it. Returns the messages of an error.
fn inspect(number: u8, changes: &[u8]) -> Result<(), String> {
    let disks = disks();
    let original = &disks[usize::from(number) % disks.len()];
    let mut mutated = original.bytes.clone();
    for change in changes.as_chunks::<5>().0 {
        let [index @ .., value] = change;
        let index = usize::try_from(u32::from_le_bytes(*index)).unwrap_or_default();
        mutated[original.filled[index % original.filled.len()]] = *value;
    }
    repair_gpt(&mut mutated);
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
    let path = directory.join("disk.img");
    fs::write(&path, &mutated).expect("written");
    let messages = |error| loadgauge_host::error::on_lines(&error);
    if original.is_qcow2 {
        verify_usr(&path).map(|_| ()).map_err(messages)
    } else {
        Inspected::open(&path, &Store::at(directory.join("store")), &|_| {}).map(|_| ()).map_err(messages)
    }
}

/// Returns each disk unchanged, and with two changed bytes.
pub(super) fn inputs() -> Vec<Vec<u8>> {
    (0..disks().len())
        .flat_map(|disk| {
            let disk = u8::try_from(disk).unwrap_or_default();
            [vec![disk], vec![disk, 9, 0, 0, 0, 255, 200, 0, 0, 0, 47]]
        })
        .collect()
}

fn disks() -> &'static [Disk] {
    static DISKS: OnceLock<Vec<Disk>> = OnceLock::new();
    DISKS.get_or_init(|| {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let usr = pack_usr(directory);
        [raw(&usr), qcow2(&usr, directory, false), qcow2(&usr, directory, true)].into()
    })
}

/// Packs /usr with the files that identify a release, as ext2.
fn pack_usr(directory: &Utf8Path) -> Vec<u8> {
    let tree = directory.join("tree");
    for (path, content) in [
        ("lib/os-release", "ID=flatcar\nVERSION_ID=4593.2.0\nFLATCAR_BOARD=\"amd64-usr\"\n"),
        ("lib64/systemd/libsystemd-shared-257.so", ""),
        ("lib/systemd/system/ensure-sysext.service", "[Service]\n"),
        ("share/flatcar/sysext/docker-flatcar.raw", "not an image"),
    ] {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(&path, content).expect("written");
    }
    let image = directory.join("usr");
    fs::create(&image).expect("created").set_len(USR).expect("sized");
    run("mke2fs", &["-q", "-F", "-t", "ext2", "-d", tree.as_str(), image.as_str()]);
    fs::read(&image).expect("read")
}

/// Returns the start of a disk with USR-A, up to the partition, and the number of its sectors.
fn table(size: u64) -> (Vec<u8>, u64) {
    let sectors = size.div_ceil(512);
    let end = FIRST + sectors + TAIL;
    let kind = Uuid::from_u128(0x5dfb_f5f4_2848_4bac_aa5e_0d9a_20b7_45a6);
    let identifier = Uuid::from_u128(0x7130_c94a_213a_4e5a_8e26_6cce_9662_f132);
    let partition = NewPartition { kind, identifier, label: "USR-A", first: FIRST, sectors };
    (table_bytes(Uuid::from_u128(1), end, &[partition]).0, end)
}

impl Disk {
    fn new(bytes: Vec<u8>, is_qcow2: bool) -> Self {
        let filled = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        Self { bytes, filled, is_qcow2 }
    }
}

/// Returns a raw disk without a hash tree.
fn raw(usr: &[u8]) -> Disk {
    let (mut bytes, end) = table(USR);
    let length = |sectors| usize::try_from(sectors * 512).expect("small");
    bytes.resize(length(FIRST), 0);
    bytes.extend(usr);
    bytes.resize(length(end), 0);
    Disk::new(bytes, false)
}

/// Returns a qcow2 disk with a hash tree behind /usr.
fn qcow2(usr: &[u8], directory: &Utf8Path, is_compressed: bool) -> Disk {
    let data = directory.join("data");
    fs::create(&data)
        .and_then(|mut file| file.write_all(usr).map_err(loadgauge_host::FileError::at("write", &data)))
        .expect("written");
    let parameters = Parameters { salt: [7; 32], uuid: Uuid::from_u128(3) };
    let tree = hash_area(&fs::open(&data).expect("opened"), 0, USR / 4096, &parameters).expect("hashed").area;
    let (head, end) = table(TREE + tree.len() as u64);
    let disk = directory.join("disk.qcow2");
    let size = (end * 512).to_string();
    run("qemu-img", &["create", "-q", "-f", "qcow2", disk.as_str(), &size]);
    for (offset, bytes) in [(0, head.as_slice()), (FIRST * 512, usr), (FIRST * 512 + TREE, &tree)] {
        let part = directory.join("part");
        let file = fs::create(&part).expect("created");
        file.set_len(bytes.len().next_multiple_of(4096) as u64).expect("sized");
        file.write_all_at(bytes, 0).expect("written");
        let length = bytes.len().next_multiple_of(4096);
        let line = format!("write -q -s {part} {offset} {length}");
        run("qemu-io", &["-f", "qcow2", "-c", &line, disk.as_str()]);
    }
    let found = if is_compressed {
        let packed = directory.join("packed.qcow2");
        run("qemu-img", &["convert", "-c", "-O", "qcow2", disk.as_str(), packed.as_str()]);
        packed
    } else {
        disk
    };
    Disk::new(fs::read(&found).expect("read"), true)
}

fn run(name: &str, arguments: &[&str]) {
    Tool::find(name).expect("on the host").command().args(arguments).run().expect("it runs");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_disks_are_read_to_the_end() {
        for number in [0, 1, 2] {
            assert_eq!(inspect(number, &[]), Ok(()), "{number}");
        }
    }

    #[test]
    fn a_changed_block_of_usr_does_not_match_the_hash_tree() {
        let (number, original) = (1, &disks()[1]);
        // The last byte that is not zero is in the hash tree.
        let last = u32::try_from(original.filled.len() - 1).expect("small").to_le_bytes();
        let value = !original.bytes[*original.filled.last().expect("one")];
        let message = inspect(number, &[last.as_slice(), &[value]].concat()).expect_err("changed");
        assert!(message.contains("does not match its hash"), "{message}");
    }
}
