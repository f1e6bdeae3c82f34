// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::guest::{Command, Guest, Transcript};

use super::recorder::{CheckError, Recorder, describe_failure, finding};
use super::system::{mounts, topmost, unit_properties};
use super::unit_health::{FAILED, REPORT_MARK, read_reports, shell_function};
use super::{Assertions, Finding, Outcome};

/// Begins a section of the output of [`SCRIPT`]: a character that journal lines do not contain.
const MARK: char = '\u{1e}';
/// The number of restarts that counts as a loop: systemd gives up after five within ten seconds, and a
/// service that waits for another may restart once or twice.
const LOOP: u32 = 3;

/// Collects everything in one command, after the function `unit_report`. Core dumps are found by the message of
/// systemd-coredump (`MESSAGE_ID`, systemd.journal-fields(7)), systemd's messages about main processes, and
/// the kernel's messages, since a guest may lack systemd-coredump. Failed starts are counted from the
/// journal, because `NRestarts` counts only those of `Restart=`.
const SCRIPT: &str = r"
export LC_ALL=C SYSTEMD_COLORS=0
section() { printf '\036%s\n' $1; }
section failed-units
unit_report $(systemctl list-units --state=failed --all --plain --no-legend --no-pager --full | cut -d' ' -f1 | head -n 20)
section coredumps
{ journalctl -b -o cat --no-pager MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1
  journalctl -b -o cat --no-pager _PID=1
  journalctl -b -k -o cat --no-pager; } | grep -E 'dumped core|code=dumped|segfault at |general protection fault'
section kernel-taint
cat /proc/sys/kernel/tainted
section usr-read-only
cat /proc/self/mountinfo
section restart-loops
systemctl show -p Id,NRestarts,ActiveState,SubState,Result '*.service'
section failures
journalctl -b -q -o cat --output-fields=UNIT --no-pager MESSAGE_ID=FAILED | sort | uniq -c
section clock
date +%s
section end
";

/// A check that every scenario gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sweep {
    /// no unit is in the state `failed`
    FailedUnits,
    /// no process dumped core
    Coredumps,
    /// the kernel is not tainted
    KernelTaint,
    /// `/usr` is mounted read-only
    UsrReadOnly,
    /// no service fails or restarts again and again
    RestartLoops,
    /// the guest's clock is right
    Clock,
}

impl Sweep {
    /// All sweeps, in the order of the reports.
    pub const ALL: [Self; 6] = [
        Self::FailedUnits,
        Self::Coredumps,
        Self::KernelTaint,
        Self::UsrReadOnly,
        Self::RestartLoops,
        Self::Clock,
    ];

