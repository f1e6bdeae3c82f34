// SPDX-License-Identifier: Apache-2.0
use std::path::Path;

use camino::Utf8Path;
use loadgauge_host::environment::CACHE;
use loadgauge_host::error::on_one_line;
use loadgauge_host::quantity::format_size;
use loadgauge_host::{CommandError, CommandExt as _, Hint as _, Store, Tool, fs};

use super::finding::Finding;
use crate::machine::{Accelerator, MachineSpec, Supervisor};
use crate::runner::{Budget, Capacity, MemoryLimit, Needs, memory_limits};

const GIB: u64 = 1 << 30;
/// Space for the disks of a few machines, in bytes.
const SPACE_FOR_MACHINES: u64 = 2 * GIB;
/// Space for a stand-in image with its base and its packages, in bytes.
const SPACE_FOR_STORE: u64 = 6 * GIB;
/// Files of UEFI firmware for amd64.
const FIRMWARE: &[&str] = &["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd"];

/// Checks memory, processors, disks, firmware and user namespaces.
pub(super) fn findings(store: &Store) -> Vec<Finding> {
    let mut findings = vec![memory(), processors()];
    findings.extend(control_groups());
    findings.extend([temporary(), cache(store), firmware(), user_namespaces()]);
    findings
}

fn memory() -> Finding {
    let capacity = Capacity::of_host();
    let needs = Needs::of(&MachineSpec::default(), Accelerator::Kvm);
    let budget =
        Budget { machines: usize::MAX, cpus: usize::MAX, ..Budget::of(capacity, Accelerator::Kvm, None) };
    let found = format!("{} free", mebibytes(capacity.memory_mib));
    if budget.memory_mib < needs.memory_mib {
        let advice = format!(
            "a machine needs {}, and {} must stay free for the host; stop other programs",
            mebibytes(needs.memory_mib),
            mebibytes(capacity.memory_mib - budget.memory_mib)
        );
        return Finding::missing("memory", found, Some(advice));
    }
    let machines = budget.memory_mib / needs.memory_mib;
    Finding::good("memory", format!("{found}, enough for {machines} machines of the default size"))
}

fn processors() -> Finding {
    let own = Capacity::of_host().cpus;
    let online = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let online = online.lines().filter(|line| line.starts_with("processor")).count();
    let found = format!("{own} of {} available to this process", online.max(own));
    let finding = Finding::good("processors", found);
    if own < online {
        finding.with_note("CPU affinity or a control group limits this process")
    } else {
        finding
    }
}

fn mebibytes(count: u64) -> String {
    format_size(count << 20)
}

fn control_groups() -> Vec<Finding> {
    let limits = memory_limits();
    if limits.is_empty() {
        return vec![Finding::good("control groups", "no memory limit for this process")];
    }
    let finding = |limit: &MemoryLimit| {
        let (free, total) = (format_size(limit.free()), format_size(limit.limit));
        Finding::good("control groups", format!("{free} of {total} free in {}", limit.group))
    };
    limits.iter().map(finding).collect()
}

/// Checks the directory for the disks and sockets of machines by creating one.
fn temporary() -> Finding {
    let name = "temporary files";
    match Supervisor::new() {
        Ok(supervisor) => {
            let directory = supervisor.directory();
            let parent = directory.parent().unwrap_or(directory);
            free_space(name, parent, SPACE_FOR_MACHINES, "set TMPDIR to a larger file system")
        }
        Err(error) => Finding::missing(name, on_one_line(&error), error.hint()),
    }
}

/// Checks the store by writing to it.
fn cache(store: &Store) -> Finding {
    let name = "cache";
    let root = store.root();
    let probe = root.join(format!(".doctor-{}", std::process::id()));
    let written =
        fs::create_dir_all(root).and_then(|()| fs::write(&probe, "")).and_then(|()| fs::remove_file(&probe));
    match written {
        Ok(()) => free_space(name, root, SPACE_FOR_STORE, &format!("set {CACHE} to a larger file system")),
        Err(error) => {
            let advice = format!("set {CACHE} to a writable directory");
            Finding::missing(name, on_one_line(&error), Some(advice))
        }
    }
}

fn free_space(name: &str, directory: &Utf8Path, enough: u64, advice: &str) -> Finding {
    match rustix::fs::statvfs(directory.as_std_path()) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let finding = Finding::good(name, format!("{} free in {directory}", format_size(free)));
            if free < enough {
                finding.with_note(format!("{} are recommended; {advice}", format_size(enough)))
            } else {
                finding
            }
        }
        Err(error) => Finding::missing(name, format!("cannot examine `{directory}`: {error}"), None),
    }
}

fn firmware() -> Finding {
    match FIRMWARE.iter().find(|path| Path::new(path).is_file()) {
        Some(path) => Finding::good("UEFI firmware", *path),
        None => Finding::good("UEFI firmware", "not found in /usr/share/OVMF")
            .with_note("needed to boot with UEFI; install it: sudo apt-get install ovmf"),
    }
}

/// Checks user namespaces by creating one: kernels and AppArmor have several ways to refuse them.
fn user_namespaces() -> Finding {
    let name = "user namespaces";
    if rustix::process::geteuid().is_root() {
        return Finding::good(name, "not needed by root");
    }
    let Ok(tool) = Tool::find("unshare") else {
        return Finding::good(name, "cannot be checked without `unshare`")
            .with_note("install it: sudo apt-get install util-linux");
    };
    let mut command = tool.command();
    match command.args(["--map-root-user", "--map-auto", "--", "true"]).run() {
        Ok(_) => Finding::good(name, "available to this user"),
        Err(CommandError::Failed { tail, .. }) => Finding::good(name, tail).with_note(how_to_allow()),
        Err(error) => Finding::good(name, error.to_string()).with_note(how_to_allow()),
    }
}

/// Finds the setting that forbids user namespaces, and says how to change it.
fn how_to_allow() -> String {
    let is = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    let allow = if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor forbids them: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "the kernel forbids them: sudo sysctl kernel.unprivileged_userns_clone=1"
    } else if is("/proc/sys/user/max_user_namespaces", "0") {
        "the kernel allows none: sudo sysctl user.max_user_namespaces=10000"
    } else {
        "the user needs subordinate ids: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \
         \"$USER\""
    };
    format!("needed to build the stand-in image without root; {allow}")
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn a_read_only_cache_is_missing() {
        let finding = cache(&Store::at("/proc/nowhere"));
        assert_eq!(finding.state, State::Missing);
        assert!(finding.advice.is_some_and(|advice| advice.contains("LOADGAUGE_CACHE")));
    }

    #[test]
    fn little_free_space_is_noted_with_advice() {
        let directory = Utf8Path::new("/tmp");
        assert_eq!(free_space("cache", directory, 0, "grow").state, State::Ok);
        let finding = free_space("cache", directory, u64::MAX, "grow");
        assert_eq!(finding.state, State::Note);
        assert!(finding.advice.is_some_and(|advice| advice.ends_with("grow")));
    }
}
