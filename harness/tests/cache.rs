// SPDX-License-Identifier: Apache-2.0
//! Commands whose cache is full or cannot be written. No guest is booted.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use loadgauge_host::environment;

/// Runs `loadgauge` after a shell script, in a mount namespace of its own; `$1` is the cache.
fn within(script: &str, cache: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("unshare");
    let script = format!("{script} && shift && exec \"$@\"");
    command.args(["--map-root-user", "--mount", "--", "sh", "-c", &script, "sh"]).arg(cache);
    command.arg(env!("CARGO_BIN_EXE_loadgauge")).args(arguments).env(environment::CACHE, cache);
    command.output().expect("unshare runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_cache_that_is_full_is_the_hosts_fault() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = within("mount -t tmpfs -o size=32k tmpfs \"$1\"", directory.path(), &["list"]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("because: No space left on device"), "{text}");
    assert!(text.contains("hint: free space on the file system of "), "{text}");
}

#[test]
fn commands_that_only_read_work_with_a_read_only_cache() {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = directory.path();
    let filled = within("true", cache, &["list"]);
    assert_eq!(filled.status.code(), Some(0), "{}", text(&filled));
    fs::create_dir_all(cache.join("snapshot/0123456789abcdef0123")).expect("a snapshot that cannot be used");
    let read_only = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"";
    let refused = within(&format!("{read_only} && ! touch \"$1/file\" 2>/dev/null"), cache, &["list"]);
    assert_eq!(refused.status.code(), Some(0), "it is read-only: {}", text(&refused));
    assert_eq!(refused.stdout, filled.stdout);
    let listed = within(read_only, cache, &["snapshot", "list"]);
    assert_eq!(listed.status.code(), Some(0), "{}", text(&listed));
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.starts_with("0123456789abcdef ") && !listed.contains("in use"), "{listed}");
}
