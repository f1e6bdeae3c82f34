// SPDX-License-Identifier: Apache-2.0
//! The disks of stand-in images: the programs of the host that know their formats find no error in them,
//! and report the same as `image inspect`. No guest is booted.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
use std::fs;
use std::process::{Command, Output};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Store;
use loadgauge_images::Image;
use serde_json::Value;

/// The releases of the images, which `loadgauge image build --all` builds.
const RELEASES: [&str; 3] = ["3654.0.0", "4593.2.0", "4790.0.0"];
/// Offset of the dm-verity hash tree in the partition of /usr, in bytes.
const HASH_OFFSET: &str = "1065345024";

/// An image with its description by `image inspect`.
struct InspectedImage {
    _scratch: tempfile::TempDir,
    scratch: Utf8PathBuf,
    directory: Utf8PathBuf,
    disk: Utf8PathBuf,
    description: Value,
}

impl InspectedImage {
    fn new(release: &str) -> Self {
        let store = Store::of_user().expect("a store");
        let directory = store.root().join("releases").join(release);
        let directory = directory.canonicalize_utf8();
        let directory = directory.unwrap_or_else(|error| panic!("no image of {release} was built: {error}"));
        let scratch = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
        let description = inspect(&directory);
        let disk = directory.join("flatcar_production_qemu_image.img");
        Self { _scratch: scratch, scratch: path, directory, disk, description }
    }

    /// The description of a partition.
    fn partition(&self, label: &str) -> &Value {
        let partitions = self.description["partitions"].as_array().expect("partitions");
        let found = partitions.iter().find(|partition| partition["label"] == label);
        found.unwrap_or_else(|| panic!("no partition {label}"))
    }

    /// A file with a part of the disk, extracted by qemu-img.
    fn part(&self, name: &str, offset: u64, size: u64) -> Utf8PathBuf {
        let target = self.scratch.join(name);
        let options = format!(
            "driver=raw,offset={offset},size={size},file.driver=qcow2,file.file.filename={}",
            self.disk
        );
        run("qemu-img", &["convert", "-O", "raw", "--image-opts", &options, target.as_str()]);
        target
    }

    /// A file with a partition.
    fn extract(&self, label: &str) -> Utf8PathBuf {
        let partition = self.partition(label);
        let number = |name: &str| partition[name].as_u64().expect("a number");
        self.part(label, number("offset"), number("size"))
    }
}

/// The output of `image inspect`.
fn inspect(image: &Utf8Path) -> Value {
    let output = loadgauge(&["image", "inspect", "--format", "json", image.as_str()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn loadgauge(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgauge")).args(arguments).output().expect("the binary runs")
}

/// Runs a program of the host, which may be in `sbin`.
fn host(program: &str, arguments: &[&str]) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("env");
    command.arg(format!("PATH={path}:/usr/sbin:/sbin")).arg("LC_ALL=C").arg(program).args(arguments);
    command.output().expect("env runs")
}

/// The output of a program of the host, which must succeed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = host(program, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{program} {arguments:?}: {text}\n{stderr}");
    text.into_owned()
}

/// `sfdisk` finds no error in the partition table, and reports the same as `image inspect`.
fn check_table(image: &InspectedImage) {
    let info: Value = serde_json::from_str(&run("qemu-img", &["info", "--output=json", image.disk.as_str()]))
        .expect("JSON");
    assert_eq!(image.description["size"], info["virtual-size"]);
    assert_eq!(image.description["format"], info["format"]);
    let whole = image.part("whole", 0, info["virtual-size"].as_u64().expect("a size"));
    let verdict = run("sfdisk", &["--verify", whole.as_str()]);
    assert!(verdict.contains("No errors detected"), "{verdict}");
    let table: Value = serde_json::from_str(&run("sfdisk", &["--json", whole.as_str()])).expect("JSON");
    let table = &table["partitiontable"];
    let lower = |value: &Value| value.as_str().expect("a text").to_ascii_lowercase();
    assert_eq!(image.description["disk_guid"], lower(&table["id"]));
    let theirs = table["partitions"].as_array().expect("partitions");
    let ours = image.description["partitions"].as_array().expect("partitions");
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!(lower(&theirs["node"]).ends_with(&format!("whole{}", ours["number"])), "{theirs}");
        assert_eq!(ours["label"], theirs["name"]);
        assert_eq!(ours["guid"], lower(&theirs["uuid"]));
        assert_eq!(ours["type_guid"], lower(&theirs["type"]));
        for (name, sectors) in [("offset", "start"), ("size", "size")] {
            assert_eq!(ours[name].as_u64(), theirs[sectors].as_u64().map(|count| count * 512), "{theirs}");
        }
        // Bit 48 is the lowest bit of the priority, bit 56 means that a boot was successful.
        let is_chosen = theirs["attrs"] == "GUID:48,56";
        let choice = &ours["choice"];
        assert_eq!(choice["priority"] == 1 && choice["successful"] == true, is_chosen, "{theirs}");
        assert_eq!(choice.is_null(), theirs["attrs"].is_null(), "{theirs}");
    }
    fs::remove_file(whole).expect("removed");
}

