// SPDX-License-Identifier: Apache-2.0
//! Extracts images of the host's packers, and checks that hostile images write nothing outside.
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use camino::Utf8PathBuf;

use super::*;
use crate::file_system::{FileOwner, FilePattern};

const WANTED: [FilePattern; 4] = [
    FilePattern::file("lib", "os-release"),
    FilePattern::between("lib/systemd", "libsystemd-shared-", ".so"),
    FilePattern::between("share/flatcar/sysext", "", ".raw"),
    FilePattern::file("", "top"),
];

/// Commands that pack a tree `T` as an image `I` and store names uncompressed.
const PACKERS: [(FileSystem, &str); 6] = [
    (
        FileSystem::Btrfs,
        "rm -f I; truncate -s 48M I && mkfs.btrfs -q -M -m single -d single --rootdir T I 2>/dev/null",
    ),
    (FileSystem::Ext, "rm -f I; truncate -s 20M I && mke2fs -q -F -t ext2 -b 1024 -d T I"),
    (
        FileSystem::Ext,
        "rm -f I; truncate -s 20M I && mke2fs -q -F -t ext4 -O ^metadata_csum,inline_data -d T I",
    ),
    (FileSystem::Ext, "rm -f I; truncate -s 20M I && mke2fs -q -F -t ext4 -O ^metadata_csum -d T I"),
    (FileSystem::Squashfs, "mksquashfs T I -quiet -no-progress -noappend -noI >/dev/null"),
    (FileSystem::Erofs, "rm -f I; mkfs.erofs --quiet I T"),
];

/// The size of a node in the btrfs images, in bytes.
const NODE: usize = 4096;

struct Scratch {
    _scratch: tempfile::TempDir,
    root: Utf8PathBuf,
}

impl Scratch {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(scratch.path().canonicalize().expect("there")).expect("UTF-8");
        Self { _scratch: scratch, root }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.root.join(name)
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, content).expect("written");
    }

    /// Packs the directory `tree`.
    fn pack(&self, line: &str) -> Utf8PathBuf {
        let image = self.path("image");
        let line = line.replace(" I", &format!(" {image}")).replace(" T", &format!(" {}", self.path("tree")));
        host(&line);
        image
    }

    /// Extracts the image into an empty directory.
    fn extract(&self, kind: FileSystem, selection: Selection<'_>) -> Result<Tree, FileSystemError> {
        let target = self.path("target");
        let _ = fs::remove_dir_all(&target);
        kind.extract(&self.path("image"), &target, selection).map(|(tree, _)| tree)
    }
}

