// SPDX-License-Identifier: Apache-2.0
//! Reads disks that `qemu-img` writes, and damaged ones, which cause an error at most.
use loadgauge_host::Hint as _;
use std::fs;
use std::process::Command;

use proptest::prelude::*;

use super::*;

fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
    let scratch = tempfile::tempdir().expect("a directory");
    let path = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
    (scratch, path)
}

/// Returns 3 MiB and 512 bytes of text that can be compressed, noise that cannot, and holes.
fn content() -> Vec<u8> {
    let mut bytes = vec![0; (3 << 20) + 512];
    for (index, byte) in bytes[100_000..400_000].iter_mut().enumerate() {
        *byte = u8::try_from(index % 7).expect("small");
    }
    let mut state = 1_u64;
    for byte in &mut bytes[1 << 20..(1 << 20) + 200_000] {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = state.to_be_bytes()[0];
    }
    *bytes.last_mut().expect("not empty") = 7;
    bytes
}

fn convert(from: &Utf8Path, to: &Utf8Path, options: &[&str]) {
    let output = Command::new("qemu-img")
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .args(options)
        .args([from, to])
        .output()
        .expect("qemu-img runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_kind_of_disk_reads_as_the_bytes_it_was_made_from() {
    let (_scratch, directory) = scratch();
    let raw = directory.join("raw");
    fs::write(&raw, content()).expect("written");
    let kinds: [&[&str]; 6] = [
        &["-c", "-o", "compat=0.10"],
        &["-o", "compat=0.10"],
        &["-c", "-o", "compat=1.1"],
        &["-c", "-o", "compression_type=zstd"],
        &["-o", "cluster_size=512"],
        &["-c", "-o", "cluster_size=2M"],
    ];
    let mut disks = vec![raw.clone()];
    for (number, options) in kinds.iter().enumerate() {
        let disk = directory.join(number.to_string());
        convert(&raw, &disk, options);
        disks.push(disk);
    }
    for path in disks {
        let disk = Disk::open(&path).expect("opened");
        assert_eq!(disk.length(), content().len() as u64, "{path}");
        let copy = directory.join("copy");
        disk.extract(0, disk.length(), &copy).expect("extracted");
        assert!(fs::read(&copy).expect("read") == content(), "{path}");
        let mut part = vec![0; 70_001];
        disk.read((1 << 20) - 3, &mut part).expect("read");
        assert!(part == content()[(1 << 20) - 3..][..70_001], "{path}");
        assert!(disk.is_empty(400_000, 600_000).expect("read") && !disk.is_empty(0, 100_002).expect("read"));
        assert!(disk.read(disk.length() - 1, &mut [0; 2]).is_err());
    }
}

fn tool(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("the program runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a disk with a backing file, and writes patterns to it.
fn layer(below: &str, format: &str, path: &Utf8Path, version: &str, writes: &[&str]) {
    let option = format!("compat={version},cluster_size=4096");
    tool(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", "-o", &option, "-F", format, "-b", below, path.as_str()],
    );
    for write in writes {
        tool("qemu-io", &["-f", "qcow2", "-c", write, path.as_str()]);
    }
}

/// Returns the content with the signature of a partition table.
fn partitioned() -> Vec<u8> {
    let mut bytes = content();
    bytes[512..520].copy_from_slice(b"EFI PART");
    bytes
}

#[test]
fn a_disk_with_backing_files_reads_as_qemu_reads_it() {
    let (_scratch, directory) = scratch();
    fs::write(directory.join("raw"), partitioned()).expect("written");
    let (middle, top) = (directory.join("middle"), directory.join("top"));
    layer("raw", "raw", &middle, "1.1", &["write -q -P 0x11 90000 30000", "write -q -z 300000 90000"]);
    layer(middle.as_str(), "qcow2", &top, "0.10", &["write -q -P 0x22 100000 10"]);
    // Make the disk larger than its backing file.
    tool("qemu-img", &["resize", "-q", top.as_str(), "5M"]);
    tool("qemu-io", &["-f", "qcow2", "-c", "write -q -P 0x33 5000000 10", top.as_str()]);
    let expected = directory.join("expected");
    tool("qemu-img", &["convert", "-O", "raw", top.as_str(), expected.as_str()]);
    let expected = fs::read(expected).expect("read");
    let disk = Disk::open(&top).expect("opened");
    assert_eq!(disk.files(), [&top, &directory.join("middle"), &directory.join("raw")]);
    let mut found = vec![1; expected.len()];
    disk.read(0, &mut found).expect("read");
    assert!(found == expected, "the bytes differ");
    let copy = directory.join("copy");
    disk.extract(0, disk.length(), &copy).expect("extracted");
    assert!(fs::read(copy).expect("read") == expected, "the copy differs");
    assert!(disk.is_empty(310_000, 70_000).expect("read"), "zeros hide the backing file");
    assert!(!disk.is_empty(4_900_000, 200_000).expect("read"));
}

#[test]
fn a_part_that_claims_to_be_larger_than_any_image_is_not_read() {
    let (_scratch, directory) = scratch();
    let path = directory.join("large");
    File::create(&path).and_then(|file| file.set_len(LARGEST_PART + 1)).expect("created");
    let disk = Disk::open(&path).expect("opened");
    assert!(disk.is_empty(0, LARGEST_PART).expect("a hole"));
    let error =
        disk.extract(0, LARGEST_PART + 1, &directory.join("copy")).expect_err("too large").to_string();
    assert!(error.ends_with("byte 0: a partition of 17179869185 bytes is too large"), "{error}");
    assert!(disk.is_empty(0, LARGEST_PART + 1).is_err());
}

#[test]
fn fields_of_a_header_that_are_too_large_are_refused() {
    let (_scratch, directory) = scratch();
    let path = directory.join("disk");
    tool("qemu-img", &["create", "-q", "-f", "qcow2", path.as_str(), "1M"]);
    let sound = fs::read(&path).expect("read");
    for (offset, value, expected) in [
        (20, 22_u32, "clusters of 2^22 bytes are invalid"),
        (36, (32 << 17) + 1, "a table of 4194305 entries is too large"),
        (4, 4, "version 4 of qcow2 is not supported"),
    ] {
        let mut bytes = sound.clone();
        bytes[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
        fs::write(&path, bytes).expect("written");
        let error = Disk::open(&path).expect_err(expected).to_string();
        assert!(error.ends_with(expected), "{error}");
    }
    let mut bytes = sound;
    bytes[8..16].copy_from_slice(&512_u64.to_be_bytes());
    bytes[16..20].copy_from_slice(&1024_u32.to_be_bytes());
    fs::write(&path, bytes).expect("written");
    let error = Disk::open(&path).expect_err("a long path").to_string();
    assert!(error.ends_with("the path of its backing file is too long"), "{error}");
}

#[test]
fn a_backing_file_that_is_not_a_disk_is_refused() {
    let (_scratch, directory) = scratch();
    let at = |name: &str| directory.join(name);
    fs::write(at("secret"), [b's'; 5000]).expect("written");
    fs::write(at("short"), "s").expect("written");
    fs::write(at("raw"), partitioned()).expect("written");
    fs::write(at("disguised"), [&qcow2::MAGIC, &partitioned()[4..]].concat()).expect("written");
    tool("mkfifo", &[at("pipe").as_str()]);
    layer("raw", "raw", &at("good"), "1.1", &[]);
    let refused = |below: &str, format: Option<&str>| {
        let path = at("layer");
        let mut arguments = vec!["rebase", "-u", "-b", below];
        arguments.extend(format.map(|format| ["-F", format]).into_iter().flatten());
        fs::copy(at("good"), &path).expect("copied");
        arguments.push(path.as_str());
        tool("qemu-img", &arguments);
        let error = Disk::open(&path).expect_err(below);
        assert!(matches!(&error, ImageError::Backing { below: named, .. } if named == below), "{error}");
        assert!(error.hint().is_some());
        error.to_string()
    };
    for (below, format) in
        [("secret", "raw"), ("secret", "qcow2"), ("short", "raw"), ("disguised", "raw"), ("good", "raw")]
    {
        assert!(
            refused(below, Some(format)).ends_with("it is not a disk of the format that the header names")
        );
    }
    for below in ["pipe", "/dev/zero", "."] {
        assert!(refused(below, Some("raw")).ends_with("it is not a regular file"), "{below}");
    }
    for below in ["nbd://localhost/disk", "json:{}", "fd:3"] {
        assert!(refused(below, Some("raw")).ends_with("it is not a path"), "{below}");
    }
    assert!(refused("gone", Some("raw")).contains("No such file"));
    assert!(refused("raw", Some("vmdk")).ends_with("its format `vmdk` is not supported"));
    assert!(refused("layer", Some("qcow2")).ends_with("the chain of backing files is too long"));
    assert!(Disk::open(&at("pipe")).is_err(), "opening a FIFO blocks");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn damaged_disks_never_panic_and_stay_within_bounds(
        cut in 4_usize..70_000,
        changes in prop::collection::vec((4_usize..400, any::<u8>()), 0..6),
        table in prop::collection::vec((0_usize..400_000, any::<u8>()), 0..6),
    ) {
        static DISK: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let whole = DISK.get_or_init(|| {
            let (_scratch, directory) = scratch();
            let (raw, disk) = (directory.join("raw"), directory.join("disk"));
            fs::write(&raw, content()).expect("written");
            convert(&raw, &disk, &["-c"]);
            fs::read(disk).expect("read")
        });
        let mut bytes = whole.clone();
        for (at, byte) in changes.into_iter().chain(table) {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        if cut % 3 == 0 {
            bytes.truncate(cut);
        }
        let (_scratch, directory) = scratch();
        let path = directory.join("disk");
        fs::write(&path, bytes).expect("written");
        if let Ok(disk) = Disk::open(&path) {
            let mut buffer = vec![0; 4096];
            for at in [0, 100_000, 1 << 20] {
                let _ = disk.read(at, &mut buffer);
            }
            let _ = disk.is_empty(0, 3 << 20);
        }
    }
}
