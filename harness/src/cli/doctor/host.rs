// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use camino::Utf8Path;
use loadgauge_host::{Store, Tool};

use super::finding::Finding;
use crate::machine::{Accelerator, MachineSpec, Supervisor};
use crate::runner::{Budget, Capacity, Needs, memory_limits};

const MIB: u64 = 1024 * 1024;
/// What the disks of a few machines may grow to, in MiB.
const ROOM_FOR_MACHINES: u64 = 2048;
/// What a stand-in with its base and the packages it is made of takes, in MiB.
const ROOM_FOR_STORE: u64 = 6144;
/// Where firmware for UEFI lies.
const FIRMWARE: &[&str] = &["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd"];

/// Memory, processors, disks, firmware and what else is no program.
pub(super) fn findings(store: &Store) -> Vec<Finding> {
    let mut findings = vec![memory(), processors()];
    findings.extend(groups());
    findings.extend([temporary(), cache(store), firmware(), namespaces()]);
    findings
}

fn memory() -> Finding {
    let capacity = Capacity::of_host();
    let needs = Needs::of(&MachineSpec::default(), Accelerator::Kvm);
    let budget =
        Budget { machines: usize::MAX, cpus: usize::MAX, ..Budget::of(capacity, Accelerator::Kvm, None) };
    let found = format!("{} MiB are free", capacity.memory_mib);
    if budget.memory_mib < needs.memory_mib {
        let advice = format!(
            "a machine needs {} MiB, and the host as much as {} MiB beside it: end something else",
            needs.memory_mib,
            capacity.memory_mib - budget.memory_mib
        );
        return Finding::missing("memory", found, Some(advice));
    }
    let machines = budget.memory_mib / needs.memory_mib;
    Finding::good("memory", format!("{found}: enough for {machines} machines of the default size at a time"))
}

fn processors() -> Finding {
    let own = Capacity::of_host().cpus;
    let online = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let online = online.lines().filter(|line| line.starts_with("processor")).count();
    let found = format!("{own} of {} for this process", online.max(own));
    let finding = Finding::good("processors", found);
    if own < online {
        finding.noted("affinity or a control group leaves no more to this process")
    } else {
        finding
    }
}

fn groups() -> Vec<Finding> {
    let limits = memory_limits();
    if limits.is_empty() {
        return vec![Finding::good("control groups", "none limits the memory of this process")];
    }
    let say = |limit: &crate::runner::MemoryLimit| {
        let found =
            format!("{} of {} MiB are free in {}", limit.free() / MIB, limit.limit / MIB, limit.group);
        Finding::good("control groups", found)
    };
    limits.iter().map(say).collect()
}

/// Where machines have their disks and sockets; tried out and not only looked at.
fn temporary() -> Finding {
    let name = "temporary files";
    match Supervisor::new() {
        Ok(supervisor) => {
            room(name, supervisor.directory(), ROOM_FOR_MACHINES, "set TMPDIR to a larger place")
        }
        Err(error) => Finding::missing(name, error.to_string(), error.hint()),
    }
}

/// Where images and extensions are kept.
fn cache(store: &Store) -> Finding {
    let name = "cache";
    let root = store.root();
    let probe = root.join(format!(".doctor-{}", std::process::id()));
    let written =
        fs::create_dir_all(root).and_then(|()| fs::write(&probe, "")).and_then(|()| fs::remove_file(&probe));
    match written {
        Ok(()) => room(name, root, ROOM_FOR_STORE, "set LOADGAUGE_CACHE to a larger place"),
        Err(error) => {
            let advice = "set LOADGAUGE_CACHE to a directory that can be written".to_owned();
            Finding::missing(name, format!("cannot write to `{root}`: {error}"), Some(advice))
        }
    }
}

fn room(name: &str, path: &Utf8Path, enough: u64, advice: &str) -> Finding {
    let place = path.parent().filter(|_| name == "temporary files").unwrap_or(path);
    match rustix::fs::statvfs(path.as_std_path()) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize) / MIB;
            let finding = Finding::good(name, format!("{free} MiB are free in {place}"));
            if free < enough {
                finding.noted(format!("{enough} MiB are a good measure: {advice}"))
            } else {
                finding
            }
        }
        Err(error) => Finding::missing(name, format!("cannot look at `{place}`: {error}"), None),
    }
}

fn firmware() -> Finding {
    match FIRMWARE.iter().find(|path| Path::new(path).is_file()) {
        Some(path) => Finding::good("UEFI firmware", *path),
        None => Finding::good("UEFI firmware", "not found in /usr/share/OVMF")
            .noted("needed to boot by UEFI; install it: sudo apt-get install ovmf"),
    }
}

/// User namespaces, tried out: kernels and AppArmor have several ways to refuse them.
fn namespaces() -> Finding {
    let name = "user namespaces";
    if rustix::process::geteuid().is_root() {
        return Finding::good(name, "not needed by root");
    }
    let Ok(tool) = Tool::find("unshare") else {
        return Finding::good(name, "cannot be tried without `unshare`")
            .noted("install it: sudo apt-get install util-linux");
    };
    let mut command = tool.command();
    command.args(["--map-root-user", "--map-auto", "--", "true"]).stdin(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => Finding::good(name, "an ordinary user may make one"),
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr);
            Finding::good(name, words.trim()).noted(why_refused())
        }
        Err(error) => Finding::good(name, error.to_string()).noted(why_refused()),
    }
}

/// What forbids user namespaces, as far as the kernel tells, and how to allow them.
fn why_refused() -> String {
    let is = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    let allow = if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor forbids it: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "the kernel forbids it: sudo sysctl kernel.unprivileged_userns_clone=1"
    } else if is("/proc/sys/user/max_user_namespaces", "0") {
        "the kernel allows none: sudo sysctl user.max_user_namespaces=10000"
    } else {
        "the user needs subordinate ids: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \
         \"$USER\""
    };
    format!("needed to make the stand-in image without being root; {allow}")
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn a_cache_that_cannot_be_written_is_missing() {
        let finding = cache(&Store::at("/proc/nowhere"));
        assert_eq!(finding.state, State::Missing);
        assert!(finding.advice.is_some_and(|advice| advice.contains("LOADGAUGE_CACHE")));
    }

    #[test]
    fn little_room_is_told_with_what_to_do() {
        let here = Utf8Path::new("/tmp");
        assert_eq!(room("cache", here, 0, "grow").state, State::Ok);
        let finding = room("cache", here, u64::MAX, "grow");
        assert_eq!(finding.state, State::Note);
        assert!(finding.advice.is_some_and(|advice| advice.ends_with("grow")));
    }
}
