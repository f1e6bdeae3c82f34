// SPDX-License-Identifier: Apache-2.0
//! Rules for lines of the console that end a boot.
use super::fault::Fault;

/// How many lines before and after the cause are shown.
const AROUND: usize = 10;
/// How many lines before the first match are searched for the cause.
const WINDOW: usize = 600;
/// Ignition retries a fetch forever, at intervals that grow to 5 s: a network that is slow to come up needs
/// fewer attempts than this.
const ATTEMPTS: u32 = 6;

/// The meaning of a line that matches a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Meaning {
    /// the kernel panicked
    Panic,
    /// the initrd failed
    Initrd,
    /// firmware or boot loader found nothing to boot
    Boot,
    /// an emergency shell: of the initrd or of the booted system, depending on earlier lines
    Shell,
    /// no end by itself, but maybe the cause of one
    Reason,
}

/// A rule for lines of the console.
#[derive(Debug)]
pub(crate) struct Rule {
    /// the name in logs
    pub(crate) name: &'static str,
    /// the texts that a matching line contains, in any letter case
    texts: &'static [&'static str],
    /// the meaning
    pub(crate) meaning: Meaning,
    /// how well the line names the cause; lower is better
    rank: u8,
}

const fn rule(name: &'static str, texts: &'static [&'static str], meaning: Meaning, rank: u8) -> Rule {
    Rule { name, texts, meaning, rank }
}

/// The rules; the first match counts. The texts are from Linux (`kernel/panic.c`,
/// `die()`), boot loaders, Ignition (`internal/main.go`, `internal/resource/http.go`), systemd (`job.c`,
/// `emergency.service`), util-linux's sulogin, dracut (`dracut-emergency`) and Flatcar's bootengine.
#[rustfmt::skip]
static RULES: &[Rule] = &[
    rule("kernel-panic", &["kernel panic - not syncing"], Meaning::Panic, 0),
    // The number in brackets is the kernel's count, which other programs' `Oops:` lacks.
    rule("kernel-oops", &["oops: ", "[#"], Meaning::Panic, 1),
    // GRUB (`grub-core/kern/rescue_reader.c`, `normal/main.c`), edk2 (`BdsDxe`, `UefiShellLib`), SeaBIOS.
    rule("grub-rescue", &["entering rescue mode"], Meaning::Boot, 3),
    rule("grub-rescue", &["grub rescue>"], Meaning::Boot, 3),
    rule("uefi-refused", &["bdsdxe: failed to", "access denied"], Meaning::Reason, 1),
    rule("uefi-shell", &["uefi interactive shell"], Meaning::Boot, 3),
    rule("uefi-nothing", &["bdsdxe: no bootable option or device was found"], Meaning::Boot, 2),
    rule("bios-nothing", &["no bootable device"], Meaning::Boot, 2),
    rule("grub-error", &["error: ", "no such partition"], Meaning::Reason, 2),
    rule("grub-error", &["error: ", "no such device"], Meaning::Reason, 2),
    rule("grub-error", &["error: ", "not found."], Meaning::Reason, 2),
    rule("uefi-failed", &["bdsdxe: failed to load"], Meaning::Reason, 2),
    rule("ignition-critical", &["ignition[", "critical"], Meaning::Initrd, 1),
    rule("ignition-failed", &["ignition failed: "], Meaning::Initrd, 2),
    rule("ignition-hash", &["ignition[", "hash verification failed"], Meaning::Reason, 1),
    rule("ignition-config", &["ignition[", "failed to fetch config"], Meaning::Reason, 2),
    rule("ignition-get", &["ignition[", "get error"], Meaning::Reason, 3),
    rule("ignition-unit", &["failed to start", "ignition"], Meaning::Reason, 4),
    rule("mount-failed", &["failed to mount"], Meaning::Reason, 5),
    rule("unit-failed", &["[failed]"], Meaning::Reason, 5),
    rule("dracut-device", &["dracut", "does not exist"], Meaning::Reason, 5),
    rule("dracut-boot", &["dracut", "could not boot"], Meaning::Reason, 6),
    rule("device-missing", &["timed out waiting for device"], Meaning::Reason, 5),
    rule("dependency", &["dependency failed for"], Meaning::Reason, 7),
    rule("dracut-report", &["rdsosreport.txt"], Meaning::Initrd, 9),
    rule("dracut-emergency", &["dracut-emergency"], Meaning::Initrd, 9),
    rule("initrd-shell", &["press enter for emergency shell"], Meaning::Initrd, 9),
    rule("initrd-shell", &["starting emergency shell"], Meaning::Shell, 9),
    rule("emergency", &["you are in emergency mode"], Meaning::Shell, 9),
    rule("emergency", &["entering emergency mode"], Meaning::Shell, 9),
    rule("sulogin-locked", &["cannot open access to console, the root account is locked"], Meaning::Shell, 9),
    rule("sulogin-enter", &["press enter to continue"], Meaning::Shell, 9),
];

/// The first rule that a line matches.
pub(crate) fn matching(line: &str) -> Option<&'static Rule> {
    let line = line.to_ascii_lowercase();
    RULES.iter().find(|rule| rule.texts.iter().all(|text| line.contains(text)))
}

