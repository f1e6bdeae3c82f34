// SPDX-License-Identifier: Apache-2.0
//! The disks of the images that were made: whole, to the programs of the host that know their parts,
//! and what `image inspect` tells of them is what those programs tell. No guest is booted.
use std::fs;
use std::process::{Command, Output};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Store;
use loadgauge_images::Image;
use serde_json::Value;

/// The images that are looked at: `loadgauge image build --release ..`.
const RELEASES: [&str; 3] = ["3654.0.0", "4593.2.0", "4790.0.0"];
/// Where the hash tree of /usr begins in its partition, in bytes.
const TREE: &str = "1065345024";

/// A release's directory, what is known of it, and room to take its disk apart.
struct Bench {
    _scratch: tempfile::TempDir,
    scratch: Utf8PathBuf,
    directory: Utf8PathBuf,
    disk: Utf8PathBuf,
    known: Value,
}

impl Bench {
    fn new(release: &str) -> Self {
        let store = Store::of_user().expect("a store");
        let directory = store.root().join("releases").join(release);
        let directory = directory.canonicalize_utf8();
        let directory = directory.unwrap_or_else(|error| panic!("no image of {release} was made: {error}"));
        let scratch = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
        let known = inspect(&directory);
        let disk = directory.join("flatcar_production_qemu_image.img");
        Self { _scratch: scratch, scratch: path, directory, disk, known }
    }

    /// What is known of a partition.
    fn partition(&self, label: &str) -> &Value {
        let partitions = self.known["partitions"].as_array().expect("partitions");
        let found = partitions.iter().find(|partition| partition["label"] == label);
        found.unwrap_or_else(|| panic!("no partition {label}"))
    }

