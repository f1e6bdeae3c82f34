// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::guest::{Command, Guest};

use super::inquiry::{Halt, Inquiry, complaint, conclude};
use super::overlay::{mounts, topmost};
use super::unit::blocks;
use super::{Finding, Judgement, Outcome};

/// Begins a section of what [`SCRIPT`] prints: a character that no journal line holds.
const MARK: char = '\u{1e}';
/// From how many restarts on a unit counts as restarting in a loop: systemd itself gives up after
/// five within ten seconds, and one or two may be a service that waited for another.
const LOOP: u32 = 3;

/// Gathers everything in one command. Coredumps are found by the message that systemd-coredump
/// writes (its `MESSAGE_ID`, systemd.journal-fields(7)), by what systemd says of a service's main
/// process, and by the kernel's own lines, for a guest without systemd-coredump.
const SCRIPT: &str = r"
export LC_ALL=C SYSTEMD_COLORS=0
section() { printf '\036%s\n' $1; }
section failed-units
failed=$(systemctl list-units --state=failed --all --plain --no-legend --no-pager --full | cut -d' ' -f1)
for unit in $failed; do
  printf '%s\n' $unit
  systemctl show -p Result,ExecMainStatus -- $unit | sed 's/^/  /'
  journalctl -b -u $unit -n 3 -o cat --no-pager | sed 's/^/  /'
done
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
section clock
date +%s
section end
";

/// What is looked at around every scenario, unasked.
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
    /// no service restarts again and again
    RestartLoops,
    /// the guest's clock is right
    Clock,
}

impl Sweep {
    /// All of them, in the order in which they are reported.
    pub const ALL: [Self; 6] = [
        Self::FailedUnits,
        Self::Coredumps,
        Self::KernelTaint,
        Self::UsrReadOnly,
        Self::RestartLoops,
        Self::Clock,
    ];

    /// The name that scenario files use.
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

    /// What it claims, in one line.
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

