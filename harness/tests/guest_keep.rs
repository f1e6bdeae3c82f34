// SPDX-License-Identifier: Apache-2.0
//! Looking into guests: a machine that is left running after its run, and a shell in one.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod guest_run;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use guest_run::{GuestRun, processes_with};
use loadgauge::runner::EventKind;

fn stop(name: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
    command.args(["stop", name]).output().expect("it runs")
}

#[test]
fn the_machine_of_a_failed_scenario_outlives_the_run_until_it_is_stopped() {
    let run = GuestRun::of(&["wrong.toml", "--keep", "on-failure"]).finish();
    run.assert(1, &["machine left running as `wrong", "loadgauge stop wrong", "verdict: failed"]);
    let kept = run.events().into_iter().find_map(|event| match event.kind {
        EventKind::MachineKept { name, ssh, .. } => Some((name, ssh)),
        _ => None,
    });
    let (name, ssh) = kept.expect("the event that tells of it");
    let key = run.path.join("wrong/ssh-key");
    assert_eq!(fs::metadata(&key).expect("the key").permissions().mode() & 0o777, 0o600);

    // The line is meant to be pasted into a shell.
    let said = Command::new("sh")
        .args(["-c", &format!("{ssh} 'hello; logger seen-from-outside'")])
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    assert!(said.status.success(), "{said:?}");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "hello from hello\n");
    wait_until("the journal is written on", || {
        fs::read_to_string(run.path.join("wrong/journal.jsonl"))
            .is_ok_and(|text| text.contains("seen-from-outside"))
    });

    let stopped = stop(&name);
    assert!(stopped.status.success(), "{stopped:?}");
    wait_until("no process works on the run", || processes_with(run.path.as_str()).is_empty());
    assert!(!key.exists(), "the key goes with the machine");
    let again = stop(&name);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
}

#[test]
fn a_shell_in_a_guest_has_a_terminal_and_leaves_nothing() {
    let command = format!("{} boot --sysext hello", env!("CARGO_BIN_EXE_loadgauge"));
    // script(1) is the oracle of a terminal: it gives the command one.
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script runs");
    let mut input = child.stdin.take().expect("piped");
    let mut output = child.stdout.take().expect("piped");
    let (mut said, mut buffer, mut asked) = (String::new(), [0; 4096], false);
    loop {
        let count = output.read(&mut buffer).expect("it can be read");
        if count == 0 {
            break;
        }
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if !asked && said.contains("ready in ") {
            // In two words, so that the answer is not found in the echo of the question.
            input.write_all(b"hello; tty; echo over\"\"out; exit\r").expect("it takes input");
            asked = true;
        }
    }
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}: {said}");
    for part in ["hello from hello", "/dev/pts/", "overout"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(20), "not so: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
