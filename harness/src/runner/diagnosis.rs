// SPDX-License-Identifier: Apache-2.0
use crate::check::Outcome;
use crate::machine::{Fault, ProcessState};

/// Whose fault a machine's death is: the guest's, then the scenario failed; or that of QEMU and
/// the host, then it is broken and says nothing about the guest.
pub fn outcome_of(fault: &Fault) -> Outcome {
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
        | Fault::TimedOut { .. } => Outcome::Failed,
        Fault::Stopped { .. }
        | Fault::Exited { .. }
        | Fault::Disk { .. }
        | Fault::Hung { .. }
        | Fault::Clock { .. }
        | Fault::Tpm { .. } => Outcome::Broken,
    }
}

/// What a kernel panics with whose emulated timer did not tick while it was tried, since QEMU got no
/// processor of the host (`arch/x86/kernel/apic/io_apic.c`).
const NO_TIMER: &str = "IO-APIC + timer doesn't work";

/// Words on the console or of QEMU, in lower case, and what to do when they appear. The first
/// match counts, so the specific stand before the general.
///
/// The words are those of Ignition's `internal/util` and `internal/exec`, of the kernel's
/// `init/do_mounts.c` and `mm/oom_kill.c`, of systemd's `core/job.c`, and of QEMU 10's `net/slirp.c`
/// and `util/oslib-posix.c`.
const SIGNS: &[(&str, &str)] = &[
    (
        "io-apic + timer doesn't work",
        "the host was too busy to let the guest's timer tick: run fewer machines at a time (`--jobs`)",
    ),
    (
        "hash verification failed",
        "a file that Ignition fetched is not the one its config names: compare `verification.hash` in \
         config.ign with the digest of the file",
    ),
    (
        "config is not valid",
        "Ignition refuses the config: print it with `loadgauge ignition SCENARIO` and give it to \
         `ignition-validate`",
    ),
    (
        "couldn't fetch",
        "Ignition could not fetch a file: is its URL one that the guest reaches (`machine.network`)?",
    ),
    (
        "failed to fetch",
        "Ignition could not fetch a file: is its URL one that the guest reaches (`machine.network`)?",
    ),
    ("no space left on device", "the guest's disk is full: make what is written to it smaller"),
    (
        "unable to mount root fs",
        "the kernel finds no root file system: the image is damaged, or not for this machine",
    ),
    ("out of memory", "the guest has too little memory: raise `memory` in `[machine]`"),
    ("deadlocked on memory", "the guest has too little memory: raise `memory` in `[machine]`"),
    ("attempted to kill init", "PID 1 ended: the console says above this line what it died of"),
    ("dependency failed", "a unit that the boot needs failed: journal.jsonl has its lines"),
    ("cannot allocate memory", "the host has too little memory: run fewer machines at a time with `--jobs`"),
    (
        "could not set up host forwarding",
        "a port of the host was taken at the same moment: run the scenario again",
    ),
];

/// What to do about a machine's death, as far as its words tell.
pub fn hint_for(fault: &Fault) -> Option<String> {
    let words = match fault {
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
        | Fault::TimedOut { .. } => String::new(),
    };
    let words = words.to_lowercase();
    let sign = SIGNS.iter().find(|(sign, _)| words.contains(sign));
    sign.map(|(_, hint)| (*hint).to_owned()).or_else(|| general_hint(fault))
}

fn general_hint(fault: &Fault) -> Option<String> {
    let hint = match fault {
        Fault::Panic { .. } => "the call trace is in console.log",
        Fault::Initrd { .. } => "console.log says which unit of the initrd failed, and why",
        Fault::Emergency { .. } => "console.log and journal.jsonl say which unit failed, and why",
        Fault::Stopped { reason } if reason == "internal-error" => {
            "KVM cannot run this guest on this host: try `--accel tcg`"
        }
        Fault::Stopped { .. } => "the host stopped the guest: is its disk full?",
        Fault::Disk { reason, .. } if reason.contains("No space left") => {
            "the host's disk is full: make room where TMPDIR leads, or set TMPDIR to a place with more"
        }
        Fault::Disk { .. } => "the host's disk or the image on it is damaged: see the host's kernel log",
        Fault::Hung { state: ProcessState::Stopped, .. } => {
            "somebody on the host stopped the process (SIGSTOP, a debugger): run the scenario again"
        }
        Fault::Hung { .. } => {
            "the host is overloaded or its disk hangs: run fewer machines at a time (`--jobs`)"
        }
        Fault::Halted { .. } => "the end of console.log says what the guest stopped for",
        Fault::Clock { .. } => {
            "what was measured meanwhile says nothing about the guest: run the scenario again on a host that \
             stays awake"
        }
        Fault::Tpm { .. } => "see tpm.log, and whether `swtpm` works on this host",
        Fault::Ssh { .. } => {
            "console.log and journal.jsonl say what became of the guest's sshd and of its network"
        }
        Fault::Boot { line, .. } if line.to_lowercase().contains("access denied") => {
            "Secure Boot refuses what the image boots: is it signed by a key of this firmware?"
        }
        Fault::Boot { .. } => {
            "is the image for this firmware? `machine.firmware` and `--firmware` choose another one"
        }
        Fault::Silent { .. } => {
            "is the image for this architecture and firmware, and does it use its first serial port \
             (`console=ttyS0`)?"
        }
        Fault::PoweredOff => "something in the guest ordered it: journal.jsonl may say what",
        Fault::Exited { .. } => return None,
        Fault::TimedOut { .. } => {
            "the end of console.log says what the guest was doing; a busy host needs fewer machines at a \
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
    fn a_wrong_hash_is_named() {
        let fault = initrd(
            "ignition[512]: CRITICAL : Ignition failed: failed to create files: failed to fetch file \"/opt/x\": \
             hash verification failed. Calculated 00 but expected 11",
        );
        assert!(hint_for(&fault).is_some_and(|hint| hint.contains("verification.hash")));
    }

    #[test]
    fn an_unknown_cause_still_says_where_to_look() {
        assert!(hint_for(&initrd("nothing of note")).is_some_and(|hint| hint.contains("console.log")));
        let exited = Fault::Exited { status: "exit status: 1".to_owned(), log: "eh?".to_owned() };
        assert_eq!(hint_for(&exited), None, "its words stand in the message");
    }

    #[test]
    fn the_guest_fails_and_the_host_breaks() {
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
    fn signs_are_in_lower_case() {
        for (sign, _) in SIGNS {
            assert_eq!(*sign, sign.to_lowercase(), "it could never match");
        }
    }
}