/// The checkers of the file systems find no error.
fn check_file_systems(image: &InspectedImage, usr: &Utf8Path) {
    let esp = image.extract("EFI-SYSTEM");
    run("fsck.vfat", &["-n", esp.as_str()]);
    let root = image.extract("ROOT");
    run("e2fsck", &["-f", "-n", root.as_str()]);
    let oem = image.extract("OEM");
    run("btrfs", &["check", "--readonly", oem.as_str()]);
    match image.description["usr"].as_str() {
        Some("btrfs") => run("btrfs", &["check", "--readonly", usr.as_str()]),
        Some("ext") => run("e2fsck", &["-f", "-n", usr.as_str()]),
        other => panic!("/usr is {other:?}"),
    };
    let labels = [(&esp, "EFI-SYSTEM", "vfat"), (&root, "ROOT", "ext4"), (&oem, "OEM", "btrfs")];
    for (image, label, kind) in labels {
        let found = run("blkid", &["--probe", "--output", "export", image.as_str()]);
        let lines: Vec<&str> = found.lines().collect();
        for line in [format!("LABEL={label}"), format!("TYPE={kind}")] {
            assert!(lines.contains(&line.as_str()), "{label}: {found}");
        }
    }
}

/// `veritysetup` reports the same dm-verity hash tree, and finds a changed byte as `image inspect` does.
fn check_verity(image: &InspectedImage, usr: &Utf8Path) {
    let published = image.directory.join("flatcar_production_image_verity.txt");
    let published = fs::read_to_string(published).expect("read");
    let root_hash = published.trim();
    let tree = &image.description["hash_tree"];
    assert_eq!(tree["root_hash"], root_hash);
    assert_eq!(image.description["esp"]["root_hash"], root_hash);
    let offset = format!("--hash-offset={HASH_OFFSET}");
    let dump = run("veritysetup", &["dump", &offset, usr.as_str()]);
    for (name, field) in [("Data blocks", "data_blocks"), ("Hash algorithm", "algorithm"), ("Salt", "salt")] {
        let line = dump.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let ours = tree[field].as_str().map_or_else(|| tree[field].to_string(), str::to_owned);
        assert_eq!(line.map(str::trim), Some(ours.as_str()), "{name}: {dump}");
    }
    let verify = [["verify", offset.as_str()], [usr.as_str(), usr.as_str()]].concat();
    run("veritysetup", &[&verify[..], &[root_hash]].concat());
    let sound = loadgauge(&["image", "inspect", "--verify", image.disk.as_str()]);
    assert!(sound.status.success(), "{}", String::from_utf8_lossy(&sound.stderr));

    // A block that the description of the image does not need: a btrfs reserves its first 64 KiB.
    let block = if image.description["era"] == "torcx" { 16_u64 } else { 8 };
    let byte = block * 4096 + 100;
    let layer = image.scratch.join("layer");
    run(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image.disk.as_str(), layer.as_str()],
    );
    let before = inspect(&layer);
    let (other_file, other_hash) = (image.scratch.join("other_verity.txt"), "f".repeat(64));
    fs::write(&other_file, &other_hash).expect("written");
    let warning = format!(
        "`other_verity.txt` has the root hash {other_hash}, but the disk verifies /usr with {root_hash}"
    );
    assert_eq!(inspect(&layer)["warnings"], serde_json::json!([warning]));
    fs::remove_file(other_file).expect("removed");
    let place = image.partition("USR-A")["offset"].as_u64().expect("a number") + byte;
    run("qemu-io", &["-c", &format!("write -q -P 0xa5 {place} 1"), layer.as_str()]);
    let after = loadgauge(&["image", "inspect", "--verify", layer.as_str()]);
    let message = String::from_utf8_lossy(&after.stderr);
    assert_eq!(after.status.code(), Some(1), "{message}");
    assert!(message.contains(&format!("block {block} of /usr: it does not match its hash")), "{message}");
    run("qemu-io", &["-f", "raw", "-c", &format!("write -q -P 0xa5 {byte} 1"), usr.as_str()]);
    assert!(!host("veritysetup", &[&verify[..], &[root_hash]].concat()).status.success());

    // Everything but the digest is read from the backing file.
    assert_eq!(before["backing_files"], serde_json::json!([image.disk]));
    for fact in ["os_release", "era", "systemd", "partitions", "hash_tree", "esp", "extensions"] {
        assert_eq!(before[fact], image.description[fact], "{fact}");
    }
    assert_ne!(before["digest"], image.description["digest"]);
    Image::open(&layer, &Store::of_user().expect("a store"), &|_| ()).expect("a layer is an image");
}

