// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::suggest;
use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::parse_parts::swap;
use super::problem::{Problems, Told};
use super::{Step, StepKind, Surroundings, format};
use crate::check::Check;

/// What a step can be.
pub(super) const KINDS: &[&str] = &[
    "merged",
    "overlay",
    "unit",
    "file",
    "run",
    "docker",
    "containerd",
    "reboot",
    "refresh",
    "unmerge",
    "swap",
];
/// What stands beside any of them.
pub(super) const COMMON: &[&str] = &["summary", "within", "on"];
/// What stands beside `run`.
pub(super) const BESIDE_RUN: &[&str] = &["exit", "signal", "stdout", "stderr", "user", "stdin", "timeout"];

/// `reboot = {}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

type Entry<'text> = (Spanned<Cow<'text, str>>, Spanned<DeValue<'text>>);

/// A step, and the machine that it names.
pub(super) struct Addressed {
    pub(super) step: Step,
    pub(super) on: Option<Spanned<String>>,
}

/// Reads one `[[step]]` or `[[hold]]`.
pub(super) fn step(
    value: Spanned<DeValue<'_>>,
    surroundings: &Surroundings,
    problems: &mut Problems<'_>,
) -> Option<Addressed> {
    let span = value.span();
    let table = match value.into_inner() {
        DeValue::Table(table) => table,
        other => {
            problems.add(span, format!("a step is a table, this is {}", format::type_of(&other)), None);
            return None;
        }
    };
    let line = problems.line(span.start);
    let mut parts = Parts::default();
    let sound = parts.sort(table, problems);
    let summary = parts.summary.take().map(|value| format::read::<String>(value, problems).ok_or(Told));
    let on = parts.on.take().map(|value| format::read::<Spanned<String>>(value, problems).ok_or(Told));
    let within = parts.within.take().map(|(key, value)| (key, read_duration(value, problems).ok_or(Told)));
    let (key, value) = the_only_kind(parts.kinds, sound, span, problems)?;
    if key.get_ref() != "run" {
        for (other, _) in parts.beside_run.drain(..) {
            let cause = format!("`{}` stands beside `run`, not beside `{}`", other.get_ref(), key.get_ref());
            problems.add(other.span(), cause, None);
        }
    }
    let name = key.get_ref().clone();
    let kind = kind(&key, value, parts.beside_run, surroundings, problems)?;
    if let (true, Some((key, _))) = (kind.begins_a_life(), &within) {
        let hint = "`within` repeats a check until it holds; an action is waited for in any case".to_owned();
        problems.add(key.clone(), format!("`within` beside `{name}`"), Some(hint));
        return None;
    }
    // What was given and could not be read was told: the step is dropped with the whole file.
    let summary = summary.transpose().ok()?;
    let within = within.map(|(_, within)| within).transpose().ok()?;
    let on = on.transpose().ok()?;
    sound.then_some(Addressed { step: Step { summary, kind, machine: 0, within, line }, on })
}

/// The entries of a step by what they are for.
#[derive(Default)]
struct Parts<'text> {
    kinds: Vec<Entry<'text>>,
    beside_run: Vec<Entry<'text>>,
    summary: Option<Spanned<DeValue<'text>>>,
    on: Option<Spanned<DeValue<'text>>>,
    within: Option<(Range<usize>, Spanned<DeValue<'text>>)>,
}

impl<'text> Parts<'text> {
    /// Sorts a step's entries and tells the unknown ones; false where there are any.
    fn sort(&mut self, table: DeTable<'text>, problems: &mut Problems<'_>) -> bool {
        let mut sound = true;
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "summary" => self.summary = Some(value),
                "on" => self.on = Some(value),
                "within" => self.within = Some((key.span(), value)),
                name if KINDS.contains(&name) => self.kinds.push((key, value)),
                name if BESIDE_RUN.contains(&name) => self.beside_run.push((key, value)),
                name => {
                    let known = KINDS.iter().chain(COMMON).chain(BESIDE_RUN).copied();
                    let hint = suggest::did_you_mean(name, known);
                    problems.add(key.span(), format!("unknown key `{name}` in a step"), hint);
                    sound = false;
                }
            }
        }
        self.kinds.sort_by_key(|(key, _)| key.span().start);
        sound
    }
}

/// The one entry that says what the step is.
fn the_only_kind<'text>(
    mut kinds: Vec<Entry<'text>>,
    sound: bool,
    step: Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<Entry<'text>> {
    let others: Vec<_> = kinds.drain(1.min(kinds.len())..).collect();
    let Some(first) = kinds.pop() else {
        // An unknown key was told already, and is what the step was meant to be.
        if sound {
            let hint = format!("a step has one of `{}`", KINDS.join("`, `"));
            problems.add(step, "the step does not say what it does", Some(hint));
        }
        return None;
    };
    for (other, _) in &others {
        let cause =
            format!("a step is one thing; this one is `{}` and `{}`", first.0.get_ref(), other.get_ref());
        problems.add(other.span(), cause, Some("make it a step of its own".to_owned()));
    }
    others.is_empty().then_some(first)
}

fn kind(
    key: &Spanned<Cow<'_, str>>,
    value: Spanned<DeValue<'_>>,
    beside_run: Vec<Entry<'_>>,
    surroundings: &Surroundings,
    problems: &mut Problems<'_>,
) -> Option<StepKind> {
    let check = match key.get_ref().as_ref() {
        "reboot" => return format::read::<Nothing>(value, problems).map(|_| StepKind::Reboot),
        "refresh" => return format::read::<Nothing>(value, problems).map(|_| StepKind::Refresh),
        "unmerge" => return format::read::<Nothing>(value, problems).map(|_| StepKind::Unmerge),
        "swap" => return swap(value, surroundings, problems).map(StepKind::Swap),
        "merged" => Check::Merged(read(value, problems)?),
        "overlay" => Check::Overlay(read(value, problems)?),
        "unit" => Check::Unit(read(value, problems)?),
        "file" => Check::File(read(value, problems)?),
        "docker" => Check::Docker(read(value, problems)?),
        "containerd" => Check::Containerd(read(value, problems)?),
        _ => {
            let span = key.span().start..value.span().end;
            let mut table: DeTable<'_> = beside_run.into_iter().collect();
            table.insert(key.clone(), value);
            Check::Run(read(Spanned::new(span, DeValue::Table(table)), problems)?)
        }
    };
    Some(StepKind::Check(Box::new(check)))
}

fn read<T: DeserializeOwned>(value: Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> Option<T> {
    format::read(value, problems)
}

/// Reads a duration at a place of the file.
pub(super) fn read_duration(value: Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> Option<Duration> {
    let span = value.span();
    let text = format::read::<String>(value, problems)?;
    match loadgauge_host::quantity::parse_duration(&text) {
        Ok(duration) => Some(duration),
        Err(cause) => {
            problems.add(span, cause, None);
            None
        }
    }
}
