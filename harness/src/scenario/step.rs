// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use camino::Utf8PathBuf;

use super::SysextRequest;
use crate::check::{Change, Check, Expectation, Swap};

/// One check or one action.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// the author's description
    pub summary: Option<String>,
    /// the check or action
    pub kind: StepKind,
    /// 0-based number of the machine
    pub machine: usize,
    /// time for which a check is repeated until it holds, for KVM; a single try where absent
    pub within: Option<Duration>,
    /// 1-based line of the scenario file; 0 without a file
    pub line: usize,
}

/// The check or action of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// checks the guest
    Check(Box<Check>),
    /// reboots the guest and waits for another boot id
    Reboot,
    /// runs `systemd-sysext refresh`
    Refresh,
    /// runs `systemd-sysext unmerge` and `systemd-sysext merge`
    Unmerge,
    /// installs an image while the guest runs
    Swap(SwapRequest),
}

/// An extension to install while the guest runs.
#[derive(Debug, Clone, PartialEq)]
pub struct SwapRequest {
    /// recipe or image
    pub sysext: SysextRequest,
    /// whether systemd-sysext must merge it or refuse it
    pub expect: Expectation,
    /// for how long the units that it starts must be active without a pause
    pub settle: Duration,
}

impl SwapRequest {
    /// The change of the guest, given the name and the file of the image.
    pub(super) fn change(&self, name: String, file: Utf8PathBuf) -> Change {
        Change::Swap(Swap { name, file, expect: self.expect, settle: self.settle })
    }
}

/// A step with its place in the order of execution.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStep {
    /// 1-based number
    pub number: usize,
    /// number of actions before this step: 0 right after the boot
    pub phase: usize,
    /// the action that began the phase; absent right after the boot
    pub after: Option<&'static str>,
    /// whether the step is from `[[hold]]`, so that every phase repeats it
    pub hold: bool,
    /// the change of the merged extensions that the step makes
    pub change: Option<Change>,
    /// the step
    pub step: Step,
}

impl Step {
    /// A step for the only machine of a scenario that was not read from a file.
    pub fn new(kind: StepKind) -> Self {
        Self { summary: None, kind, machine: 0, within: None, line: 0 }
    }

    /// The author's description, or a generated one.
    pub fn title(&self) -> String {
        self.summary.clone().unwrap_or_else(|| self.kind.summary())
    }
}

impl StepKind {
    /// Whether this is an action, after which `[[hold]]` is checked again.
    pub fn is_action(&self) -> bool {
        !matches!(self, Self::Check(_))
    }

    /// A description, for steps without one of the author's.
    pub fn summary(&self) -> String {
        match self {
            Self::Check(check) => check.summary(),
            Self::Reboot => "the guest reboots".to_owned(),
            Self::Refresh => Change::Refresh.summary(),
            Self::Unmerge => Change::Unmerge.summary(),
            Self::Swap(request) => {
                let name = request.sysext.expected_name().to_owned();
                request.change(name, Utf8PathBuf::new()).summary()
            }
        }
    }

    /// The action as a noun, for the title of a check that is made again after it.
    fn noun(&self) -> &'static str {
        match self {
            Self::Check(_) => "the check",
            Self::Reboot => "the reboot",
            Self::Refresh => "the refresh",
            Self::Unmerge => "the merge",
            Self::Swap(_) => "the swap",
        }
    }

    /// The change of the merged extensions. The name and file of a swap are empty until its image was
    /// built.
    fn change(&self) -> Option<Change> {
        match self {
            Self::Refresh => Some(Change::Refresh),
            Self::Unmerge => Some(Change::Unmerge),
            Self::Swap(request) => Some(request.change(String::new(), Utf8PathBuf::new())),
            Self::Check(_) | Self::Reboot => None,
        }
    }
}

/// Puts the `[[hold]]` checks behind the boot and behind every action, and numbers all steps.
pub(super) fn expand(hold: &[Step], steps: &[Step]) -> Vec<PlannedStep> {
    let mut planned: Vec<PlannedStep> = Vec::new();
    let mut push = |phase: usize, after: Option<&'static str>, hold: bool, step: &Step| {
        let (number, change) = (planned.len() + 1, step.kind.change());
        planned.push(PlannedStep { number, phase, after, hold, change, step: step.clone() });
    };
    let (mut phase, mut after) = (0, None);
    for step in hold {
        push(phase, after, true, step);
    }
    for step in steps {
        push(phase, after, false, step);
        if step.kind.is_action() {
            (phase, after) = (phase + 1, Some(step.kind.noun()));
            for step in hold {
                push(phase, after, true, step);
            }
        }
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::RunCheck;

    #[test]
    fn hold_is_checked_in_every_phase() {
        let step = |summary: &str, kind| Step { summary: Some(summary.to_owned()), ..Step::new(kind) };
        let check = |summary| step(summary, StepKind::Check(Box::new(Check::Run(RunCheck::new("true")))));
        let hold = [check("h1"), check("h2")];
        let steps = [check("a"), step("reboot", StepKind::Reboot), check("b")];
        let planned: Vec<(usize, usize, bool, String)> = expand(&hold, &steps)
            .into_iter()
            .map(|planned| (planned.number, planned.phase, planned.hold, planned.step.title()))
            .collect();
        let expected = [
            (1, 0, true, "h1"),
            (2, 0, true, "h2"),
            (3, 0, false, "a"),
            (4, 0, false, "reboot"),
            (5, 1, true, "h1"),
            (6, 1, true, "h2"),
            (7, 1, false, "b"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(number, phase, hold, title)| (*number, *phase, *hold, (*title).to_owned()))
            .collect();
        assert_eq!(planned, expected);
    }
}
