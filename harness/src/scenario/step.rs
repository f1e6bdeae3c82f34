// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use camino::Utf8PathBuf;

use super::{Source, SysextRequest};
use crate::check::{Change, Check, Expectation, Swap};

/// One check or one action.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// what it claims, in the author's words
    pub summary: Option<String>,
    /// what is done
    pub kind: StepKind,
    /// which of the scenario's machines it asks, counted from 0
    pub machine: usize,
    /// for how long a check is repeated until it holds, for KVM; once when not given
    pub within: Option<Duration>,
    /// 1-based line of the scenario file
    pub line: usize,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// asks the guest something
    Check(Box<Check>),
    /// restarts the guest and waits until it is up again, with another boot id
    Reboot,
    /// has systemd-sysext look at its extensions again
    Refresh,
    /// takes all extensions off and puts them back
    Unmerge,
    /// brings an image in while the guest runs
    Swap(SwapRequest),
}

/// An extension that is brought in while the guest runs.
#[derive(Debug, Clone, PartialEq)]
pub struct SwapRequest {
    /// what is brought in
    pub sysext: SysextRequest,
    /// whether systemd-sysext must merge it or refuse it
    pub expect: Expectation,
}

impl SwapRequest {
    /// The change that it is, with the name and the file of the image.
    pub(super) fn change(&self, name: String, file: Utf8PathBuf) -> Change {
        Change::Swap(Swap { name, file, expect: self.expect })
    }
}

/// A step in the order of execution.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStep {
    /// 1-based
    pub number: usize,
    /// which life of the guest it asks: 0 after the boot, 1 after the first reboot
    pub life: usize,
    /// what began this life; nothing did the first
    pub after: Option<&'static str>,
    /// whether the scenario named it once to be checked in every life
    pub hold: bool,
    /// the change of what is merged that the step makes, once its image is there
    pub change: Option<Change>,
    /// the step
    pub step: Step,
}

impl Step {
    /// What it claims: the author's words, or what it does.
    pub fn title(&self) -> String {
        self.summary.clone().unwrap_or_else(|| self.kind.summary())
    }
}

impl StepKind {
    /// Whether the guest is another one afterwards, so that what must hold is asked again.
    pub fn begins_a_life(&self) -> bool {
        !matches!(self, Self::Check(_))
    }

    /// What it does, where the author did not say it.
    pub fn summary(&self) -> String {
        match self {
            Self::Check(check) => check.summary(),
            Self::Reboot => "the guest reboots".to_owned(),
            Self::Refresh => Change::Refresh.summary(),
            Self::Unmerge => Change::Unmerge.summary(),
            Self::Swap(request) => {
                let stem = match &request.sysext.source {
                    Source::Recipe(path) | Source::Image(path) => path.file_stem(),
                };
                let name = request.sysext.name.as_deref().or(stem).unwrap_or_default();
                request.change(name.to_owned(), Utf8PathBuf::new()).summary()
            }
        }
    }

    /// What it is called where a check is made again because of it.
    fn noun(&self) -> &'static str {
        match self {
            Self::Check(_) => "the check",
            Self::Reboot => "the reboot",
            Self::Refresh => "the refresh",
            Self::Unmerge => "the merge",
            Self::Swap(_) => "the swap",
        }
    }
}

/// The number of a life, and what began it.
type Life = (usize, Option<&'static str>);

/// Puts what must hold behind the boot and behind every change of life cycle, and numbers all.
pub fn expand(hold: &[Step], steps: &[Step]) -> Vec<PlannedStep> {
    let mut life = (0, None);
    let in_life = |life| hold.iter().map(move |step| (life, true, step));
    let mut ordered: Vec<(Life, bool, &Step)> = in_life(life).collect();
    for step in steps {
        ordered.push((life, false, step));
        if step.kind.begins_a_life() {
            life = (life.0 + 1, Some(step.kind.noun()));
            ordered.extend(in_life(life));
        }
    }
    let number = |(index, ((life, after), hold, step)): (usize, (Life, bool, &Step))| PlannedStep {
        number: index + 1,
        life,
        after,
        hold,
        change: match step.kind {
            StepKind::Refresh => Some(Change::Refresh),
            StepKind::Unmerge => Some(Change::Unmerge),
            // Its file is not known before it is built, and there is none by this name.
            StepKind::Swap(ref request) => Some(request.change(String::new(), Utf8PathBuf::new())),
            StepKind::Check(_) | StepKind::Reboot => None,
        },
        step: step.clone(),
    };
    ordered.into_iter().enumerate().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(summary: &str, kind: StepKind) -> Step {
        Step { summary: Some(summary.to_owned()), kind, machine: 0, within: None, line: 1 }
    }

    #[test]
    fn what_must_hold_is_asked_in_every_life() {
        let check = |summary| {
            step(summary, StepKind::Check(Box::new(Check::Run(crate::check::RunCheck::new("true")))))
        };
        let hold = [check("h1"), check("h2")];
        let steps = [check("a"), step("reboot", StepKind::Reboot), check("b")];
        let planned: Vec<(usize, usize, bool, String)> = expand(&hold, &steps)
            .into_iter()
            .map(|planned| (planned.number, planned.life, planned.hold, planned.step.title()))
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
            .map(|(number, life, hold, title)| (*number, *life, *hold, (*title).to_owned()))
            .collect();
        assert_eq!(planned, expected);
    }
}
