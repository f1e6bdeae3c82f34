// SPDX-License-Identifier: Apache-2.0
//! Images on real guests: that their disk and their boot are as Flatcar's, and that /usr is
//! verified. What is changed on an image is changed on a layer above.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod guest_run;

use std::fs;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use guest_run::GuestRun;
use loadgauge::check::Outcome;
use loadgauge::machine::Fault;
use loadgauge::runner::EventKind;
use loadgauge_host::Store;
use loadgauge_images::Image;

/// One of each era that there is an image of: `loadgauge image build --release ..`.
const RELEASES: [&str; 3] = ["3654.0.0", "4593.2.0", "4790.0.0"];

/// A directory with an image of its own, a layer above that of a release.
struct Layer {
    _scratch: tempfile::TempDir,
    directory: Utf8PathBuf,
    disk: Utf8PathBuf,
}

impl Layer {
    fn new(release: &str, size: Option<&str>) -> Self {
        let store = Store::of_user().expect("a store");
        let image = Image::open(&store.root().join("releases").join(release), &store, &|_| ());
        let image = image.unwrap_or_else(|error| panic!("no image of {release} was made: {error}"));
        let below = image.disk.canonicalize_utf8().expect("the disk is there");
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
        let disk = directory.join(below.file_name().expect("a file"));
        for entry in below.parent().expect("a directory").read_dir_utf8().expect("read").flatten() {
            if entry.file_name() != disk.file_name().expect("a file") {
                std::os::unix::fs::symlink(entry.path(), directory.join(entry.file_name())).expect("linked");
            }
        }
        let mut command = Command::new("qemu-img");
        command.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]).arg(&below).arg(&disk).args(size);
        run(&mut command);
        Self { _scratch: scratch, directory, disk }
    }

    /// Where USR-A begins on the disk, in bytes, as the guest's tools would tell.
    fn usr_offset(&self) -> u64 {
        let head = self.directory.join("head");
        let mut command = Command::new("qemu-img");
        command.args(["dd", "-O", "raw", "bs=1M", "count=4"]);
        command.arg(format!("if={}", self.disk)).arg(format!("of={head}"));
        run(&mut command);
        let table = fs::read(&head).expect("read");
        // The third entry of the table, which begins in the third sector; its first sector is told
        // at 32 (UEFI specification, "GPT Partition Entry Array").
        let entry = &table[1024 + 2 * 128..][..128];
        512 * u64::from_le_bytes(entry[32..40].try_into().expect("eight bytes"))
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// One machine at a time: these tests run side by side themselves, and more machines than processors
/// only make each slower.
fn run_on(image: &Utf8Path, arguments: &[&str]) -> guest_run::Finished {
    GuestRun::of(&[arguments, &["--image", image.as_str(), "--jobs", "1"]].concat()).finish()
}

/// Boots releases by one kind of firmware, twice each.
fn boot(firmware: &str, releases: &[&str]) {
    for release in releases {
        let layer = Layer::new(release, Some("14G"));
        let run = run_on(&layer.directory, &["standin.toml", "--firmware", firmware]);
        run.assert(0, &["verdict: passed"]);
    }
}

/// `guest_catalogue` boots the release in between by BIOS.
#[test]
fn the_disk_and_the_boot_are_flatcars_by_bios() {
    boot("bios", &[RELEASES[0], RELEASES[2]]);
}

#[test]
fn the_disk_and_the_boot_are_flatcars_by_uefi() {
    boot("uefi", &[RELEASES[1]]);
}

#[cfg(feature = "all-guest-tests")]
#[test]
fn the_disk_and_the_boot_are_flatcars_by_the_other_firmware() {
    boot("bios", &[RELEASES[1]]);
    boot("uefi", &[RELEASES[0], RELEASES[2]]);
}

/// Runs scenarios of the catalogue on a release: the names of those that passed, and why others
/// were skipped.
fn run_catalogue(release: &str, patterns: &[&str]) -> (Vec<String>, Vec<String>) {
    let layer = Layer::new(release, None);
    let run = run_on(&layer.directory, patterns);
    run.assert(0, &["verdict: passed"]);
    let (mut passed, mut skipped) = (Vec::new(), Vec::new());
    for event in run.events() {
        match event.kind {
            EventKind::ScenarioSkipped { scenario, reason } => skipped.push(format!("{scenario}: {reason}")),
            EventKind::ScenarioFinished { scenario, outcome, .. } => {
                assert_eq!(outcome, Outcome::Passed, "`{scenario}`");
                passed.push(scenario.to_string());
            }
            _ => {}
        }
    }
    passed.sort();
    skipped.sort();
    (passed, skipped)
}

/// Why a scenario for other eras is skipped.
fn needs(eras: &str, era: &str) -> String {
    format!("needs era {eras}, the image has {era}")
}

#[test]
fn the_oldest_era_has_docker_from_torcx_and_skips_what_it_cannot_run() {
    let (passed, skipped) = run_catalogue(RELEASES[0], &["docker-torcx", "docker-vendor"]);
    assert_eq!(passed, ["docker-torcx"]);
    assert_eq!(skipped, [format!("docker-vendor: {}", needs("sysext or initrd", "torcx"))]);
}

#[cfg(feature = "all-guest-tests")]
#[test]
fn the_oldest_era_can_do_without_docker() {
    let patterns = ["docker-torcx-masked", "docker-replace", "containerd-disabled"];
    let (passed, skipped) = run_catalogue(RELEASES[0], &patterns);
    assert_eq!(passed, ["docker-torcx-masked"]);
    let reason = needs("sysext or initrd", "torcx");
    assert_eq!(skipped, ["containerd-disabled", "docker-replace"].map(|name| format!("{name}: {reason}")));
}

#[test]
fn the_newest_era_merges_in_the_initrd_and_skips_what_it_cannot_run() {
    let patterns = ["docker-vendor", "docker-torcx", "refused-name"];
    let (passed, skipped) = run_catalogue(RELEASES[2], &patterns);
    assert_eq!(passed, ["docker-vendor"]);
    let expected = [
        format!("docker-torcx: {}", needs("torcx", "initrd")),
        format!("refused-name: {}; needs systemd =257, the image has 262", needs("sysext", "initrd")),
    ];
    assert_eq!(skipped, expected);
}

#[cfg(feature = "all-guest-tests")]
#[test]
fn the_newest_era_can_replace_and_disable_docker_and_containerd() {
    let (passed, skipped) =
        run_catalogue(RELEASES[2], &["docker-replace", "containerd-disabled", "hello", "refused"]);
    assert_eq!(passed, ["containerd-disabled", "docker-replace", "hello", "refused"]);
    assert!(skipped.is_empty(), "{skipped:?}");
}

/// A run on an image with a byte changed in /usr.
fn run_with_a_changed_byte(release: &str, below: u64) -> guest_run::Finished {
    let layer = Layer::new(release, None);
    let place = layer.usr_offset() + below;
    let mut command = Command::new("qemu-io");
    command.args(["-c", &format!("write -q -P 0xa5 {place} 1")]).arg(&layer.disk);
    run(&mut command);
    run_on(&layer.directory, &["standin.toml"])
}

#[test]
fn a_byte_changed_in_usr_stops_the_guest_and_dm_verity_is_named() {
    // In the superblock of ext2, which every boot reads and the inspection of the image does not sum.
    let run = run_with_a_changed_byte("3654.0.0", 1024 + 8);
    run.assert(1, &["dm-verity"]);
    let EventKind::ScenarioFinished { cause: Some(cause), .. } = run.end_of("standin") else {
        panic!("no cause; the run said:\n{}", run.words());
    };
    let fault = cause.fault.unwrap_or_else(|| panic!("no fault; the run said:\n{}", run.words()));
    assert!(matches!(&fault, Fault::Panic { line, .. } if line.contains("dm-verity")), "{fault:?}");
    assert!(fault.console().iter().any(|line| line.contains("is corrupted")), "{fault:?}");
}

#[test]
fn a_byte_changed_in_the_superblock_of_a_btrfs_is_found_before_a_boot() {
    let run = run_with_a_changed_byte("4593.2.0", 64 * 1024 + 100);
    run.assert(3, &["partition 3", "the checksum of the superblock is wrong"]);
}
