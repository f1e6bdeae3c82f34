// SPDX-License-Identifier: Apache-2.0
//! `loadgauge doctor` on this host, and on hosts that lack something.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
use std::process::Output;

use assert_cmd::Command;
use loadgauge_host::environment;
use serde_json::Value;

fn doctor(cache: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
        .env("HOME", cache)
        .env(environment::CACHE, cache.join("cache"))
        .args(["doctor", "--format", "json"]);
    command
}

/// The report and the exit status.
fn parse(output: &Output) -> (Value, Option<i32>) {
    let text = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (report, output.status.code())
}

fn finding<'a>(report: &'a Value, name: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("`{name}`: {report}"))
}

#[test]
fn a_host_that_runs_the_tests_has_what_machines_need() {
    let scratch = tempfile::tempdir().expect("a directory");
    let (report, status) = parse(&doctor(scratch.path()).output().expect("it runs"));
    assert_eq!((status, &report["ok"]), (Some(0), &Value::Bool(true)), "{report}");
    let version = finding(&report, "qemu-system-x86_64")["found"].as_str().expect("a version");
    assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{version}");
    assert!(report["acceleration"]["factor"].as_f64().is_some_and(|factor| factor >= 1.0), "{report}");
    let memory = finding(&report, "memory")["found"].as_str().expect("text");
    assert!(memory.contains("machines of the default size"), "{memory}");
    let text = doctor(scratch.path()).args(["--format", "text"]).output();
    assert!(text.is_ok_and(|text| text.status.code() == Some(2)), "the option may be given once");
}

#[test]
fn a_host_without_qemu_gets_advice() {
    let scratch = tempfile::tempdir().expect("a directory");
    // A shell and the program that it calls.
    let bin = scratch.path().join("bin");
    std::fs::create_dir(&bin).expect("made");
    for program in ["sh", "rm"] {
        std::os::unix::fs::symlink(format!("/bin/{program}"), bin.join(program)).expect("linked");
    }
    let (report, status) = parse(&doctor(scratch.path()).env("PATH", &bin).output().expect("it runs"));
    assert_eq!((status, &report["ok"]), (Some(3), &Value::Bool(false)), "{report}");
    let qemu = finding(&report, "qemu-system-x86_64");
    assert_eq!(qemu["state"], "missing");
    assert_eq!(qemu["advice"], "install it: sudo apt-get install qemu-system-x86");
    assert_eq!(finding(&report, "acceleration")["state"], "missing");
    assert_eq!(finding(&report, "mmdebstrap")["state"], "note", "machines run without it");
}

#[test]
fn a_read_only_cache_is_reported() {
    let scratch = tempfile::tempdir().expect("a directory");
    let output = doctor(scratch.path()).env(environment::CACHE, "/proc/nowhere").output().expect("it runs");
    let (report, status) = parse(&output);
    assert_eq!(status, Some(3));
    let cache = finding(&report, "cache");
    assert_eq!(cache["state"], "missing");
    assert!(cache["advice"].as_str().is_some_and(|advice| advice.contains("LOADGAUGE_CACHE")), "{cache}");
}

#[test]
fn the_findings_are_printed_as_a_table() {
    let scratch = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
    command.env(environment::CACHE, scratch.path()).arg("doctor");
    let output = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("ok       qemu-system-x86_64"), "{text}");
    assert!(text.ends_with("\nMachines can run on this host.\n"), "{text}");
}
