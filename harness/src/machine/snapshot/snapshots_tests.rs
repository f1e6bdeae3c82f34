// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs::File;
use std::time::SystemTime;

use super::*;
use crate::machine::qemu::capabilities::SnapshotMode;
use crate::machine::snapshot::snapshot::host_boot;

const MIB: u64 = 1 << 20;

fn store(limit: u64) -> (tempfile::TempDir, Snapshots) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
    (directory, Snapshots::in_store(&Store::at(path), limit))
}

fn snapshot() -> Snapshot {
    Snapshot {
        key: BTreeMap::new(),
        image: "Flatcar".to_owned(),
        memory_mib: 512,
        machine_type: "pc-q35-10.0".to_owned(),
        mode: SnapshotMode::Shared,
        nonce: "ab".to_owned(),
        boot_id: "1-2".to_owned(),
        state: "running".to_owned(),
        boot_ms: 20_000,
        made: 1,
        host_boot: host_boot(),
        parts: BTreeMap::new(),
    }
}

fn vacancy(snapshots: &Snapshots, key: &str) -> SnapshotVacancy {
    match snapshots.take(key).expect("a store") {
        SnapshotLookup::Vacant(vacancy) => vacancy,
        other => panic!("{other:?}"),
    }
}

/// Makes a snapshot of 1 MiB that was last used `ago` seconds ago.
fn make(snapshots: &Snapshots, key: &str, ago: u64) -> Arc<SnapshotInUse> {
    let vacancy = vacancy(snapshots, key);
    fs::write(vacancy.files().memory(), vec![1; 1 << 20]).expect("written");
    let held = vacancy.commit(snapshot()).expect("committed");
    let used = SystemTime::now() - Duration::from_secs(ago);
    let lock = held.files.directory().with_file_name(format!(".{key}.lock"));
    File::options().append(true).open(lock).and_then(|file| file.set_modified(used)).expect("touched");
    held
}

fn keys(snapshots: &Snapshots) -> Vec<String> {
    snapshots.list().expect("listed").into_iter().map(|entry| entry.key).collect()
}

#[test]
fn one_caller_makes_a_snapshot_and_the_others_share_it() {
    let (_directory, snapshots) = store(u64::MAX);
    let first = vacancy(&snapshots, "aa");
    assert!(matches!(snapshots.take("aa"), Ok(SnapshotLookup::Busy)), "it is being made");
    assert!(matches!(snapshots.take("bb"), Ok(SnapshotLookup::Vacant(_))), "another key is independent");
    let held = first.commit(snapshot()).expect("committed");
    let Ok(SnapshotLookup::Ready(again)) = snapshots.take("aa") else { panic!("not shared") };
    assert_eq!(again.snapshot, held.snapshot);
    assert!(snapshots.has("aa") && !snapshots.has("bb"));
}

#[test]
fn an_incomplete_snapshot_is_not_used_and_is_removed() {
    let (_directory, snapshots) = store(u64::MAX);
    let incomplete = vacancy(&snapshots, "aa");
    fs::write(incomplete.files().memory(), "incomplete").expect("written");
    // A killed process leaves the directory without a lock.
    let left = incomplete.files().directory().with_file_name(".aa.making-killed");
    drop(incomplete);
    fs::create_dir(&left).expect("created");
    assert!(keys(&snapshots).is_empty() && !snapshots.has("aa"));
    drop(vacancy(&snapshots, "aa"));
    assert!(!left.exists(), "removed by the next process that makes it");
    fs::create_dir(&left).expect("created");
    snapshots.trim().expect("trimmed");
    assert!(!left.exists(), "removed by trimming");
}

#[test]
fn a_snapshot_without_a_description_is_unusable() {
    let (_directory, snapshots) = store(u64::MAX);
    let held = make(&snapshots, "aa", 0);
    let files = held.files.clone();
    drop(held);
    fs::write(files.description(), "{").expect("written");
    assert!(!snapshots.has("aa"));
    assert!(snapshots.list().expect("listed")[0].snapshot.is_none());
    let Ok(SnapshotLookup::Damaged(damage)) = snapshots.take("aa") else { panic!("it was used") };
    assert!(damage.to_string().starts_with("`snapshot.json` cannot be read: "), "{damage}");
    assert!(!files.memory().exists(), "it was removed");
    drop(vacancy(&snapshots, "aa"));
}

