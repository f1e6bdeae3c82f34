// SPDX-License-Identifier: Apache-2.0
//! Images opened by the contents of their disks: alone, in the directory of a release, compressed, and with
//! backing files. No guest is booted.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod disk;

use loadgauge_host::Hint as _;
use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;

use camino::Utf8PathBuf;
use loadgauge_host::Store;
use loadgauge_images::image::{DiskFormat, Era, ImageError};
use loadgauge_images::inspect::{Inspected, verify_usr};
use loadgauge_images::{Architecture, Image};
use proptest::prelude::*;

/// A directory of a release with a small disk, and a store.
struct Bench {
    _scratch: tempfile::TempDir,
    release: Utf8PathBuf,
    disk: Utf8PathBuf,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let bench = Self::empty();
        disk::make(&bench.disk, "4593.2.0");
        bench
    }

    /// Without the disk.
    fn empty() -> Self {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
        let release = root.join("release");
        fs::create_dir(&release).expect("made");
        let disk = release.join("flatcar_production_image.bin");
        Self { _scratch: scratch, release, disk, store: Store::at(root.join("store")) }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.release.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn inspect(&self) -> Inspected {
        Inspected::open(&self.release, &self.store, &|_| ()).expect("inspected")
    }

    fn open(&self) -> Result<Image, ImageError> {
        Image::open(&self.release, &self.store, &|_| ())
    }

    /// Changes what the store has of a disk that was looked into.
    fn change_what_is_kept(&self, from: &str, to: &str) {
        let entries = self.store.root().join("inspection").read_dir_utf8().expect("listed").flatten();
        let kept = entries.map(|entry| entry.path().join("inspection.json")).find(|path| path.is_file());
        let kept = kept.expect("an entry");
        let text = fs::read_to_string(&kept).expect("read");
        assert!(text.contains(from), "{text}");
        fs::write(kept, text.replace(from, to)).expect("written");
    }

    /// Puts a base beside the disk.
    fn base(&self, files: &[(&str, &str)]) {
        let tree = self.release.join("tree");
        for (path, text) in files {
            self.write(&format!("tree/{path}"), text);
        }
        let base = self.release.join("flatcar_production_image_sysext.squashfs");
        let _ = fs::remove_file(&base);
        disk::run("mksquashfs", &[tree.as_str(), base.as_str(), "-quiet", "-no-progress"]);
        fs::remove_dir_all(tree).expect("removed");
    }
}

#[test]
fn a_disk_alone_is_an_image() {
    let bench = Bench::new();
    let image = Image::open(&bench.disk, &bench.store, &|_| ()).expect("opened");
    assert_eq!((&image.disk, image.format), (&bench.disk, DiskFormat::Raw));
    let facts = &image.facts;
    assert_eq!((facts.architecture, facts.era, facts.systemd), (Architecture::Amd64, Era::Sysext, 257));
    assert_eq!(facts.os_release.get("VERSION_ID"), Some("4593.2.0"));
    assert_eq!(facts.vendor_extensions, ["containerd-flatcar", "docker-flatcar"]);
    assert_eq!((image.base.as_ref(), image.directory()), (None, bench.release.as_path()));
    assert_eq!(bench.open().expect("opened again"), image);
    // What was found is kept, and not looked for again.
    bench.change_what_is_kept("\"systemd\": 257", "\"systemd\": 999");
    assert_eq!(bench.open().expect("opened again").facts.systemd, 999);
    let file = OpenOptions::new().write(true).open(&bench.disk).expect("opened");
    file.write_all_at(b"x", (13 << 20) + 5).expect("written");
    let found = bench.inspect().inspection;
    assert_ne!(found.digest, image.digest, "a digest is of what the disk is now");
    assert_eq!(found.usr_b_is_empty, Some(false));
    assert!(verify_usr(&bench.disk).expect_err("no tree").to_string().contains("no hash tree"));
}

#[test]
fn release_files_are_compared_with_the_disk_and_add_to_it() {
    let bench = Bench::new();
    assert_eq!(bench.inspect().inspection.warnings, [] as [&str; 0]);
    assert_eq!((bench.inspect().inspection.docker, bench.inspect().inspection.containerd), (None, None));
    bench.write("version.txt", "FLATCAR_VERSION=4593.2.0\n");
    bench.write("rootfs-included-sysexts/docker-flatcar_packages.txt", "app-containers/docker-28.0.4::c\n");
    bench.write("flatcar_production_image_packages.txt", "app-containers/containerd-2.1.5::c\n");
    let found = bench.inspect().inspection;
    assert_eq!(found.warnings, [] as [&str; 0]);
    assert_eq!((found.docker.as_deref(), found.containerd.as_deref()), (Some("28.0.4"), Some("2.1.5")));
    bench.write("version.txt", "FLATCAR_VERSION=3654.0.0\n");
    let warning = "`version.txt` names the version 3654.0.0, but os-release on the disk 4593.2.0";
    assert_eq!(bench.inspect().inspection.warnings, [warning]);
    assert_eq!(bench.open().expect("a warning only").facts.era, Era::Sysext);
}

