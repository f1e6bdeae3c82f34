// SPDX-License-Identifier: Apache-2.0
//! A fake QEMU: it connects its sockets, "runs" the guest, and reports that it stopped it with an internal
//! error, which no guest can cause in a real QEMU.
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use super::BYSTANDER;

/// QEMU's program.
const PROGRAM: &str = "qemu-system-x86_64";
/// The environment variable for the arguments, which the test program would not accept.
const ARGUMENTS: &str = "FAKE_QEMU_ARGUMENTS";

/// Installs a `qemu-system-x86_64` into a directory that runs this test binary, and the real one for the machine
/// that nothing happens to.
pub(crate) fn install(directory: &Path, this: &Path) {
    let programs = std::env::var_os("PATH").expect("there are programs");
    let real = std::env::split_paths(&programs).map(|path| path.join(PROGRAM)).find(|path| path.exists());
    let real = real.expect("QEMU is installed where tests run");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *guest={BYSTANDER}*) exec '{}' \"$@\" ;; esac\n\
         [ \"$1\" != --version ] || {{ echo 'QEMU emulator version 10.0.0 (fake)'; exit; }}\n\
         {ARGUMENTS}=\"$*\" exec '{}' --exact fake_qemu --ignored --nocapture\n",
        real.display(),
        this.display()
    );
    let path = directory.join(PROGRAM);
    std::fs::write(&path, script).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
}

/// Acts as QEMU until the `quit` command.
pub(crate) fn play() {
    let arguments = std::env::var(ARGUMENTS).expect("started as QEMU");
    let connect = |id: &str| {
        let begin = format!("socket,id={id},path=");
        let path = arguments.split(' ').find_map(|argument| argument.strip_prefix(&begin)).expect("a socket");
        UnixStream::connect(path).expect("connected")
    };
    let qmp = connect("qmp");
    let _others = ["console", "events", "journal"].map(connect);
    let mut writer = qmp.try_clone().expect("a second handle");
    let mut send = |value: Value| writeln!(writer, "{value}").expect("sent");
    send(json!({ "QMP": { "version": {}, "capabilities": [] } }));
    for line in BufReader::new(qmp).lines().map_while(Result::ok) {
        let command: Value = serde_json::from_str(&line).expect("JSON");
        let answer = match command["execute"].as_str().expect("a command") {
            "query-status" => json!({ "status": "internal-error", "running": false }),
            "human-monitor-command" => {
                json!("  TCP[HOST_FORWARD]  12  127.0.0.1 40879  10.0.2.15  22  0  0\r\n")
            }
            _ => json!({}),
        };
        send(json!({ "return": answer, "id": command["id"] }));
        match command["execute"].as_str() {
            Some("cont") => send(json!({ "event": "STOP" })),
            Some("quit") => return,
            _ => {}
        }
    }
}