#[test]
fn a_snapshot_whose_parts_are_missing_cut_or_changed_is_refused_and_removed() {
    type Change = fn(&SnapshotFiles);
    let (_directory, snapshots) = store(u64::MAX);
    let changes: [(&str, Change); 3] = [
        ("`memory` is missing", |files| fs::remove_file(files.memory()).expect("removed")),
        ("`memory` has 9 bytes instead of 1048576", |files| {
            File::options().write(true).open(files.memory()).and_then(|file| file.set_len(9)).expect("cut");
        }),
        ("the contents of `memory` have changed", |files| {
            fs::write(files.memory(), vec![2; 1 << 20]).expect("written");
        }),
    ];
    for (expected, change) in changes {
        let files = make(&snapshots, "aa", 0).files.clone();
        assert!(matches!(snapshots.take("aa"), Ok(SnapshotLookup::Ready(_))), "it is complete");
        change(&files);
        let Ok(SnapshotLookup::Damaged(damage)) = snapshots.take("aa") else { panic!("it was used") };
        assert_eq!(damage.to_string(), expected);
        assert!(!files.directory().exists(), "it was removed");
    }
}

#[test]
fn a_damaged_snapshot_that_others_use_is_refused_and_stays() {
    let (_directory, snapshots) = store(u64::MAX);
    let held = make(&snapshots, "aa", 0);
    fs::remove_file(held.files.memory()).expect("removed");
    assert!(matches!(snapshots.take("aa"), Ok(SnapshotLookup::Damaged(_))), "nobody waits for its users");
    assert!(held.files.directory().exists());
}

#[test]
fn a_snapshot_that_a_crash_may_have_damaged_is_unusable() {
    let (_directory, snapshots) = store(u64::MAX);
    let vacancy = vacancy(&snapshots, "aa");
    let held = vacancy.commit(Snapshot { host_boot: "another".to_owned(), ..snapshot() });
    let files = held.expect("committed").files.clone();
    let begun = std::time::Instant::now();
    while !files.durable().exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is not flushed");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(snapshots.has("aa"), "every file is on the disk");
    fs::remove_file(files.durable()).expect("removed");
    assert!(!snapshots.has("aa"));
}

#[test]
fn the_least_recently_used_is_removed_first_and_one_in_use_is_not() {
    let (_directory, snapshots) = store(2 * MIB + MIB / 2);
    let oldest = make(&snapshots, "aa", 300);
    drop(make(&snapshots, "bb", 200));
    drop(make(&snapshots, "cc", 100));
    drop(make(&snapshots, "dd", 0));
    assert_eq!(keys(&snapshots), ["dd", "cc", "bb", "aa"]);
    let removed: Vec<String> =
        snapshots.trim().expect("trimmed").into_iter().map(|entry| entry.key).collect();
    assert_eq!(removed, ["bb", "cc"], "the oldest is in use");
    assert!(oldest.files.memory().exists());
    let listed = snapshots.list().expect("listed");
    assert_eq!(listed.iter().map(|entry| entry.in_use).collect::<Vec<_>>(), [false, true]);
    assert!(listed[0].size >= MIB && listed[0].size < 2 * MIB, "{}", listed[0].size);
    drop(oldest);
    let none = Snapshots { limit: 0, ..snapshots };
    assert_eq!(none.trim().expect("trimmed").len(), 2);
    assert!(keys(&none).is_empty());
}

#[test]
fn using_a_snapshot_makes_it_the_last_to_be_removed() {
    let (_directory, snapshots) = store(u64::MAX);
    drop(make(&snapshots, "aa", 300));
    drop(make(&snapshots, "bb", 200));
    assert!(matches!(snapshots.take("aa"), Ok(SnapshotLookup::Ready(_))));
    assert_eq!(keys(&snapshots), ["aa", "bb"]);
}

#[test]
fn an_unusable_snapshot_is_discarded_unless_others_use_it() {
    let (_directory, snapshots) = store(u64::MAX);
    let held = make(&snapshots, "aa", 0);
    snapshots.discard("aa");
    assert!(snapshots.has("aa"));
    drop(held);
    snapshots.discard("aa");
    assert!(!snapshots.has("aa"));
}