/// The name of the rule by which a line ends a boot: a rule of the list, or too many attempts of Ignition.
pub(crate) fn ends(line: &str) -> Option<&'static str> {
    if let Some(rule) = matching(line).filter(|rule| rule.meaning != Meaning::Reason) {
        return Some(rule.name);
    }
    too_many_attempts(line).then_some("ignition-attempts")
}

/// Whether Ignition has made too many attempts: `ignition[441]: GET http://10.0.2.100/x: attempt #7`.
fn too_many_attempts(line: &str) -> bool {
    let attempt =
        || line.split_once("attempt #")?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    line.contains("ignition[") && attempt().is_some_and(|number: u32| number > ATTEMPTS)
}

/// The fault that the console shows, given its lines from the start of the boot.
pub(crate) fn judge(lines: &[String]) -> Option<Fault> {
    let first_end = lines.iter().position(|line| ends(line).is_some())?;
    let window = first_end.saturating_sub(WINDOW)..lines.len();
    let panicked = |line: &&String| matching(line).is_some_and(|rule| rule.meaning == Meaning::Panic);
    let initrd = |line: &&String| {
        too_many_attempts(line) || matching(line).is_some_and(|rule| rule.meaning == Meaning::Initrd)
    };
    let is_panic = lines[first_end..].iter().any(|line| panicked(&line));
    let is_initrd =
        lines[first_end..].iter().any(|line| initrd(&line)) || !switched_root(&lines[..first_end]);

    let rank = |line: &String| match matching(line) {
        Some(rule) if is_panic && rule.meaning != Meaning::Panic => None,
        Some(rule) => Some(rule.rank),
        None => (too_many_attempts(line) && !is_panic).then_some(8),
    };
    let cause = window.clone().filter_map(|at| Some((rank(&lines[at])?, at))).min()?.1;
    let line = lines[cause].trim().to_owned();
    let from = cause.saturating_sub(AROUND).max(window.start);
    let console = lines[from..lines.len().min(cause + 1 + AROUND)].to_vec();
    let boots = |line: &String| matching(line).is_none_or(|rule| rule.meaning != Meaning::Boot);
    Some(if is_panic {
        Fault::Panic { line, console }
    } else if !boots(&lines[first_end]) {
        Fault::Boot { line, console }
    } else if is_initrd {
        Fault::Initrd { line, console }
    } else {
        Fault::Emergency { line, console }
    })
}

