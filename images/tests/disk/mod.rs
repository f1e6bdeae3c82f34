// SPDX-License-Identifier: Apache-2.0
//! A small disk as Flatcar's are built: for tests of what looks into disks and boots none.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};

/// Where the partitions begin on the disk, in bytes, and their length.
const MIB: u64 = 1 << 20;
const TABLE: &str = "label: gpt\nlabel-id: 00000000-0000-0000-0000-000000000001\nunit: sectors\n\
    1 : start=2048, size=8192, type=c12a7328-f81f-11d2-ba4b-00a0c93ec93b, name=\"EFI-SYSTEM\"\n\
    3 : start=10240, size=16384, type=5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6, \
    uuid=7130c94a-213a-4e5a-8e26-6cce9662f132, name=\"USR-A\", attrs=\"GUID:48,56\"\n\
    4 : start=26624, size=2048, type=5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6, \
    uuid=e03dd35c-7c2d-4a47-b3fe-27f15780a57c, name=\"USR-B\"\n";

/// `os-release` of a release.
pub(crate) fn os_release(version: &str) -> String {
    format!(
        "NAME=\"Flatcar Container Linux by Kinvolk\"\nID=flatcar\nID_LIKE=coreos\nVERSION={version}\n\
         VERSION_ID={version}\nSYSEXT_LEVEL=1.0\nFLATCAR_BOARD=\"amd64-usr\"\n\
         PRETTY_NAME=\"an image of the tests\"\n"
    )
}

/// Makes a disk of 16 MiB for UEFI: systemd 257, and Docker and containerd as extensions that the
/// booted system merges.
pub(crate) fn make(disk: &Utf8Path, version: &str) {
    let scratch = tempfile::tempdir().expect("a directory");
    let scratch = Utf8Path::from_path(scratch.path()).expect("UTF-8");
    let usr = scratch.join("usr");
    write(&usr.join("lib/os-release"), &os_release(version));
    write(&usr.join("lib64/systemd/libsystemd-shared-257.so"), "");
    write(&usr.join("lib/systemd/system/ensure-sysext.service"), "[Service]\n");
    for name in ["containerd-flatcar", "docker-flatcar"] {
        extension(&usr.join("share/flatcar/sysext").join(format!("{name}.raw")), name, scratch);
    }
    let (esp_image, usr_image) = (scratch.join("esp"), scratch.join("usr.ext2"));
    file_of(&esp_image, 4);
    run("mkfs.vfat", &[esp_image.as_str()]);
    run("mmd", &["-i", esp_image.as_str(), "::/EFI", "::/EFI/boot", "::/flatcar"]);
    let loader = usr.join("lib/os-release");
    for target in ["::/EFI/boot/bootx64.efi", "::/flatcar/vmlinuz-a", "::/flatcar/first_boot"] {
        run("mcopy", &["-i", esp_image.as_str(), loader.as_str(), target]);
    }
    file_of(&usr_image, 8);
    run("mke2fs", &["-q", "-F", "-t", "ext2", "-d", usr.as_str(), usr_image.as_str()]);
    file_of(disk, 16);
    let mut command = Command::new("/usr/sbin/sfdisk");
    command.args(["--quiet", "--no-reread", "--no-tell-kernel", disk.as_str()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("sfdisk runs");
    child.stdin.take().expect("piped").write_all(TABLE.as_bytes()).expect("written");
    assert!(child.wait().expect("waited").success());
    let target = OpenOptions::new().write(true).open(disk).expect("opened");
    for (image, offset) in [(esp_image, MIB), (usr_image, 5 * MIB)] {
        target.write_all_at(&fs::read(image).expect("read"), offset).expect("written");
    }
}

fn extension(file: &Utf8Path, name: &str, scratch: &Utf8Path) {
    let tree = scratch.join(name);
    write(
        &tree.join(format!("usr/lib/extension-release.d/extension-release.{name}")),
        "ID=flatcar\nSYSEXT_LEVEL=1.0\n",
    );
    fs::create_dir_all(file.parent().expect("a parent")).expect("made");
    run("mksquashfs", &[tree.as_str(), file.as_str(), "-quiet", "-no-progress"]);
}

fn write(path: &Utf8Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs::write(path, text).expect("written");
}

fn file_of(path: &Utf8Path, size_mib: u64) {
    File::create(path).and_then(|file| file.set_len(size_mib * MIB)).expect("created");
}

/// Runs a program of the host, which may be one for administrators.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let path = std::env::var("PATH").unwrap_or_default();
    let found =
        path.split(':').chain(["/usr/sbin", "/sbin"]).map(|place| Utf8PathBuf::from(place).join(program));
    let program = found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("no {program}"));
    let output = Command::new(&program).args(arguments).env("MTOOLS_SKIP_CHECK", "1").output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
