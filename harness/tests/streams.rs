// SPDX-License-Identifier: Apache-2.0
//! What a command does if its output cannot be written. No guest is booted.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
use std::fs::OpenOptions;
use std::process::{Command, Output, Stdio};

use loadgauge_host::environment;

/// Runs `loadgauge` with an empty cache, and a full device as standard output or standard error.
fn with_full(stdout: bool, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let full = OpenOptions::new().write(true).open("/dev/full").expect("the device");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("HOME", directory.path()).env(environment::CACHE, directory.path().join("cache"));
    command.current_dir(directory.path()).args(arguments).stdin(Stdio::null());
    if stdout {
        command.stdout(full)
    } else {
        command.stderr(full)
    };
    command.output().expect("it runs")
}

#[test]
fn a_full_standard_error_does_not_change_the_status() {
    let status = |arguments: &[&str]| with_full(false, arguments).status.code();
    assert_eq!(status(&["list"]), Some(0));
    assert_eq!(status(&["list", "--unknown"]), Some(2));
    assert_eq!(status(&["plan", "no-such-scenario.toml"]), Some(2));
    assert_eq!(status(&["-v", "-v", "list", "no-such-scenario"]), status(&["list", "no-such-scenario"]));
    assert_eq!(status(&["image", "inspect", "no-such-image"]), Some(3));
}

#[test]
fn a_full_standard_output_is_an_error() {
    for arguments in [&["list"][..], &["--help"], &["list", "--format", "json"]] {
        let output = with_full(true, arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(70), "{arguments:?}: {text}");
        assert!(text.contains("error: cannot write to standard output: "), "{arguments:?}: {text}");
    }
}
