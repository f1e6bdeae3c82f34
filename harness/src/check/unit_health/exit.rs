// SPDX-License-Identifier: Apache-2.0
use super::super::system::Properties;

/// The exit statuses with which systemd reports that it could not execute a program, with their names
/// (systemd.exec(5), "Process Exit Codes").
const STATUSES: &[(u32, &str)] = &[
    (200, "CHDIR"),
    (201, "NICE"),
    (202, "FDS"),
    (203, "EXEC"),
    (204, "MEMORY"),
    (205, "LIMITS"),
    (206, "OOM_ADJUST"),
    (207, "SIGNAL_MASK"),
    (208, "STDIN"),
    (209, "STDOUT"),
    (210, "CHROOT"),
    (211, "IOPRIO"),
    (212, "TIMERSLACK"),
    (213, "SECUREBITS"),
    (214, "SETSCHEDULER"),
    (215, "CPUAFFINITY"),
    (216, "GROUP"),
    (217, "USER"),
    (218, "CAPABILITIES"),
    (219, "CGROUP"),
    (220, "SETSID"),
    (222, "STDERR"),
    (224, "PAM"),
    (225, "NETWORK"),
    (226, "NAMESPACE"),
    (227, "NO_NEW_PRIVILEGES"),
    (228, "SECCOMP"),
    (229, "SELINUX_CONTEXT"),
    (230, "PERSONALITY"),
    (231, "APPARMOR"),
    (232, "ADDRESS_FAMILIES"),
    (233, "RUNTIME_DIRECTORY"),
    (235, "CHOWN"),
    (237, "KEYRING"),
    (238, "STATE_DIRECTORY"),
    (239, "CACHE_DIRECTORY"),
    (240, "LOGS_DIRECTORY"),
    (241, "CONFIGURATION_DIRECTORY"),
    (242, "NUMA_POLICY"),
    (243, "CREDENTIALS"),
    (245, "BPF"),
];

/// How the main process of a service ended, if it did and not well.
pub(super) fn ended(properties: &Properties) -> Option<String> {
    let status = status(properties)?;
    // The values of `si_code` (sigaction(2)).
    match properties.get("ExecMainCode").map(String::as_str) {
        Some("1") if status != 0 => {
            let name = STATUSES.iter().find(|(number, _)| *number == status);
            let name = name.map(|(_, name)| format!("/{name}")).unwrap_or_default();
            Some(format!("its main process ended with status {status}{name}"))
        }
        Some("2") => Some(format!("its main process was ended by signal {status}")),
        Some("3") => Some(format!("its main process dumped core after signal {status}")),
        _ => None,
    }
}

/// What to look at for an exit status of systemd's own.
pub(super) fn hint(properties: &Properties) -> Option<&'static str> {
    if properties.get("ExecMainCode").map(String::as_str) != Some("1") {
        return None;
    }
    match status(properties)? {
        200 => {
            Some("make the directory of `WorkingDirectory=`, for example with a file in usr/lib/tmpfiles.d")
        }
        203 => Some(
            "see that the program of `ExecStart=` is in the extension or the image, has mode 0755, and that \
             its interpreter is there",
        ),
        216 | 217 => Some(
            "make the user and group of the unit with a file in usr/lib/sysusers.d of the extension: \
             maintainer scripts do not run",
        ),
        226 => Some(
            "see that the directories of `ReadWritePaths=`, `BindPaths=` and the like exist in the guest; \
             a `-` before a path makes it optional",
        ),
        _ => None,
    }
}

fn status(properties: &Properties) -> Option<u32> {
    properties.get("ExecMainStatus")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(code: &str, status: &str) -> Properties {
        [("ExecMainCode", code), ("ExecMainStatus", status)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn statuses_and_signals_are_told_apart() {
        for (code, status, expected) in [
            ("1", "1", Some("its main process ended with status 1")),
            ("1", "217", Some("its main process ended with status 217/USER")),
            ("2", "9", Some("its main process was ended by signal 9")),
            ("3", "11", Some("its main process dumped core after signal 11")),
            ("1", "0", None),
            ("0", "0", None),
        ] {
            assert_eq!(ended(&properties(code, status)).as_deref(), expected, "{code} {status}");
        }
        assert!(hint(&properties("1", "217")).expect("a hint").contains("sysusers.d"));
        assert_eq!(hint(&properties("2", "203")), None, "a signal is no exit status");
        assert_eq!(hint(&properties("1", "1")), None);
    }
}