    /// The name in scenario files.
    pub fn name(self) -> &'static str {
        match self {
            Self::FailedUnits => "failed-units",
            Self::Coredumps => "coredumps",
            Self::KernelTaint => "kernel-taint",
            Self::UsrReadOnly => "usr-read-only",
            Self::RestartLoops => "restart-loops",
            Self::Clock => "clock",
        }
    }

    /// A description in one line.
    pub fn summary(self) -> &'static str {
        match self {
            Self::FailedUnits => "no unit failed",
            Self::Coredumps => "no process dumped core",
            Self::KernelTaint => "the kernel is not tainted",
            Self::UsrReadOnly => "/usr is read-only",
            Self::RestartLoops => "no service restarts in a loop",
            Self::Clock => "the clock is right",
        }
    }

    /// The command of this sweep in [`SCRIPT`], without what arranges its output.
    fn command(self) -> &'static str {
        match self {
            Self::FailedUnits => "systemctl list-units --state=failed --all --plain",
            Self::Coredumps => {
                "journalctl -b -o cat | grep -E 'dumped core|code=dumped|segfault at |general protection fault'"
            }
            Self::KernelTaint => "cat /proc/sys/kernel/tainted",
            Self::UsrReadOnly => "cat /proc/self/mountinfo",
            Self::RestartLoops => "systemctl show -p Id,NRestarts,ActiveState,SubState,Result '*.service'",
            Self::Clock => "date +%s",
        }
    }

    /// Evaluates the section of this sweep.
    fn evaluate(self, section: &str, failures: &str, host_time: &HostTime) -> Result<Assertions, String> {
        let assertions = match self {
            Self::FailedUnits => failed_units(section)?,
            Self::Coredumps => coredumps(section),
            Self::KernelTaint => taint(section)?,
            Self::UsrReadOnly => usr(section)?,
            Self::RestartLoops => restarts(section, failures)?,
            Self::Clock => clock(section, host_time)?,
        };
        Ok(assertions)
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Makes all sweeps with one command. The first finding contains it; one that did not pass contains its part with
/// the answer.
pub async fn sweep(guest: &Guest) -> Vec<(Sweep, Finding)> {
    let mut recorder = Recorder::new(guest);
    let before = unix_seconds();
    let result = recorder.run(Command::as_root(&script())).await;
    let host_time = before..=unix_seconds();
    let commands = recorder.transcripts();
    let output = match result {
        Ok(output) if output.exit.success() => Ok(output),
        Ok(output) => Err(CheckError::Failed(Assertions::failed(
            "`root` can run the sweeps",
            describe_failure(&output),
        ))),
        Err(error) => Err(error.into()),
    };
    let text = match output {
        Ok(output) => output.text().into_owned(),
        // All sweeps get the finding, since some of them may be waived.
        Err(error) => {
            let finding = finding("the sweeps can be made", Err(error), commands);
            return Sweep::ALL.into_iter().map(|sweep| (sweep, finding.clone())).collect();
        }
    };
    let sections = sections(&text);
    let findings = Sweep::ALL.into_iter().enumerate().map(|(index, sweep)| {
        let mut finding =
            finding(sweep.summary(), evaluate_section(sweep, &sections, &host_time), commands.clone());
        if index > 0 && finding.outcome == Outcome::Passed {
            finding.commands.clear();
        } else if finding.outcome != Outcome::Passed {
            finding.commands = commands_of(sweep, &sections, commands.clone());
        }
        (sweep, finding)
    });
    findings.collect()
}

fn script() -> String {
    format!("{}\n{}", shell_function(), SCRIPT.trim().replace("FAILED", FAILED))
}

/// The command of one sweep with its answer, or the whole script if there is no answer of its own.
fn commands_of(sweep: Sweep, sections: &BTreeMap<&str, &str>, commands: Vec<Transcript>) -> Vec<Transcript> {
    match (commands.last(), sections.get(sweep.name())) {
        (Some(script), Some(section)) => {
            vec![script.part(sweep.command(), &section.replace(REPORT_MARK, ""))]
        }
        _ => commands,
    }
}

/// The host's clock while the guest read its own, in seconds since 1970.
type HostTime = RangeInclusive<i64>;

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn evaluate_section(
    sweep: Sweep,
    sections: &BTreeMap<&str, &str>,
    host_time: &HostTime,
) -> Result<Assertions, CheckError> {
    // Without the last section the output is incomplete.
    let complete = sections.contains_key("end");
    let section = sections.get(sweep.name()).filter(|_| complete);
    let section =
        section.ok_or_else(|| CheckError::Unreadable("the output of the sweeps is incomplete".into()))?;
    let failures = sections.get("failures").copied().unwrap_or("");
    sweep.evaluate(section, failures, host_time).map_err(CheckError::Unreadable)
}

/// The sections by name.
fn sections(text: &str) -> BTreeMap<&str, &str> {
    text.split(MARK).skip(1).map(|section| section.split_once('\n').unwrap_or((section, ""))).collect()
}

fn failed_units(section: &str) -> Result<Assertions, String> {
    let mut assertions = Assertions::default();
    let reports = read_reports(section)?;
    if reports.is_empty() {
        assertions.pass(Sweep::FailedUnits.summary());
    }
    for report in reports {
        assertions.fail(format!("`{}` did not fail", report.name), report.explanation().join("\n"));
        assertions.suggest(report.hint());
    }
    Ok(assertions)
}

fn coredumps(section: &str) -> Assertions {
    let mut lines: Vec<&str> = section.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.dedup();
    let mut assertions = Assertions::default();
    let found = (!lines.is_empty()).then(|| lines.join("\n"));
    assertions.assert(Sweep::Coredumps.summary(), found);
    assertions
}

/// Bits of /proc/sys/kernel/tainted (the kernel's admin-guide/tainted-kernels).
const TAINTS: &[&str] = &[
    "a proprietary module was loaded",
    "a module was loaded by force",
    "the kernel runs on a system out of its specification",
    "a module was unloaded by force",
    "the processor reported a machine check",
    "a bad page was referenced",
    "a taint was asked for by a user",
    "the kernel died: an OOPS or a BUG",
    "an ACPI table was overridden",
    "the kernel warned",
    "a staging driver was loaded",
    "a workaround for a bug in platform firmware was applied",
    "a module from outside the kernel's tree was loaded",
    "a module without a signature was loaded",
    "a soft lockup occurred",
    "the kernel was live patched",
    "an auxiliary taint, defined by the distribution",
    "the kernel was built with struct randomisation",
    "an in-kernel test was run",
];

fn taint(section: &str) -> Result<Assertions, String> {
    let text = section.trim();
    let bits: u64 = text.parse().map_err(|_| format!("`{text}` is not a number of taint bits"))?;
    let mut assertions = Assertions::default();
    let reasons: Vec<String> = (0..64)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| TAINTS.get(bit).map_or_else(|| format!("bit {bit}"), |&reason| reason.to_owned()))
        .collect();
    let found = (bits != 0).then(|| format!("taint {bits}: {}", reasons.join("; ")));
    assertions.assert(Sweep::KernelTaint.summary(), found);
    if !assertions.all_hold() {
        assertions.suggest("see the kernel messages in journal.jsonl for the cause");
    }
    Ok(assertions)
}

