// SPDX-License-Identifier: Apache-2.0
//! What `qemu-img` writes is read back, and whatever else is in a file ends in an error at most.
use std::fs;
use std::process::Command;

use proptest::prelude::*;

use super::*;

fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
    let scratch = tempfile::tempdir().expect("a directory");
    let path = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
    (scratch, path)
}

/// A disk of 3 MiB and a bit, with text that can be compressed, noise that cannot, and holes.
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

#[test]
fn a_disk_that_builds_on_another_is_refused_with_the_reason() {
    let (_scratch, directory) = scratch();
    let (raw, overlay) = (directory.join("raw"), directory.join("overlay"));
    fs::write(&raw, content()).expect("written");
    let status = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw.as_str(), overlay.as_str()])
        .status();
    assert!(status.expect("qemu-img runs").success());
    let error = Disk::open(&overlay).expect_err("an overlay").to_string();
    assert!(error.contains("backing file") && error.contains("overlay"), "{error}");
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