    /// A file with a part of the disk, taken out by QEMU.
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

/// What `image inspect` knows of an image.
fn inspect(image: &Utf8Path) -> Value {
    let output = loadgauge(&["image", "inspect", "--format", "json", image.as_str()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn loadgauge(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgauge")).args(arguments).output().expect("the binary runs")
}

/// A program of the host, which may be one for administrators.
fn host(program: &str, arguments: &[&str]) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("env");
    command.arg(format!("PATH={path}:/usr/sbin:/sbin")).arg("LC_ALL=C").arg(program).args(arguments);
    command.output().expect("env runs")
}

/// What a program of the host prints, which must succeed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = host(program, arguments);
    let words = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{program} {arguments:?}: {text}\n{words}");
    text.into_owned()
}

/// The partition table: sound by `sfdisk`, and the same to it as to us.
fn check_table(bench: &Bench) {
    let info: Value = serde_json::from_str(&run("qemu-img", &["info", "--output=json", bench.disk.as_str()]))
        .expect("JSON");
    assert_eq!(bench.known["size"], info["virtual-size"]);
    assert_eq!(bench.known["format"], info["format"]);
    let whole = bench.part("whole", 0, info["virtual-size"].as_u64().expect("a size"));
    let verdict = run("sfdisk", &["--verify", whole.as_str()]);
    assert!(verdict.contains("No errors detected"), "{verdict}");
    let table: Value = serde_json::from_str(&run("sfdisk", &["--json", whole.as_str()])).expect("JSON");
    let table = &table["partitiontable"];
    let lower = |value: &Value| value.as_str().expect("a text").to_ascii_lowercase();
    assert_eq!(bench.known["disk_guid"], lower(&table["id"]));
    let theirs = table["partitions"].as_array().expect("partitions");
    let ours = bench.known["partitions"].as_array().expect("partitions");
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!(lower(&theirs["node"]).ends_with(&format!("whole{}", ours["number"])), "{theirs}");
        assert_eq!(ours["label"], theirs["name"]);
        assert_eq!(ours["guid"], lower(&theirs["uuid"]));
        assert_eq!(ours["type_guid"], lower(&theirs["type"]));
        for (name, sectors) in [("offset", "start"), ("size", "size")] {
            assert_eq!(ours[name].as_u64(), theirs[sectors].as_u64().map(|count| count * 512), "{theirs}");
        }
        // Bit 48 is the lowest of the priority, bit 56 says that it was booted.
        let is_chosen = theirs["attrs"] == "GUID:48,56";
        let choice = &ours["choice"];
        assert_eq!(choice["priority"] == 1 && choice["successful"] == true, is_chosen, "{theirs}");
        assert_eq!(choice.is_null(), theirs["attrs"].is_null(), "{theirs}");
    }
    fs::remove_file(whole).expect("removed");
}

/// File systems: whole to their own programs.
fn check_file_systems(bench: &Bench, usr: &Utf8Path) {
    let esp = bench.extract("EFI-SYSTEM");
    run("fsck.vfat", &["-n", esp.as_str()]);
    let root = bench.extract("ROOT");
    run("e2fsck", &["-f", "-n", root.as_str()]);
    let oem = bench.extract("OEM");
    run("btrfs", &["check", "--readonly", oem.as_str()]);
    match bench.known["usr"].as_str() {
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

/// The hash tree: as `veritysetup` has it, and a changed byte is found by it and by us.
fn check_verity(bench: &Bench, usr: &Utf8Path) {
    let published = bench.directory.join("flatcar_production_image_verity.txt");
    let published = fs::read_to_string(published).expect("read");
    let root_hash = published.trim();
    let tree = &bench.known["hash_tree"];
    assert_eq!(tree["root_hash"], root_hash);
    assert_eq!(bench.known["esp"]["root_hash"], root_hash);
    let offset = format!("--hash-offset={TREE}");
    let dump = run("veritysetup", &["dump", &offset, usr.as_str()]);
    for (name, field) in [("Data blocks", "data_blocks"), ("Hash algorithm", "algorithm"), ("Salt", "salt")] {
        let line = dump.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let ours = tree[field].as_str().map_or_else(|| tree[field].to_string(), str::to_owned);
        assert_eq!(line.map(str::trim), Some(ours.as_str()), "{name}: {dump}");
    }
    let verify = [["verify", offset.as_str()], [usr.as_str(), usr.as_str()]].concat();
    run("veritysetup", &[&verify[..], &[root_hash]].concat());
    let sound = loadgauge(&["image", "inspect", "--verify", bench.disk.as_str()]);
    assert!(sound.status.success(), "{}", String::from_utf8_lossy(&sound.stderr));

    // In the first superblock of either file system's neighbourhood: a block that every boot reads.
    let (block, byte) = (16_u64, 16 * 4096 + 100_u64);
    let layer = bench.scratch.join("layer");
    run(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", bench.disk.as_str(), layer.as_str()],
    );
    let before = inspect(&layer);
    let (beside, other) = (bench.scratch.join("other_verity.txt"), "f".repeat(64));
    fs::write(&beside, &other).expect("written");
    let warning = format!("`other_verity.txt` says {other}, and the disk verifies /usr by {root_hash}");
    assert_eq!(inspect(&layer)["warnings"], serde_json::json!([warning]));
    fs::remove_file(beside).expect("removed");
    let place = bench.partition("USR-A")["offset"].as_u64().expect("a number") + byte;
    run("qemu-io", &["-c", &format!("write -q -P 0xa5 {place} 1"), layer.as_str()]);
    let after = loadgauge(&["image", "inspect", "--verify", layer.as_str()]);
    let words = String::from_utf8_lossy(&after.stderr);
    assert_eq!(after.status.code(), Some(1), "{words}");
    assert!(words.contains(&format!("block {block} of /usr: it is not what its hash says")), "{words}");
    run("qemu-io", &["-f", "raw", "-c", &format!("write -q -P 0xa5 {byte} 1"), usr.as_str()]);
    assert!(!host("veritysetup", &[&verify[..], &[root_hash]].concat()).status.success());

    // What is read through a layer is what lies below; its digest is its own.
    assert_eq!(before["builds_on"], serde_json::json!([bench.disk]));
    for fact in ["os_release", "era", "systemd", "partitions", "hash_tree", "esp", "extensions"] {
        assert_eq!(before[fact], bench.known[fact], "{fact}");
    }
    assert_ne!(before["digest"], bench.known["digest"]);
    Image::open(&layer, &Store::of_user().expect("a store"), &|_| ()).expect("a layer is an image");
}

/// What delivers Docker, as the lists beside the disk have it.
fn check_extensions(bench: &Bench) {
    let extensions = bench.known["extensions"].as_array().expect("extensions");
    let names: Vec<&str> = extensions.iter().filter_map(|extension| extension["name"].as_str()).collect();
    assert!(names.contains(&"oem-qemu"), "{names:?}");
    if bench.known["era"] == "torcx" {
        assert_eq!(names, ["oem-qemu"]);
        return;
    }
    for (package, known) in [("docker.io", "docker"), ("containerd", "containerd")] {
        let name = format!("{known}-flatcar");
        assert!(names.contains(&name.as_str()), "{names:?}");
        let list = bench.directory.join(format!("rootfs-included-sysexts/{name}_packages.txt"));
        let list = fs::read_to_string(list).expect("read");
        let version = bench.known[known].as_str().expect("a version");
        assert!(list.lines().any(|line| line.starts_with(&format!("{package}-{version}::"))), "{list}");
    }
}

#[test]
fn disks_are_whole_and_are_told_of_as_the_hosts_programs_do() {
    for release in RELEASES {
        let bench = Bench::new(release);
        assert_eq!(bench.known["os_release"]["VERSION_ID"], release);
        assert_eq!(bench.known["warnings"], serde_json::json!([]));
        assert_eq!((&bench.known["boots_bios"], &bench.known["oem"]), (&true.into(), &"qemu".into()));
        assert_eq!(bench.known["esp"]["loaders"], serde_json::json!(["amd64"]));
        let sum = run("sha256sum", &[bench.disk.as_str()]);
        assert_eq!(sum.split(' ').next(), bench.known["digest"].as_str());
        let verdict = loadgauge(&["image", "verify", bench.directory.as_str()]);
        let words = String::from_utf8_lossy(&verdict.stdout);
        assert!(
            verdict.status.success() && words.contains("ok     flatcar_production_qemu_image.img\n"),
            "{words}"
        );
        assert_eq!(inspect(Utf8Path::new(release)), bench.known, "a release is found by its name");
        check_extensions(&bench);
        check_table(&bench);
        let usr = bench.extract("USR-A");
        check_file_systems(&bench, &usr);
        check_verity(&bench, &usr);
    }
}
