// SPDX-License-Identifier: Apache-2.0
use crate::check::Outcome;
use crate::machine::{Fault, ProcessState};

/// The outcome of a scenario whose machine died: failed if the guest is the cause, broken if QEMU or the
/// host is, since that says nothing about the guest.
pub(super) fn outcome_of(fault: &Fault) -> Outcome {
    match fault {
        Fault::Panic { line, .. } if line.contains(NO_TIMER) => Outcome::Broken,
        Fault::Panic { .. }
        | Fault::Initrd { .. }
        | Fault::Emergency { .. }
        | Fault::Boot { .. }
        | Fault::Halted { .. }
        | Fault::Silent { .. }
        | Fault::Ssh { .. }
        | Fault::PoweredOff
        | Fault::Flood { .. }
        | Fault::TimedOut { .. } => Outcome::Failed,
        Fault::Stopped { .. }
        | Fault::Exited { .. }
        | Fault::Disk { .. }
        | Fault::Hung { .. }
        | Fault::Clock { .. }
        | Fault::Starved { .. }
        | Fault::Tpm { .. } => Outcome::Broken,
    }
}

/// The message of a kernel whose timer did not tick because QEMU got no processor of the host
/// (`arch/x86/kernel/apic/io_apic.c`).
const NO_TIMER: &str = "IO-APIC + timer doesn't work";

/// Messages on the console or of QEMU, in lower case, with a hint. The first match is used, so specific
/// messages come before general ones.
///
/// The messages are from Ignition's `internal/util` and `internal/exec`, the kernel's
/// `init/do_mounts.c` and `mm/oom_kill.c`, systemd's `core/job.c`, and QEMU 10's `net/slirp.c`
/// and `util/oslib-posix.c`.
const MESSAGES: &[(&str, &str)] = &[
    (
        "io-apic + timer doesn't work",
        "the host was too busy for the guest's timer: run fewer machines at a time (`--jobs`)",
    ),
    (
        "hash verification failed",
        "compare `verification.hash` in config.ign with the digest of the file that Ignition fetched",
    ),
    ("config is not valid", "validate the config: `loadgauge ignition SCENARIO | ignition-validate -`"),
    ("couldn't fetch", "check that the guest can reach the URL that Ignition fetches (`machine.network`)"),
    ("failed to fetch", "check that the guest can reach the URL that Ignition fetches (`machine.network`)"),
    ("no space left on device", "the guest's disk is full: write less to it"),
    ("unable to mount root fs", "check the image: the kernel finds no root file system"),
    ("out of memory", "increase `memory` in `[machine]`: the guest has too little"),
    ("deadlocked on memory", "increase `memory` in `[machine]`: the guest has too little"),
    ("attempted to kill init", "see the lines of the console before this one for why PID 1 ended"),
    ("dependency failed", "see journal.jsonl for why a unit that the boot needs failed"),
    ("cannot allocate memory", "run fewer machines at a time (`--jobs`): the host has too little memory"),
    (
        "could not set up host forwarding",
        "run the scenario again: another process took the port at the same moment",
    ),
];

/// What the user can do about the fault of a machine, as far as the messages show its cause.
pub fn hint_for(fault: &Fault) -> Option<String> {
    let messages = match fault {
        Fault::Panic { line, console }
        | Fault::Initrd { line, console }
        | Fault::Emergency { line, console }
        | Fault::Boot { line, console } => {
            format!("{line}\n{}", console.join("\n"))
        }
        Fault::Exited { log, .. } | Fault::Tpm { log, .. } => log.clone(),
        Fault::Stopped { .. }
        | Fault::PoweredOff
        | Fault::Disk { .. }
        | Fault::Hung { .. }
        | Fault::Halted { .. }
        | Fault::Clock { .. }
        | Fault::Ssh { .. }
        | Fault::Silent { .. }
        | Fault::Flood { .. }
        | Fault::Starved { .. }
        | Fault::TimedOut { .. } => String::new(),
    };
    let messages = messages.to_lowercase();
    let known = MESSAGES.iter().find(|(message, _)| messages.contains(message));
    known.map(|(_, hint)| (*hint).to_owned()).or_else(|| general_hint(fault))
}

