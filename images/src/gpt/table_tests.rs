// SPDX-License-Identifier: Apache-2.0
//! What `sfdisk` writes is read back, and errors name the damaged part.
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use proptest::prelude::*;

use super::*;
use crate::gpt::{NewPartition, TAIL, find_root, table_bytes};

const SCRIPT: &str = "label: gpt\nlabel-id: 00000000-0000-0000-0000-000000000001\nunit: sectors\n\
    1 : start=4096, size=4096, type=c12a7328-f81f-11d2-ba4b-00a0c93ec93b, name=\"EFI-SYSTEM\"\n\
    3 : start=8192, size=4096, type=5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6, \
    uuid=7130c94a-213a-4e5a-8e26-6cce9662f132, name=\"USR-A\", attrs=\"GUID:48,56\"\n\
    9 : start=12288, size=2048, type=3884dd41-8582-4404-b9a8-e9b84f2df50e, name=\"ROOT\"\n";

fn disk(directory: &Utf8Path) -> Utf8PathBuf {
    let path = directory.join("disk");
    File::create(&path).and_then(|file| file.set_len(8 << 20)).expect("created");
    let mut command = Command::new("/usr/sbin/sfdisk");
    command.args(["--quiet", "--no-reread", "--no-tell-kernel", path.as_str()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("sfdisk runs");
    child.stdin.take().expect("piped").write_all(SCRIPT.as_bytes()).expect("written");
    assert!(child.wait().expect("waited").success());
    path
}

fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
    let scratch = tempfile::tempdir().expect("a directory");
    let path = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
    (scratch, path)
}

#[test]
fn a_table_is_read_as_sfdisk_wrote_it() {
    let (_scratch, directory) = scratch();
    let table = Table::read(&Disk::open(&disk(&directory)).expect("opened")).expect("a table");
    assert_eq!(table.disk_guid, Uuid::from_u128(1));
    let numbers: Vec<u32> = table.partitions.iter().map(|partition| partition.number).collect();
    assert_eq!(numbers, [1, 3, 9]);
    let usr = table.labelled("USR-A").expect("there");
    assert_eq!((usr.offset, usr.size), (8192 * 512, 4096 * 512));
    assert_eq!(usr.guid.to_string(), "7130c94a-213a-4e5a-8e26-6cce9662f132");
    assert_eq!(usr.type_name.as_deref(), Some("flatcar-rootfs"));
    assert_eq!(usr.choice, Some(Choice { priority: 1, tries: 0, successful: true }));
    assert_eq!(table.labelled("ROOT").expect("there").choice, None);
    assert_eq!(table.of_type("efi").expect("there").number, 1);
}

#[test]
fn errors_name_the_damaged_part() {
    let (_scratch, directory) = scratch();
    let path = disk(&directory);
    let file = OpenOptions::new().write(true).open(&path).expect("opened");
    let read = || Table::read(&Disk::open(&path).expect("opened")).expect_err("damaged").to_string();
    file.write_all_at(b"x", 1024 + 60).expect("written");
    assert!(read().ends_with("partition table: the checksum of its entries is wrong"), "{}", read());
    file.write_all_at(b"x", 512 + 60).expect("written");
    assert!(read().ends_with("partition table: the checksum of its header is wrong"), "{}", read());
    file.set_len(700).expect("cut");
    assert!(read().contains("a disk of 700 bytes is too small for one"), "{}", read());
}

#[test]
fn a_table_that_is_too_large_is_refused() {
    let mut header = vec![0; 512];
    header[..8].copy_from_slice(MAGIC);
    header[12] = 92;
    for (count, size, is_valid) in
        [(128_u32, 128_u32, true), (8192, 128, true), (8193, 128, false), (128, 96, false)]
    {
        header[80..84].copy_from_slice(&count.to_le_bytes());
        header[84..88].copy_from_slice(&size.to_le_bytes());
        header[16..20].fill(0);
        let sum = crc32fast::hash(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        let expected = format!("{count} entries of {size} bytes are invalid");
        assert_eq!(check_header(&header).err(), (!is_valid).then_some(expected));
    }
}

#[test]
fn partitions_outside_of_the_disk_or_over_each_other_are_refused() {
    let mut entry = [1_u8; 128];
    entry[32..48].copy_from_slice(&[[0_u8; 8], [0xff; 8]].concat());
    assert!(partition(1, &entry, 1 << 20).is_err());
    entry[32..48].copy_from_slice(&[9_u64.to_le_bytes(), 8_u64.to_le_bytes()].concat());
    assert!(partition(1, &entry, 1 << 20).expect_err("backwards").contains("sectors 9 to 8"));
    entry[32..48].copy_from_slice(&[8_u64.to_le_bytes(), 9_u64.to_le_bytes()].concat());
    let one = partition(1, &entry, 1 << 20).expect("on the disk");
    let other = Partition { number: 2, offset: one.offset + 512, ..one.clone() };
    assert_eq!(check_overlaps(&[other, one]), Err("the partitions 1 and 2 overlap".to_owned()));
}

#[test]
fn the_partition_of_an_extension_is_a_root_or_else_usr() {
    let (_scratch, directory) = scratch();
    let path = directory.join("extension");
    let partition = |number, kind: &str, first| NewPartition {
        kind: kind.parse().expect("a GUID"),
        identifier: Uuid::from_u128(number),
        label: "",
        first,
        sectors: 8,
    };
    let usr = partition(1, "8484680c-9521-48c6-9c11-b0720656f69e", 2048);
    let root = partition(2, "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", 2056);
    let signature = partition(3, "41092b05-9fc8-4523-994f-2def0408b176", 2064);
    let found = |partitions: &[NewPartition]| {
        let (head, tail) = table_bytes(Uuid::from_u128(9), 4096, partitions);
        let file = File::create(&path).expect("created");
        file.set_len(4096 * 512).expect("sized");
        file.write_all_at(&head, 0).expect("written");
        file.write_all_at(&tail, (4096 - TAIL) * 512).expect("written");
        let table = Table::read(&Disk::open(&path).expect("opened")).expect("a table");
        find_root(&table).map(|root| (root.partition.number, root.below, root.is_signed))
    };
    assert_eq!(found(&[usr.clone(), root.clone()]), Some((2, "", false)));
    assert_eq!(found(&[usr.clone(), root, signature.clone()]), Some((2, "", true)));
    assert_eq!(found(&[usr, signature.clone()]), Some((1, "usr", false)));
    assert_eq!(found(&[signature]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn foreign_headers_never_panic(
        mut header in prop::collection::vec(any::<u8>(), 512),
        length in prop::option::of(92_u32..600),
        entry in prop::collection::vec(any::<u8>(), 128),
    ) {
        header[..8].copy_from_slice(b"EFI PART");
        if let Some(length) = length {
            header[12..16].copy_from_slice(&length.to_le_bytes());
            header[16..20].fill(0);
            let sum = crc32fast::hash(&header[..usize::try_from(length).unwrap_or(0).min(512)]);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
        }
        let _ = check_header(&header);
        let _ = partition(1, &entry, 1 << 30);
        let (_scratch, directory) = scratch();
        let path = directory.join("disk");
        let mut bytes = vec![0; 64 << 10];
        bytes[512..1024].copy_from_slice(&header);
        fs::write(&path, bytes).expect("written");
        let _ = Table::read(&Disk::open(&path).expect("opened"));
    }
}