/// The versions of Docker and containerd are those in the package lists of the image.
fn check_extensions(image: &InspectedImage) {
    let extensions = image.description["extensions"].as_array().expect("extensions");
    let names: Vec<&str> = extensions.iter().filter_map(|extension| extension["name"].as_str()).collect();
    assert!(names.contains(&"oem-qemu"), "{names:?}");
    if image.description["era"] == "torcx" {
        assert_eq!(names, ["oem-qemu"]);
        return;
    }
    for (package, known) in [("docker.io", "docker"), ("containerd", "containerd")] {
        let name = format!("{known}-flatcar");
        assert!(names.contains(&name.as_str()), "{names:?}");
        let list = image.directory.join(format!("rootfs-included-sysexts/{name}_packages.txt"));
        let list = fs::read_to_string(list).expect("read");
        let version = image.description[known].as_str().expect("a version");
        assert!(list.lines().any(|line| line.starts_with(&format!("{package}-{version}::"))), "{list}");
    }
}

#[test]
fn tools_of_the_host_agree_with_the_inspection_of_disks() {
    for release in RELEASES {
        let image = InspectedImage::new(release);
        assert_eq!(image.description["os_release"]["VERSION_ID"], release);
        assert_eq!(image.description["warnings"], serde_json::json!([]));
        assert_eq!(
            (&image.description["boots_bios"], &image.description["oem"]),
            (&true.into(), &"qemu".into())
        );
        assert_eq!(image.description["esp"]["loaders"], serde_json::json!(["amd64"]));
        let sum = run("sha256sum", &[image.disk.as_str()]);
        assert_eq!(sum.split(' ').next(), image.description["digest"].as_str());
        let key = image.directory.join("test-signing-key.asc");
        let verdict = loadgauge(&["image", "verify", "--key", key.as_str(), image.directory.as_str()]);
        let text = String::from_utf8_lossy(&verdict.stdout);
        assert!(
            verdict.status.success() && text.contains("ok     flatcar_production_qemu_image.img\n"),
            "{text}"
        );
        assert_eq!(inspect(Utf8Path::new(release)), image.description, "the image is found by its release");
        check_extensions(&image);
        check_table(&image);
        let usr = image.extract("USR-A");
        check_file_systems(&image, &usr);
        check_verity(&image, &usr);
    }
}
