// SPDX-License-Identifier: Apache-2.0
//! A QEMU that is none: it connects its sockets, lets the guest "run", and says that it stopped it for an
//! error of its own. No guest can make a sound QEMU say that.
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

/// Where the arguments are found, which the test's own program would not take.
const ARGUMENTS: &str = "FAKE_QEMU_ARGUMENTS";

/// Puts a `qemu-system-x86_64` into a directory that is this test binary.
pub(crate) fn install(directory: &Path, this: &Path) {
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != --version ] || {{ echo 'QEMU emulator version 10.0.0 (fake)'; exit; }}\n\
         {ARGUMENTS}=\"$*\" exec '{}' --exact fake_qemu --ignored --nocapture\n",
        this.display()
    );
    let path = directory.join("qemu-system-x86_64");
    std::fs::write(&path, script).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
}

/// Plays QEMU until it is told to quit.
pub(crate) fn play() {
    let arguments = std::env::var(ARGUMENTS).expect("started as QEMU");
    let connect = |id: &str| {
        let begin = format!("socket,id={id},path=");
        let path = arguments.split(' ').find_map(|word| word.strip_prefix(&begin)).expect("a socket");
        UnixStream::connect(path).expect("connected")
    };
    let monitor = connect("qmp");
    let _others = ["console", "events", "journal"].map(connect);
    let mut writer = monitor.try_clone().expect("a second handle");
    let mut say = |value: Value| writeln!(writer, "{value}").expect("said");
    say(json!({ "QMP": { "version": {}, "capabilities": [] } }));
    for line in BufReader::new(monitor).lines().map_while(Result::ok) {
        let asked: Value = serde_json::from_str(&line).expect("JSON");
        let answer = match asked["execute"].as_str().expect("a command") {
            "query-status" => json!({ "status": "internal-error", "running": false }),
            "human-monitor-command" => {
                json!("  TCP[HOST_FORWARD]  12  127.0.0.1 40879  10.0.2.15  22  0  0\r\n")
            }
            _ => json!({}),
        };
        say(json!({ "return": answer, "id": asked["id"] }));
        match asked["execute"].as_str() {
            Some("cont") => say(json!({ "event": "STOP" })),
            Some("quit") => return,
            _ => {}
        }
    }
}