fn usr(section: &str) -> Result<Assertions, String> {
    let mounts = mounts(section)?;
    let mut assertions = Assertions::default();
    // Without a mount of its own, /usr is on the root file system.
    let mount = topmost(&mounts, "/usr").or_else(|| topmost(&mounts, "/")).ok_or("`/` is not mounted")?;
    let read_only = mount.options.split(',').any(|option| option == "ro");
    let found = || format!("`{}` is mounted from `{}` with `{}`", mount.point, mount.source, mount.options);
    assertions.assert(Sweep::UsrReadOnly.summary(), (!read_only).then(found));
    Ok(assertions)
}

fn restarts(section: &str, failures: &str) -> Result<Assertions, String> {
    let units = unit_properties(section)?;
    if units.is_empty() {
        return Err("`systemctl show` has no service".into());
    }
    let failures = counts(failures)?;
    let mut assertions = Assertions::default();
    for unit in &units {
        let property = |name: &str| unit.get(name).map_or("", String::as_str);
        let name = property("Id");
        let restarts: u32 = property("NRestarts").parse().unwrap_or(0);
        let failed = failures.get(name).copied().unwrap_or(0);
        if restarts.max(failed) >= LOOP {
            let state = format!("{} ({})", property("ActiveState"), property("SubState"));
            let result = property("Result");
            let count = if failed > restarts {
                format!("failed {failed} times")
            } else {
                format!("was restarted {restarts} times")
            };
            assertions.fail(
                format!("`{name}` does not fail again and again"),
                format!("`{name}` {count}; it is {state}, its result `{result}`"),
            );
        }
    }
    if assertions.all_hold() {
        assertions.pass(Sweep::RestartLoops.summary());
    }
    Ok(assertions)
}

/// Reads the output of `uniq -c`: a number and a name in each line.
fn counts(text: &str) -> Result<BTreeMap<&str, u32>, String> {
    let count = |line| {
        let (number, name) = str::trim(line).split_once(' ')?;
        Some((name, number.parse().ok()?))
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| count(line).ok_or_else(|| format!("`{line}` is not a number and a unit"))).collect()
}

/// The largest difference of the clocks in seconds; certificates and tokens tolerate more.
const CLOCK_TOLERANCE: i64 = 60;