fn host(line: &str) {
    let line = format!("PATH=$PATH:/usr/sbin:/sbin; {line}");
    // In a user namespace all files belong to root, like those of an extension.
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let output = command.args(["sh", "-c", &line]).output().expect("unshare runs");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn selected_files_come_out_of_every_file_system() {
    let scratch = Scratch::new();
    for (path, content) in [
        ("lib/os-release", "ID=flatcar\n"),
        ("lib/other", "no\n"),
        ("lib/systemd/libsystemd-shared-257.so", "yes\n"),
        ("lib/systemd/libsystemd-core-257.so", "no\n"),
        ("share/flatcar/sysext/a.raw", "a\n"),
        ("share/flatcar/sysext/b b.raw", "b\n"),
        ("top", "top\n"),
    ] {
        scratch.write(&format!("tree/{path}"), content.as_bytes());
    }
    let extensions = scratch.path("tree/share/flatcar/sysext");
    std::os::unix::fs::symlink("/etc/passwd", extensions.join("link.raw")).expect("linked");
    fs::create_dir(extensions.join("directory.raw")).expect("created");
    host(&format!("mkfifo {extensions}/pipe.raw"));
    for (kind, line) in PACKERS {
        let image = scratch.pack(line);
        let file = fs::File::open(&image).expect("opened");
        assert_eq!(FileSystem::identify(&file), Some(kind));
        let tree = scratch.extract(kind, Selection::Files(&WANTED)).expect(line);
        assert_eq!(tree.text("lib/os-release").expect("read").as_deref(), Some("ID=flatcar\n"), "{kind}");
        assert_eq!(tree.names(WANTED[1]), ["libsystemd-shared-257.so"], "{kind}");
        assert_eq!(tree.text("share/flatcar/sysext/b b.raw").expect("read").as_deref(), Some("b\n"));
        assert_eq!(tree.text("share/flatcar/sysext/link.raw").expect("nothing"), None, "{kind}");
        assert_eq!(tree.names(WANTED[2]), ["a.raw", "b b.raw"], "{kind}");
        assert_eq!(tree.text("top").expect("read").as_deref(), Some("top\n"), "{kind}");
        if kind != FileSystem::Erofs {
            assert!(tree.find("lib/other").is_none(), "{kind}");
        }
    }
}

/// Creates every kind of file, with sizes on both sides of the formats' limits.
fn whole_tree(scratch: &Scratch) {
    let noise: Vec<u8> =
        (0..3_000_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    scratch.write("tree/usr/large", &noise);
    let holes = [vec![0; 5_000_000], b"end".to_vec()].concat();
    scratch.write("tree/usr/holes", &holes);
    host(&format!("fallocate -d {}", scratch.path("tree/usr/holes")));
    for number in 0..600 {
        scratch
            .write(&format!("tree/usr/many/a name of some length {number}"), number.to_string().as_bytes());
    }
    scratch.write("tree/usr/empty", b"");
    scratch.write("tree/usr/set-id", b"x");
    let at = |path: &str| scratch.path("tree/usr").join(path);
    fs::set_permissions(at("set-id"), fs::Permissions::from_mode(0o4755)).expect("set");
    fs::set_permissions(at("many"), fs::Permissions::from_mode(0o700)).expect("set");
    fs::hard_link(at("set-id"), at("many/hard")).expect("linked");
    for (target, link) in
        [("/etc/passwd", "absolute"), ("..", "up"), (&*"l/".repeat(40), "long"), ("absolute", "usr")]
    {
        std::os::unix::fs::symlink(target, at(link)).expect("linked");
    }
    fs::write(at("line\nbreak \"quoted\""), "odd").expect("written");
}

/// Returns the paths, modes and contents of a tree, and the targets of its links.
fn describe(root: &Utf8Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let entry = entry.expect("read");
        let metadata = entry.path().symlink_metadata().expect("there");
        let content = match metadata.file_type() {
            kind if kind.is_file() => fs::read(entry.path()).expect("read"),
            kind if kind.is_symlink() => {
                fs::read_link(entry.path()).expect("read").into_os_string().into_encoded_bytes()
            }
            _ => Vec::new(),
        };
        let path = entry.path().strip_prefix(root).expect("below").to_string_lossy().into_owned();
        if !path.starts_with("lost+found") {
            found.push((path, metadata.mode(), content));
        }
    }
    found
}

#[test]
fn a_whole_tree_comes_out_of_every_file_system_as_it_went_in() {
    let scratch = Scratch::new();
    whole_tree(&scratch);
    let expected = describe(&scratch.path("tree"));
    for (kind, line) in PACKERS {
        scratch.pack(line);
        let tree = match scratch.extract(kind, Selection::All) {
            Ok(tree) => tree,
            // The listing of a btrfs is ambiguous.
            Err(error) if kind == FileSystem::Btrfs => {
                assert!(error.to_string().contains("line break"), "{error}");
                let odd = scratch.path("tree/usr/line\nbreak \"quoted\"");
                fs::remove_file(&odd).expect("removed");
                scratch.pack(line);
                let tree = scratch.extract(kind, Selection::All).expect(line);
                fs::write(odd, "odd").expect("written");
                assert_eq!(describe(tree.root()).len() + 1, expected.len());
                continue;
            }
            Err(error) => panic!("{line}: {error:?}"),
        };
        let found = describe(tree.root());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                found == expected,
                "{line}: {} {:o}, expected {} {:o}",
                found.0,
                found.1,
                expected.0,
                expected.1
            );
        }
        assert_eq!(found.len(), expected.len(), "{line}");
        let inode = |path: &str| fs::metadata(tree.root().join(path)).expect("there").ino();
        // The programs for the other formats extract a separate file for each name.
        if matches!(kind, FileSystem::Ext | FileSystem::Squashfs) {
            assert_eq!(inode("usr/set-id"), inode("usr/many/hard"), "{line}");
        }
    }
}

/// Returns the CRC-32C that btrfs uses (RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg()))
    })
}

/// Replaces a name in an image with another of the same length, and repairs the checksums of btrfs.
fn rename(image: &Utf8Path, kind: FileSystem, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(image).expect("read");
    let mut found = 0;
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, from).collect();
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        if kind == FileSystem::Btrfs {
            let node = at / NODE * NODE;
            let sum = crc32c(&bytes[node + 32..node + NODE]);
            bytes[node..node + 4].copy_from_slice(&sum.to_le_bytes());
        }
        found += 1;
    }
    assert!(found > 0, "{kind}: the name is not stored as it is");
    fs::write(image, bytes).expect("written");
}

/// Returns a placeholder name of a length.
fn placeholder(length: usize) -> String {
    "A".repeat(length)
}

#[test]
fn a_name_that_leads_out_writes_nothing_and_is_refused() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("outside")).expect("created");
    let outside = scratch.path("outside/file");
    fs::write(scratch.path("outside/kept"), "kept").expect("written");
    for name in [
        format!("{}{}", "../".repeat(12), &outside.as_str()[1..]),
        outside.to_string(),
        format!("{}{}", "../".repeat(12), &scratch.path("outside/kept").as_str()[1..]),
        "..".to_owned(),
    ] {
        let _ = fs::remove_dir_all(scratch.path("tree"));
        let hostile = placeholder(name.len());
        scratch.write(&format!("tree/lib/{hostile}"), b"owned");
        scratch.write("tree/lib/os-release", b"ID=flatcar\n");
        for (kind, line) in PACKERS {
            rename(&scratch.pack(line), kind, &hostile, &name);
            for selection in [Selection::All, Selection::Files(&WANTED)] {
                let result = scratch.extract(kind, selection);
                let names: Vec<_> = scratch.path("outside").read_dir_utf8().expect("listed").collect();
                assert_eq!(names.len(), 1, "{line} {name}");
                assert_eq!(fs::read(scratch.path("outside/kept")).expect("read"), b"kept", "{line} {name}");
                match (kind, selection) {
                    // btrfs-restore extracts the selected files only.
                    (FileSystem::Btrfs, Selection::Files(_)) => {}
                    _ => drop(result.map(|_| ()).expect_err(&format!("{line} {name}"))),
                }
            }
        }
    }
}