#[test]
fn a_base_must_belong_to_the_release_of_the_image() {
    let bench = Bench::new();
    let archive = r#"{"mirror":"http://m","suite":"trixie","components":["main"],"keyring":"/k"}"#;
    let dpkg = [("var/lib/dpkg/status", "Package: a\n"), ("usr/share/loadgauge/archive.json", archive)];
    let own = [("usr/lib/os-release", disk::os_release("4593.2.0"))];
    let own = own.each_ref().map(|(path, text)| (*path, text.as_str()));
    bench.base(&[&own[..], &dpkg[..]].concat());
    let base = bench.open().expect("opened").base.expect("a base");
    assert_eq!(fs::read_to_string(&base.dpkg_status).expect("read"), "Package: a\n");
    assert_eq!((base.archive.suite.as_str(), base.os_release.get("ID")), ("trixie", Some("flatcar")));
    let other = disk::os_release("4593.2.1");
    bench.base(&[&[("usr/lib/os-release", other.as_str())], &dpkg[..]].concat());
    let error = bench.open().expect_err("another release");
    let message = error.to_string();
    assert!(
        message.contains("4593.2.1") && message.contains("4593.2.0") && error.hint().is_some(),
        "{message}"
    );
}

#[test]
fn a_packed_disk_is_unpacked_once_and_its_release_stays_where_it_is() {
    let bench = Bench::new();
    bench.write("version.txt", "FLATCAR_VERSION=1.2.3\n");
    disk::run("bzip2", &[bench.disk.as_str()]);
    let told = RefCell::new(Vec::new());
    let open = || Image::open(&bench.release, &bench.store, &|text| told.borrow_mut().push(text.to_owned()));
    let image = open().expect("opened");
    assert!(told.borrow().iter().any(|text| text.contains("100 %")), "{told:?}");
    assert_eq!(image.directory(), bench.release);
    assert!(image.disk.starts_with(bench.store.root()), "{}", image.disk);
    assert_eq!(bench.inspect().inspection.warnings.len(), 1, "version.txt is next to the compressed disk");
    told.borrow_mut().clear();
    assert_eq!(open().expect("opened"), image);
    assert!(told.borrow().is_empty(), "{told:?}");
}

#[test]
fn a_layer_is_read_through_and_has_a_digest_of_all_that_it_shows() {
    let bench = Bench::new();
    let layer = bench.release.join("layer.qcow2");
    let options =
        ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", bench.disk.as_str(), layer.as_str(), "20M"];
    disk::run("qemu-img", &options);
    let open = || Inspected::open(&layer, &bench.store, &|_| ()).expect("opened");
    let (below, first) = (bench.inspect().inspection, open());
    assert_eq!(first.backing_files, [bench.disk.as_path()]);
    assert_eq!(first.inspection.facts(), below.facts());
    assert_eq!((first.inspection.format, first.inspection.size), (DiskFormat::Qcow2, 20 << 20));
    assert_ne!(first.inspection.digest, below.digest);
    // What is changed below shows through, and is another disk then.
    let file = OpenOptions::new().write(true).open(&bench.disk).expect("opened");
    file.write_all_at(b"x", (13 << 20) + 5).expect("written");
    let second = open();
    assert_ne!(second.inspection.digest, first.inspection.digest);
    assert_eq!(second.inspection.usr_b_is_empty, Some(false));
    // A layer hides what it has itself.
    disk::run("qemu-io", &["-c", "write -q -z 13M 1M", layer.as_str()]);
    assert_eq!(open().inspection.usr_b_is_empty, Some(true));
}

#[test]
fn an_error_about_a_path_that_is_not_an_image_has_a_hint() {
    let bench = Bench::new();
    fs::remove_file(&bench.disk).expect("removed");
    let open = |path: &Utf8PathBuf| {
        let error = Image::open(path, &bench.store, &|_| ()).expect_err("no image");
        assert!(error.hint().is_some(), "{error}");
        error.to_string()
    };
    assert!(open(&bench.release).contains("contains no disk image of a release"));
    assert!(open(&bench.disk).starts_with("cannot examine"));
    fs::write(&bench.disk, [0; 9000]).expect("written");
    assert!(open(&bench.disk).contains("partition table"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]
    /// The bytes of a disk are anybody's, and what is wrong with them ends in an error that says where.
    #[test]
    fn damaged_disks_are_images_or_errors_and_leave_nothing_half_made(
        changes in prop::collection::vec((0_usize..16 << 20, any::<u8>()), 1..40),
        start in prop::collection::vec((0_usize..8192, any::<u8>()), 0..3),
        end in prop::option::of(0_u64..16 << 20),
    ) {
        static DISK: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let whole = DISK.get_or_init(|| fs::read(Bench::new().disk).expect("read"));
        let bench = Bench::empty();
        let mut bytes = whole.clone();
        for (at, byte) in changes.into_iter().chain(start) {
            bytes[at] = byte;
        }
        fs::write(&bench.disk, bytes).expect("written");
        if let Some(end) = end {
            OpenOptions::new().write(true).open(&bench.disk).and_then(|file| file.set_len(end)).expect("cut");
        }
        match bench.open() {
            Ok(image) => prop_assert_eq!(&image.disk, &bench.disk),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
        for kind in bench.store.root().read_dir_utf8().into_iter().flatten().flatten() {
            for entry in kind.path().read_dir_utf8().expect("listed").flatten() {
                prop_assert!(!entry.file_name().contains("making"), "{}", entry.path());
            }
        }
    }
}
