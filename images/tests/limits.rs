// SPDX-License-Identifier: Apache-2.0
//! The tests that `LIMITS.md` names exist.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
use std::fs;

use camino::Utf8Path;

/// Returns all Rust code below a directory.
fn sources(directory: &Utf8Path) -> String {
    let mut text = String::new();
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry.expect("read");
        if entry.path().extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(entry.path()).expect("read");
        }
    }
    text
}

#[test]
fn every_limit_has_a_test() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("LIMITS.md")).expect("read");
    let code = sources(&root.join("src")) + &sources(&root.join("../harness/host/src"));
    let rows: Vec<&str> =
        document.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
    assert!(rows.len() > 25, "{} rows", rows.len());
    for row in rows {
        let test = row.trim_end_matches([' ', '|']).rsplit('`').nth(1).expect("a test in the last column");
        assert!(
            code.contains(&format!("    fn {test}(")) || code.contains(&format!("\nfn {test}(")),
            "{test}"
        );
    }
}
