// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::fs;

/// The mount point of control groups.
const MOUNT: &str = "/sys/fs/cgroup";
/// Version 1 writes an unlimited group as the largest multiple of a page: larger limits are none.
const NONE: u64 = 1 << 60;

/// The memory limit of a control group of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    /// the directory of the group
    pub group: Utf8PathBuf,
    /// bytes that its processes may use together
    pub limit: u64,
    /// bytes in use, without those that the kernel can reclaim at once
    pub used: u64,
}

impl MemoryLimit {
    /// Bytes that are not in use.
    pub fn free(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// The memory limits of this process's control group and its ancestors, in either version.
pub fn memory_limits() -> Vec<MemoryLimit> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limits_under(Utf8Path::new(MOUNT), &own)
}

/// The files of a version of control groups.
struct Files {
    limit: &'static str,
    used: &'static str,
    reclaimable: &'static str,
}

/// `memory.max` and its like, after the kernel's cgroup-v2.rst.
const VERSION_2: Files = Files { limit: "memory.max", used: "memory.current", reclaimable: "inactive_file" };
/// `memory.limit_in_bytes` and its like, after the kernel's cgroup-v1/memory.rst.
const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};

/// `own` has lines `HIERARCHY:CONTROLLERS:PATH`, see cgroups(7).
fn limits_under(mount: &Utf8Path, own: &str) -> Vec<MemoryLimit> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = Utf8Path::new(path.trim_start_matches('/'));
        if controllers.is_empty() {
            collect(mount, path, &VERSION_2, &mut found);
        } else if controllers.split(',').any(|name| name == "memory") {
            collect(&mount.join("memory"), path, &VERSION_1, &mut found);
        }
    }
    found
}

/// Reads a group and its ancestors. In a container the path may exist on the host only: missing groups
/// are skipped, and the mount point is the container's own group.
fn collect(mount: &Utf8Path, path: &Utf8Path, files: &Files, found: &mut Vec<MemoryLimit>) {
    for path in path.ancestors() {
        let group = if path.as_str().is_empty() { mount.to_owned() } else { mount.join(path) };
        let Some(limit) = number(&group.join(files.limit)).filter(|limit| *limit < NONE) else { continue };
        let used = number(&group.join(files.used)).unwrap_or(0);
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let reclaimable = stat.lines().find_map(|line| {
            line.strip_prefix(files.reclaimable)?.strip_prefix(' ')?.trim().parse::<u64>().ok()
        });
        found.push(MemoryLimit { group, limit, used: used.saturating_sub(reclaimable.unwrap_or(0)) });
    }
}

/// The number in a file; absent if the file contains `max` or does not exist.
fn number(path: &Utf8Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(files: &[(&str, &str)]) -> (tempfile::TempDir, Utf8PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        (directory, root)
    }

    #[test]
    fn ancestors_limit_a_group() {
        let (_directory, root) = mount(&[
            ("user/memory.max", "8589934592\n"),
            ("user/memory.current", "1073741824\n"),
            ("user/memory.stat", "anon 1\ninactive_file 536870912\nactive_file 5\n"),
            ("user/session/memory.max", "max\n"),
        ]);
        let limits = limits_under(&root, "0::/user/session\n");
        let expected = MemoryLimit { group: root.join("user"), limit: 8_589_934_592, used: 536_870_912 };
        assert_eq!(limits, [expected]);
        assert_eq!(limits[0].free(), 8_053_063_680);
    }

    #[test]
    fn version_1_is_read_with_unlimited_groups() {
        let (_directory, root) = mount(&[
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/job/memory.limit_in_bytes", "2147483648\n"),
            ("memory/job/memory.usage_in_bytes", "3147483648\n"),
        ]);
        let limits = limits_under(&root, "9:name=systemd:/\n4:cpu,memory:/job\n0::/\n");
        assert_eq!(limits.len(), 1, "{limits:?}");
        assert_eq!((limits[0].limit, limits[0].free()), (2_147_483_648, 0));
    }

    #[test]
    fn a_container_without_its_own_path_has_the_limit_of_the_mount() {
        let (_directory, root) = mount(&[("memory.max", "1024\n"), ("memory.current", "24\n")]);
        let limits = limits_under(&root, "0::/docker/abcdef\n");
        assert_eq!(limits.iter().map(MemoryLimit::free).collect::<Vec<_>>(), [1000]);
    }
}