fn clock(section: &str, host_time: &HostTime) -> Result<Assertions, String> {
    let text = section.trim();
    let guest: i64 = text.parse().map_err(|_| format!("`{text}` is not a time in seconds"))?;
    let off = guest.saturating_sub(guest.clamp(*host_time.start(), *host_time.end()));
    let direction = if off < 0 { "behind" } else { "ahead of" };
    let found = format!("the guest's clock is {} s {direction} the host's", off.unsigned_abs());
    let mut assertions = Assertions::default();
    assertions.assert(Sweep::Clock.summary(), (off.abs() > CLOCK_TOLERANCE).then_some(found));
    if !assertions.all_hold() {
        assertions
            .suggest("see journal.jsonl for `Time has been changed`: something in the guest set the clock");
    }
    Ok(assertions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEALTHY: &str = "\u{1e}failed-units\n\u{1e}coredumps\n\u{1e}kernel-taint\n0\n\u{1e}usr-read-only\n\
        21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda9 rw\n\
        93 43 0:41 / /usr ro,nodev,relatime shared:22 - overlay sysext ro,lowerdir=/a:/usr\n\
        \u{1e}restart-loops\nId=a.service\nNRestarts=0\nActiveState=active\nSubState=running\nResult=success\n\
        \u{1e}failures\n      2 a.service\n\u{1e}clock\n1000000\n\u{1e}end\n";
    const HOST_TIME: HostTime = 999_990..=1_000_010;

    fn evaluate(sweep: Sweep, text: &str) -> Assertions {
        evaluate_section(sweep, &sections(text), &HOST_TIME).expect("assertions")
    }

    #[test]
    fn a_healthy_guest_passes_every_sweep() {
        for sweep in Sweep::ALL {
            assert!(evaluate(sweep, HEALTHY).all_hold(), "{sweep}");
        }
    }

    #[test]
    fn every_sweep_can_fail_with_a_reason() {
        let unhealthy = HEALTHY
            .replace(
                "failed-units\n",
                "failed-units\n\u{1d}x.service\n9.5\nId=x.service\nLoadState=loaded\nActiveState=failed\nResult=exit-code\n\
                 ExecMainCode=1\nExecMainStatus=203\n\u{1d}{\"MESSAGE\":\"x.service: Failed at step EXEC\",\
                 \"PRIORITY\":\"3\",\"UNIT\":\"x.service\"}\n",
            )
            .replace("coredumps\n", "coredumps\nProcess 700 (crasher) of user 0 dumped core.\n")
            .replace("taint\n0\n", "taint\n512\n")
            .replace("/usr ro,", "/usr rw,")
            .replace("NRestarts=0", "NRestarts=7")
            .replace("\n1000000\n", "\n996000\n");
        let found: Vec<String> = Sweep::ALL
            .into_iter()
            .map(|sweep| format!("{sweep}: {}", evaluate(sweep, &unhealthy).found()))
            .collect();
        insta::assert_snapshot!(found.join("\n"), @r"
        failed-units: `x.service` is failed (exit-code): its main process ended with status 203/EXEC
        its last lines:
          x.service: Failed at step EXEC
        coredumps: Process 700 (crasher) of user 0 dumped core.
        kernel-taint: taint 512: the kernel warned
        usr-read-only: `/usr` is mounted from `sysext` with `rw,nodev,relatime`
        restart-loops: `a.service` was restarted 7 times; it is active (running), its result `success`
        clock: the guest's clock is 3990 s behind the host's
        ");
    }

    #[test]
    fn failed_starts_count_like_restarts() {
        let upheld = HEALTHY.replace("      2 a.service", "      5 a.service\n      9 gone.service");
        assert_eq!(
            evaluate(Sweep::RestartLoops, &upheld).found(),
            "`a.service` failed 5 times; it is active (running), its result `success`"
        );
    }

    #[test]
    fn a_sweep_that_fails_shows_its_own_command_and_answer() {
        let whole = Transcript {
            command: script(),
            exit: "status 0".to_owned(),
            stdout: HEALTHY.to_owned(),
            ..Transcript::default()
        };
        for sweep in Sweep::ALL {
            let shown = commands_of(sweep, &sections(HEALTHY), vec![whole.clone()]);
            let [command] = shown.as_slice() else { panic!("{shown:?}") };
            assert!(!command.command.contains('\n') && !command.stdout.contains(MARK), "{command:?}");
            let first = command.command.split(' ').next().unwrap_or_default();
            assert!(script().contains(first), "{sweep}: the script runs another command than `{first}`");
        }
        let shown = commands_of(Sweep::KernelTaint, &sections(HEALTHY), vec![whole.clone()]);
        assert_eq!((shown[0].stdout.as_str(), shown[0].exit.as_str()), ("0\n", "status 0"));
        let cut = commands_of(Sweep::Clock, &BTreeMap::new(), vec![whole.clone()]);
        assert_eq!(cut, [whole], "without an answer, the whole");
    }

    #[test]
    fn incomplete_output_is_not_healthy() {
        let cut = HEALTHY.replace("\u{1e}end\n", "");
        for sweep in Sweep::ALL {
            evaluate_section(sweep, &sections(&cut), &HOST_TIME).expect_err("cut short");
        }
        evaluate_section(Sweep::KernelTaint, &sections("\u{1e}kernel-taint\n\u{1e}end\n"), &HOST_TIME)
            .expect_err("not a number");
    }

    #[test]
    fn names_are_the_same_as_in_scenario_files() {
        for sweep in Sweep::ALL {
            let text = serde_json::to_string(&sweep).expect("a name");
            assert_eq!(text, format!("\"{}\"", sweep.name()));
            assert!(script().contains(&format!("section {sweep}\n")), "{sweep}");
        }
    }

    proptest! {
        #[test]
        fn any_output_is_read(text in "[\u{1e}\\n =a-z0-9./-]{0,80}") {
            let text = HEALTHY.replace("coredumps\n", &text);
            for sweep in Sweep::ALL {
                let _evaluated = evaluate_section(sweep, &sections(&text), &HOST_TIME);
            }
        }

        #[test]
        fn every_taint_bit_is_reported(bits in 1_u64..) {
            let assertions = taint(&bits.to_string()).expect("a number");
            let reported = assertions.found().matches("; ").count() + 1;
            prop_assert_eq!(reported, bits.count_ones() as usize);
        }
    }
}
