// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;

use super::super::Entry;
use super::*;

const ALL: Bounds = Bounds { size: 0, age: Duration::ZERO };

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
    (directory, Store::at(path))
}

/// Makes an entry of at least 64 KiB that was used some hours ago.
fn make(store: &Store, key: &str, hours: u64) {
    let Ok(Entry::Vacant(vacancy)) = store.entry("thing", key) else { panic!("{key} exists") };
    fs::write(vacancy.directory().join("file"), vec![1; 64 << 10]).expect("written");
    vacancy.commit().expect("committed");
    let lock = lock_path(&store.root().join("thing"), key);
    let used = SystemTime::now() - Duration::from_hours(hours);
    File::options().append(true).open(lock).and_then(|lock| lock.set_modified(used)).expect("set");
}

fn removed(store: &Store, bounds: Bounds) -> Vec<String> {
    let removed = store.prune(&["thing", "absent"], bounds).expect("pruned");
    removed.into_iter().map(|entry| entry.key).collect()
}

fn left(store: &Store) -> Vec<String> {
    store.list(&["thing"]).expect("listed").into_iter().map(|entry| entry.key).collect()
}

#[test]
fn the_least_recently_used_entries_go_first_and_no_more_than_necessary() {
    let (_directory, store) = store();
    for (key, hours) in [("old", 30), ("older", 40), ("oldest", 50)] {
        make(&store, key, hours);
    }
    // Looking an entry up counts as use.
    assert!(matches!(store.entry("thing", "oldest"), Ok(Entry::Ready(_))));
    assert_eq!(left(&store), ["oldest", "old", "older"]);
    let one = store.list(&["thing"]).expect("listed")[0].size;
    assert!(one >= 64 << 10);
    assert_eq!(removed(&store, Bounds { size: 2 * one, age: Duration::ZERO }), ["older"]);
    let day = Duration::from_hours(24);
    assert_eq!(removed(&store, Bounds { size: 0, age: day }), ["old"]);
    assert_eq!(left(&store), ["oldest"]);
    assert_eq!(removed(&store, ALL), ["oldest"]);
    assert_eq!(names(&store.root().join("thing")).expect("listed"), Vec::<String>::new());
}

#[test]
fn entries_in_use_or_being_made_stay_and_incomplete_ones_go() {
    let (_directory, store) = store();
    for key in ["used", "other"] {
        make(&store, key, 1);
    }
    assert!(matches!(store.entry_to_use("thing", "used"), Ok(Entry::Ready(_))));
    let Ok(Entry::Vacant(making)) = store.entry("thing", "making") else { panic!("it exists") };
    let parent = store.root().join("thing");
    fs::create_dir(parent.join(".gone.making-removed")).expect("made");
    assert_eq!(removed(&store, ALL), ["other"]);
    assert!(making.directory().is_dir() && !parent.join(".gone.making-removed").exists());
    making.commit().expect("committed");
    assert_eq!(removed(&store, ALL), ["making"]);
    assert_eq!(left(&store), ["used"]);
}

#[test]
fn no_incomplete_entry_appears_while_others_prune() {
    let (_directory, store) = store();
    let use_it = || {
        for _ in 0..300 {
            match store.entry("thing", "shared").expect("the store can be written") {
                Entry::Ready(_) => {}
                Entry::Vacant(vacancy) => {
                    fs::write(vacancy.directory().join("file"), "complete").expect("written");
                    vacancy.commit().expect("no other thread makes it");
                }
            }
        }
    };
    let prune = || (0..300).for_each(|_| drop(store.prune(&["thing"], ALL).expect("pruned")));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(use_it);
            scope.spawn(prune);
        }
    });
    let entry = store.entry_to_use("thing", "shared").expect("the store can be written");
    if let Entry::Vacant(vacancy) = entry {
        vacancy.commit().expect("committed");
        assert!(matches!(store.entry_to_use("thing", "shared"), Ok(Entry::Ready(_))));
    }
    assert_eq!(removed(&store, ALL), Vec::<String>::new());
}
