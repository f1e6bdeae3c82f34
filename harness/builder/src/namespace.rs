// SPDX-License-Identifier: Apache-2.0
use std::process::Command;

use loadgauge_host::Tool;

/// The hint for a host that does not allow namespaces.
pub(super) const HINT: &str = "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or \
                               kernel.apparmor_restrict_unprivileged_userns=0)";

/// A command of unshare(1) for a namespace such as `--net`, in which the user is root. Real root needs no
/// user namespace for that.
pub(super) fn command(unshare: &Tool, namespace: &str) -> Command {
    let mut command = unshare.command();
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg(namespace);
    command
}