#[test]
fn a_link_and_a_directory_of_one_name_write_nothing_and_are_refused() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("outside")).expect("created");
    scratch.write("tree/lib/name-B/os-release", b"owned");
    std::os::unix::fs::symlink(scratch.path("outside"), scratch.path("tree/lib/name-A")).expect("linked");
    let wanted = [FilePattern::file("lib/name-A", "os-release")];
    for (kind, line) in PACKERS {
        rename(&scratch.pack(line), kind, "name-B", "name-A");
        for selection in [Selection::All, Selection::Files(&wanted)] {
            let result = scratch.extract(kind, selection);
            assert_eq!(scratch.path("outside").read_dir_utf8().expect("listed").count(), 0, "{line}");
            if (kind, matches!(selection, Selection::All)) != (FileSystem::Btrfs, false) {
                result.map(|_| ()).expect_err(line);
            }
        }
    }
}

#[test]
fn owners_are_read_from_every_file_system() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give files to others");
        return;
    }
    let scratch = Scratch::new();
    scratch.write("tree/usr/bin/mandb", b"x");
    scratch.write("tree/usr/bin/root", b"x");
    scratch.write("tree/usr/lib/large/data", b"x");
    let tree = scratch.path("tree");
    host(&format!("chown 6:12 {tree}/usr/bin/mandb && chown 0:100000 {tree}/usr/lib/large"));
    let owner = |path: &str, uid, gid| FileOwner { path: path.into(), uid, gid };
    for (kind, line) in PACKERS {
        let image = scratch.pack(line);
        let owners = kind.owners(&image).expect(line);
        assert_eq!(owners, [owner("usr/bin/mandb", 6, 12), owner("usr/lib/large", 0, 100_000)], "{line}");
    }
}

#[test]
fn devices_are_refused_and_other_special_files_are_not_opened() {
    let scratch = Scratch::new();
    scratch.write("tree/usr/file", b"x");
    host(&format!("mkfifo {}", scratch.path("tree/usr/pipe")));
    for (kind, line) in PACKERS {
        scratch.pack(line);
        let tree = scratch.extract(kind, Selection::All).expect(line);
        let pipe = tree.root().join("usr/pipe");
        assert!(pipe.symlink_metadata().is_ok(), "{line}");
    }
    if !rustix::process::geteuid().is_root() {
        return;
    }
    host(&format!("mknod {} b 8 0", scratch.path("tree/usr/disk")));
    for (kind, line) in PACKERS {
        scratch.pack(line);
        let error = scratch.extract(kind, Selection::All).expect_err(line);
        assert!(error.is_hostile() && error.to_string() == "`/usr/disk` is a device", "{line}: {error}");
    }
    fs::remove_file(scratch.path("tree/usr/disk")).expect("removed");
    host(&format!("mknod {} c 1 3", scratch.path("tree/usr/null")));
    for (kind, line) in PACKERS {
        scratch.pack(line);
        let result = scratch.extract(kind, Selection::All);
        if kind == FileSystem::Btrfs {
            // mkfs.btrfs drops the number of the device, which makes it a whiteout.
            let null = result.expect(line).root().join("usr/null").symlink_metadata().expect("there");
            assert_eq!(null.rdev(), 0);
        } else {
            let error = result.expect_err(line);
            assert!(error.is_hostile() && error.to_string() == "`/usr/null` is a device", "{line}: {error}");
        }
    }
}

#[test]
fn a_directory_inside_itself_is_refused() {
    let scratch = Scratch::new();
    scratch.write("tree/usr/a/file", b"x");
    let image = scratch.pack(PACKERS[3].1);
    host(&format!("debugfs -w -R 'link /usr /usr/a/loop' {image} 2>/dev/null"));
    let error = scratch.extract(FileSystem::Ext, Selection::All).expect_err("a loop");
    assert!(matches!(&error, FileSystemError::Loop(path) if path == "usr/a/loop"), "{error}");
}

#[test]
fn bytes_that_are_no_file_system_are_refused() {
    let scratch = Scratch::new();
    scratch.write("image", &vec![7; 200_000]);
    let file = fs::File::open(scratch.path("image")).expect("opened");
    assert_eq!(FileSystem::identify(&file), None);
    for kind in [FileSystem::Btrfs, FileSystem::Ext, FileSystem::Squashfs, FileSystem::Erofs] {
        for selection in [Selection::All, Selection::Files(&WANTED)] {
            assert!(scratch.extract(kind, selection).is_err(), "{kind}");
        }
    }
}