fn general_hint(fault: &Fault) -> Option<String> {
    let hint = match fault {
        Fault::Panic { .. } => "see console.log for the call trace",
        Fault::Initrd { .. } => "see console.log for the unit of the initrd that failed",
        Fault::Emergency { .. } => "see console.log and journal.jsonl for the unit that failed",
        Fault::Stopped { reason } if reason == "internal-error" => {
            "try `--accel tcg`: KVM cannot run this guest on this host"
        }
        Fault::Stopped { .. } => "check that the disk of the host is not full: the host stopped the guest",
        Fault::Disk { reason, .. } if reason.contains("No space left") => {
            "free space in TMPDIR, or set TMPDIR to a directory on another disk"
        }
        Fault::Disk { .. } => "see the kernel log of the host: its disk or the image is damaged",
        Fault::Hung { state: ProcessState::Stopped, .. } => {
            "run the scenario again: a process of the host stopped QEMU (SIGSTOP, a debugger)"
        }
        Fault::Hung { .. } => {
            "run fewer machines at a time (`--jobs`): the host is overloaded, or its disk hangs"
        }
        Fault::Halted { .. } => "see the end of console.log for why the guest halted",
        Fault::Clock { .. } => "run the scenario again on a host that is not suspended",
        Fault::Tpm { .. } => "see tpm.log, and check that `swtpm` works on this host",
        Fault::Ssh { .. } => "see console.log and journal.jsonl for the guest's sshd and its network",
        Fault::Boot { line, .. } if line.to_lowercase().contains("access denied") => {
            "check that the boot loader is signed by a key of this firmware: Secure Boot refuses it"
        }
        Fault::Boot { .. } => {
            "check that the image supports this firmware; `machine.firmware` and `--firmware` set another one"
        }
        Fault::Silent { .. } => {
            "check that the image is for this architecture and firmware, and has its console on the first serial \
             port (`console=ttyS0`)"
        }
        Fault::PoweredOff => "see journal.jsonl for what powered the guest off",
        Fault::Flood { what, .. } if what == "console" => {
            "see the end of console.log for the program that prints in a loop"
        }
        Fault::Flood { what, .. } if what == "journal" => {
            "see the end of journal.jsonl for the unit that logs in a loop"
        }
        Fault::Flood { .. } => "see journal.jsonl for the program that writes to the harness's port",
        Fault::Starved { .. } => {
            "run fewer machines at a time (`--jobs`), or stop what else uses the processors of the host"
        }
        Fault::Exited { .. } => return None,
        Fault::TimedOut { .. } => {
            "see the end of console.log for what the guest was doing; on a busy host, run fewer machines at a \
             time (`--jobs`)"
        }
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn initrd(console: &str) -> Fault {
        let line = "ignition-files.service: Failed with result 'exit-code'.".to_owned();
        Fault::Initrd { line, console: console.lines().map(str::to_owned).collect() }
    }

    #[test]
    fn a_wrong_hash_has_a_hint() {
        let fault = initrd(
            "ignition[512]: CRITICAL : Ignition failed: failed to create files: failed to fetch file \"/opt/x\": \
             hash verification failed. Calculated 00 but expected 11",
        );
        assert!(hint_for(&fault).is_some_and(|hint| hint.contains("verification.hash")));
    }

    #[test]
    fn an_unknown_cause_has_a_general_hint() {
        assert!(hint_for(&initrd("nothing of note")).is_some_and(|hint| hint.contains("console.log")));
        let exited = Fault::Exited { status: "exit status: 1".to_owned(), log: "eh?".to_owned() };
        assert_eq!(hint_for(&exited), None, "the message of QEMU is in the fault itself");
    }

    #[test]
    fn faults_of_the_guest_fail_and_faults_of_the_host_break() {
        assert_eq!(outcome_of(&initrd("")), Outcome::Failed);
        assert_eq!(outcome_of(&Fault::Stopped { reason: "internal-error".to_owned() }), Outcome::Broken);
        let panic = |line: &str| Fault::Panic { line: line.to_owned(), console: Vec::new() };
        assert_eq!(outcome_of(&panic("Kernel panic - not syncing: VFS")), Outcome::Failed);
        let starved =
            panic("Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug");
        assert_eq!(outcome_of(&starved), Outcome::Broken);
        assert!(hint_for(&starved).is_some_and(|hint| hint.contains("--jobs")));
    }

    #[test]
    fn a_flood_is_the_guests_fault_and_starvation_the_hosts() {
        let flood = Fault::Flood { what: "journal".to_owned(), bytes: 256 << 20 };
        assert_eq!(outcome_of(&flood), Outcome::Failed);
        assert!(hint_for(&flood).is_some_and(|hint| hint.contains("journal.jsonl")));
        let what = "the guest's readiness".to_owned();
        let starved = Fault::Starved { what, seconds: 300, lost: 250, console: Vec::new() };
        assert_eq!(outcome_of(&starved), Outcome::Broken);
        assert!(hint_for(&starved).is_some_and(|hint| hint.contains("--jobs")));
        assert_eq!(
            starved.to_string(),
            "the host had no processor for the guest in 250 of 300 s: waited for the guest's readiness"
        );
    }

    #[test]
    fn messages_are_in_lower_case() {
        for (message, _) in MESSAGES {
            assert_eq!(*message, message.to_lowercase(), "it would never match");
        }
    }
}
