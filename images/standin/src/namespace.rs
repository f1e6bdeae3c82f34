// SPDX-License-Identifier: Apache-2.0
use std::process::Command;

use camino::Utf8Path;

use loadgauge_host::{MissingTool, Tool};

/// Whether this process is root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that runs a shell script as root: as it is where this process is root, else in a
/// user namespace in which the caller's subordinate ids are the other users.
///
/// What the script leaves behind may belong to those, so it has to remove its own scratch files.
pub(super) fn script(path: &Utf8Path, arguments: &[&str]) -> Result<Command, MissingTool> {
    let mut command = if is_root() {
        Tool::find("sh")?.command()
    } else {
        Tool::find("newuidmap")?;
        let mut command = Tool::find("unshare")?.command();
        command.args(["--map-root-user", "--map-auto", "--", "sh"]);
        command
    };
    command.arg(path).args(arguments);
    // File systems are made by tools that an ordinary user's PATH leaves out.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
    Ok(command)
}