    /// Judges the section of this sweep.
    fn judge(self, section: &str, asked: &Asked) -> Result<Judgement, String> {
        let judgement = match self {
            Self::FailedUnits => failed_units(section),
            Self::Coredumps => coredumps(section),
            Self::KernelTaint => taint(section)?,
            Self::UsrReadOnly => usr(section)?,
            Self::RestartLoops => restarts(section)?,
            Self::Clock => clock(section, asked)?,
        };
        Ok(judgement)
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Looks at everything with one command and judges each. The first finding and those that do not
/// hold carry the command's record.
pub async fn sweep(guest: &Guest) -> Vec<(Sweep, Finding)> {
    let mut inquiry = Inquiry::new(guest);
    let before = seconds_of_day();
    let answer = inquiry.ask(Command::as_root(SCRIPT.trim())).await;
    let asked = before..=seconds_of_day();
    let commands = inquiry.transcripts();
    let answer = match answer {
        Ok(output) if output.exit.success() => Ok(output),
        Ok(output) => Err(Halt::Judged(Judgement::failure("root can look around", complaint(&output)))),
        Err(error) => Err(error.into()),
    };
    let text = match answer {
        Ok(output) => output.text().into_owned(),
        // Whichever of them a scenario does without: the others tell of it.
        Err(halt) => {
            let finding = conclude("the guest can be swept", Err(halt), commands);
            return Sweep::ALL.into_iter().map(|sweep| (sweep, finding.clone())).collect();
        }
    };
    let sections = sections(&text);
    let judged = Sweep::ALL.into_iter().enumerate().map(|(index, sweep)| {
        let mut finding =
            conclude(sweep.summary(), judge_section(sweep, &sections, &asked), commands.clone());
        if index > 0 && finding.outcome == Outcome::Passed {
            finding.commands.clear();
        }
        (sweep, finding)
    });
    judged.collect()
}

/// When the guest was asked, by the host's clock, in seconds since 1970: from the order to the answer.
type Asked = RangeInclusive<i64>;

fn seconds_of_day() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn judge_section(sweep: Sweep, sections: &BTreeMap<&str, &str>, asked: &Asked) -> Result<Judgement, Halt> {
    // Without the last section the others may be cut short.
    let whole = sections.contains_key("end");
    let section = sections.get(sweep.name()).filter(|_| whole);
    let section = section.ok_or_else(|| Halt::Unreadable("the sweep's command broke off".into()))?;
    sweep.judge(section, asked).map_err(Halt::Unreadable)
}

/// The sections by their names.
fn sections(text: &str) -> BTreeMap<&str, &str> {
    text.split(MARK).skip(1).map(|section| section.split_once('\n').unwrap_or((section, ""))).collect()
}

fn failed_units(section: &str) -> Judgement {
    let mut judgement = Judgement::default();
    let mut units: Vec<Vec<&str>> = Vec::new();
    for line in section.lines().filter(|line| !line.trim().is_empty()) {
        match (line.strip_prefix("  "), units.last_mut()) {
            (Some(words), Some(unit)) => unit.push(words),
            _ => units.push(vec![line]),
        }
    }
    if units.is_empty() {
        judgement.hold(Sweep::FailedUnits.summary());
    }
    for unit in units {
        let (name, words) = (unit[0], &unit[1..]);
        let mut found = format!("`{name}` failed");
        for line in words {
            found.push_str("\n  ");
            found.push_str(line);
        }
        judgement.fail(format!("`{name}` did not fail"), found);
    }
    judgement
}

fn coredumps(section: &str) -> Judgement {
    let mut lines: Vec<&str> = section.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.dedup();
    let mut judgement = Judgement::default();
    let found = (!lines.is_empty()).then(|| lines.join("\n"));
    judgement.claim(Sweep::Coredumps.summary(), found);
    judgement
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

fn taint(section: &str) -> Result<Judgement, String> {
    let text = section.trim();
    let bits: u64 = text.parse().map_err(|_| format!("`{text}` is no number of taint bits"))?;
    let mut judgement = Judgement::default();
    let reasons: Vec<String> = (0..64)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| TAINTS.get(bit).map_or_else(|| format!("bit {bit}"), |&reason| reason.to_owned()))
        .collect();
    let found = (bits != 0).then(|| format!("taint {bits}: {}", reasons.join("; ")));
    judgement.claim(Sweep::KernelTaint.summary(), found);
    if !judgement.holds() {
        judgement.advise("`dmesg` of the guest says when and by what, see the journal");
    }
    Ok(judgement)
}

fn usr(section: &str) -> Result<Judgement, String> {
    let mounts = mounts(section)?;
    let mut judgement = Judgement::default();
    // Without a mount of its own /usr is as writable as the root.
    let mount =
        topmost(&mounts, "/usr").or_else(|| topmost(&mounts, "/")).ok_or("there is no mount of `/`")?;
    let read_only = mount.options.split(',').any(|option| option == "ro");
    let found = || format!("`{}` is mounted from `{}` with `{}`", mount.point, mount.source, mount.options);
    judgement.claim(Sweep::UsrReadOnly.summary(), (!read_only).then(found));
    Ok(judgement)
}

fn restarts(section: &str) -> Result<Judgement, String> {
    let units = blocks(section)?;
    if units.is_empty() {
        return Err("`systemctl show` told of no service".into());
    }
    let mut judgement = Judgement::default();
    for unit in &units {
        let property = |name: &str| unit.get(name).map_or("", String::as_str);
        let restarts: u32 = property("NRestarts").parse().unwrap_or(0);
        if restarts >= LOOP {
            let name = property("Id");
            let state = format!("{} ({})", property("ActiveState"), property("SubState"));
            let result = property("Result");
            judgement.fail(
                format!("`{name}` does not restart again and again"),
                format!("`{name}` was restarted {restarts} times; it is {state}, its result `{result}`"),
            );
        }
    }
    if judgement.holds() {
        judgement.hold(Sweep::RestartLoops.summary());
    }
    Ok(judgement)
}

/// By how many seconds a clock may be wrong: no certificate and no token notices that.
const CLOCK_TOLERANCE: i64 = 60;

fn clock(section: &str, asked: &Asked) -> Result<Judgement, String> {
    let text = section.trim();
    let told: i64 = text.parse().map_err(|_| format!("`{text}` is no time in seconds"))?;
    let off = told.saturating_sub(told.clamp(*asked.start(), *asked.end()));
    let direction = if off < 0 { "behind" } else { "ahead of" };
    let found = format!("it is {} s {direction} the host's", off.unsigned_abs());
    let mut judgement = Judgement::default();
    judgement.claim(Sweep::Clock.summary(), (off.abs() > CLOCK_TOLERANCE).then_some(found));
    if !judgement.holds() {
        judgement.advise("something in the guest set it: the journal has `Time has been changed`");
    }
    Ok(judgement)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEALTHY: &str = "\u{1e}failed-units\n\u{1e}coredumps\n\u{1e}kernel-taint\n0\n\u{1e}usr-read-only\n\
        21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda9 rw\n\
        93 43 0:41 / /usr ro,nodev,relatime shared:22 - overlay sysext ro,lowerdir=/a:/usr\n\
        \u{1e}restart-loops\nId=a.service\nNRestarts=0\nActiveState=active\nSubState=running\nResult=success\n\
        \u{1e}clock\n1000000\n\u{1e}end\n";
    const ASKED: Asked = 999_990..=1_000_010;

    fn judge(sweep: Sweep, text: &str) -> Judgement {
        judge_section(sweep, &sections(text), &ASKED).expect("a judgement")
    }

    #[test]
    fn a_healthy_guest_passes_every_sweep() {
        for sweep in Sweep::ALL {
            assert!(judge(sweep, HEALTHY).holds(), "{sweep}");
        }
    }

    #[test]
    fn every_sweep_can_fail_and_says_why() {
        let ill = HEALTHY
            .replace(
                "failed-units\n",
                "failed-units\nx.service\n  Result=exit-code\n  ExecMainStatus=203\n  x.service: Failed at step EXEC\n",
            )
            .replace("coredumps\n", "coredumps\nProcess 700 (crasher) of user 0 dumped core.\n")
            .replace("taint\n0\n", "taint\n512\n")
            .replace("/usr ro,", "/usr rw,")
            .replace("NRestarts=0", "NRestarts=7")
            .replace("\n1000000\n", "\n996000\n");
        let found: Vec<String> =
            Sweep::ALL.into_iter().map(|sweep| format!("{sweep}: {}", judge(sweep, &ill).found())).collect();
        insta::assert_snapshot!(found.join("\n"), @r"
        failed-units: `x.service` failed
          Result=exit-code
          ExecMainStatus=203
          x.service: Failed at step EXEC
        coredumps: Process 700 (crasher) of user 0 dumped core.
        kernel-taint: taint 512: the kernel warned
        usr-read-only: `/usr` is mounted from `sysext` with `rw,nodev,relatime`
        restart-loops: `a.service` was restarted 7 times; it is active (running), its result `success`
        clock: it is 3990 s behind the host's
        ");
    }

    #[test]
    fn what_broke_off_is_not_healthy() {
        let cut = HEALTHY.replace("\u{1e}end\n", "");
        for sweep in Sweep::ALL {
            judge_section(sweep, &sections(&cut), &ASKED).expect_err("cut short");
        }
        judge_section(Sweep::KernelTaint, &sections("\u{1e}kernel-taint\n\u{1e}end\n"), &ASKED)
            .expect_err("no number");
    }

    #[test]
    fn names_are_those_of_scenario_files() {
        for sweep in Sweep::ALL {
            let text = serde_json::to_string(&sweep).expect("a name");
            assert_eq!(text, format!("\"{}\"", sweep.name()));
            assert!(SCRIPT.contains(&format!("section {sweep}\n")), "{sweep}");
        }
    }

    proptest! {
        #[test]
        fn nothing_a_guest_says_upsets_it(text in "[\u{1e}\\n =a-z0-9./-]{0,80}") {
            let text = HEALTHY.replace("coredumps\n", &text);
            for sweep in Sweep::ALL {
                let _judged = judge_section(sweep, &sections(&text), &ASKED);
            }
        }

        #[test]
        fn every_taint_bit_is_told(bits in 1_u64..) {
            let judgement = taint(&bits.to_string()).expect("a number");
            let told = judgement.found().matches("; ").count() + 1;
            prop_assert_eq!(told, bits.count_ones() as usize);
        }
    }
}
