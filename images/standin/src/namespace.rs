// SPDX-License-Identifier: Apache-2.0
use std::process::Command;

use camino::Utf8Path;

use loadgauge_host::{MissingTool, Tool};

/// Whether this process is root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns a command that runs a shell script as root.
///
/// If this process is not root, the script runs in a user namespace with the caller's subordinate ids as
/// the other users. Files that the script creates may belong to those ids, so the script has to remove
/// its own scratch files.
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
    // The tools that make file systems are not on an ordinary user's PATH.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
    Ok(command)
}