/// Whether the initrd has switched to the root file system: systemd reports that before it exits, and
/// prints the system's name when it starts, which contains "initrd" for an initrd.
fn switched_root(lines: &[String]) -> bool {
    lines.iter().any(|line| {
        let lower = line.to_ascii_lowercase();
        let greeted = lower.starts_with("welcome to ")
            && !["initramfs", "initrd", "dracut"].iter().any(|kind| lower.contains(kind));
        greeted || lower.contains("switching root") || lower.contains("target initrd-switch-root.target")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::lines::Lines;

    fn fault(console: &str) -> Option<Fault> {
        judge(&Lines::default().push(console.as_bytes()))
    }

    #[test]
    fn a_bad_hash_is_the_cause_and_not_the_shell_that_follows() {
        let fault = fault(include_str!("fixtures/ignition-hash.txt")).expect("a fault");
        let Fault::Initrd { line, console } = &fault else { panic!("{fault:?}") };
        assert!(line.contains("CRITICAL") && line.contains("hash verification failed"), "{line}");
        assert!(console.iter().any(|line| line.contains("Ignition failed")), "{console:#?}");
        assert!(console.len() <= 2 * AROUND + 1);
    }

    #[test]
    fn too_many_attempts_of_ignition_are_a_fault_with_the_last_error() {
        let text = include_str!("fixtures/ignition-attempts.txt");
        let fault = fault(text).expect("a fault");
        let Fault::Initrd { line, .. } = &fault else { panic!("{fault:?}") };
        assert!(line.contains("GET error") && line.contains("EOF"), "{line}");
        let few: String = text.lines().take_while(|line| !line.contains("attempt #5")).collect();
        assert_eq!(super::tests::fault(&few), None, "a network that is slow to come up is not a fault");
    }

    #[test]
    fn a_missing_root_device_is_named() {
        let fault = fault(include_str!("fixtures/initrd-no-root.txt")).expect("a fault");
        let Fault::Initrd { line, .. } = &fault else { panic!("{fault:?}") };
        assert!(line.contains("Timed out waiting for device"), "{line}");
    }

    #[test]
    fn emergency_mode_of_the_booted_system_is_not_a_fault_of_the_initrd() {
        let fault = fault(include_str!("fixtures/emergency.txt")).expect("a fault");
        let Fault::Emergency { line, .. } = &fault else { panic!("{fault:?}") };
        assert!(line.contains("[FAILED] Failed to mount data.mount"), "{line}");
    }

    #[test]
    fn a_panic_is_reported_with_its_own_line() {
        let fault = fault(include_str!("fixtures/panic.txt")).expect("a fault");
        let Fault::Panic { line, .. } = &fault else { panic!("{fault:?}") };
        assert!(
            line.ends_with("Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)")
        );
    }

    #[test]
    fn a_panic_of_a_starved_timer_is_reported_with_its_own_line() {
        let text = "[    0.170000] ..TIMER: vector=0x30 apic1=0 pin1=2 apic2=-1 pin2=-1\n\
                    [    0.190000] ..MP-BIOS bug: 8254 timer not connected to IO-APIC\n\
                    [    0.250000] ...trying to set up timer as ExtINT IRQ... failed :(.\n\
                    [    0.260000] Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with \
                    apic=debug and send a report.  Then try booting with the 'noapic' option.\n";
        let Some(Fault::Panic { line, .. }) = fault(text) else { panic!("another fault") };
        assert!(line.contains("IO-APIC + timer doesn't work"), "{line}");
    }

    #[test]
    fn firmware_that_finds_nothing_to_boot_is_not_a_fault_of_the_initrd() {
        let text = "BdsDxe: loading Boot0001 \"UEFI Misc Device\"\n\
                    BdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0): Not Found\n\
                    UEFI Interactive Shell v2.2\n";
        let Some(Fault::Boot { line, .. }) = fault(text) else { panic!("another fault") };
        assert!(line.contains("failed to load Boot0001"), "{line}");
        let text = "error: no such partition.\nEntering rescue mode...\ngrub rescue> ";
        let Some(Fault::Boot { line, .. }) = fault(text) else { panic!("another fault") };
        assert!(line.contains("no such partition"), "{line}");
        let refused = "BdsDxe: failed to load Boot0003 \"x\" from Pci: Access Denied\n\
                       BdsDxe: No bootable option or device was found.\n";
        assert!(matches!(fault(refused), Some(Fault::Boot { line, .. }) if line.contains("Access Denied")));
    }

    #[test]
    fn an_oops_is_fatal_and_a_warning_is_not() {
        assert_eq!(
            fault("[ 1.0] WARNING: CPU: 0 PID: 1 at kernel/x.c:3 y+0x1/0x2\n[ 1.1] Tainted: G W\n"),
            None
        );
        assert_eq!(fault("Oops: a program of the guest says this\n"), None);
        assert!(matches!(fault("[ 3.1] Oops: 0002 [#1] PREEMPT SMP NOPTI\n"), Some(Fault::Panic { .. })));
    }

    #[test]
    fn failed_units_of_a_booted_system_are_not_a_fault() {
        let text = "Welcome to Flatcar!\n[FAILED] Failed to start docker.service.\n[DEPEND] Dependency failed for x.\n";
        assert_eq!(fault(text), None);
    }
}
