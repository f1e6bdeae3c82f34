// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::fs;

use super::cgroup::{MemoryLimit, memory_limits};

/// The resources of the host for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// processors that this process may use
    pub cpus: usize,
    /// memory that is free or can be freed, in MiB
    pub memory_mib: u64,
}

impl Capacity {
    /// Reads the scheduler's affinity, the CPU quota and the memory limits of control groups, and
    /// `MemAvailable` of proc_meminfo(5). Memory is unlimited where none of them is readable.
    pub fn of_host() -> Self {
        // It reads the quotas of both versions of control groups.
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self { cpus, memory_mib: least_mib(&meminfo, &memory_limits()) }
    }
}

/// The smallest of the available memory and what the limits leave, in MiB.
fn least_mib(meminfo: &str, limits: &[MemoryLimit]) -> u64 {
    let free = limits.iter().map(|limit| limit.free() / (1024 * 1024));
    free.chain(available_mib(meminfo)).min().unwrap_or(u64::MAX)
}

/// `MemAvailable` in MiB.
fn available_mib(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:       24689512 kB\nMemFree:         1000 kB\nMemAvailable:   20971520 kB\n";
        assert_eq!(available_mib(text), Some(20_480));
        assert_eq!(available_mib("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn a_group_with_less_than_the_host_decides() {
        let group = |limit: u64| MemoryLimit { group: "/g".into(), limit: limit << 20, used: 512 << 20 };
        let host = "MemAvailable:   4194304 kB\n";
        assert_eq!(least_mib(host, &[group(2048), group(8192)]), 1536);
        assert_eq!(least_mib(host, &[group(8192)]), 4096);
        assert_eq!(least_mib("", &[]), u64::MAX);
    }
}
