// SPDX-License-Identifier: Apache-2.0
use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use loadgauge_host::toml_keys::names;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::STEP;
use super::parse_parts::swap;
use super::problems::{AlreadyReported, Problems};
use super::senseless::senseless;
use super::toml_values::{hint_for_unknown_key, read};
use super::{ParseContext, Step, StepKind};
use crate::check::Check;

/// The kinds of steps.
const KINDS: &[&str] = &[
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
/// Keys of steps of the kind `run`.
const RUN_KEYS: &[&str] = &["exit", "signal", "stdout", "stderr", "user", "stdin", "timeout"];

/// `reboot = {}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyTable {}

type KeyValue<'text> = (Spanned<Cow<'text, str>>, Spanned<DeValue<'text>>);

/// A step with the name of its machine.
pub(super) struct ParsedStep {
    pub(super) step: Step,
    pub(super) on: Option<Spanned<String>>,
}

/// Reads one `[[step]]` or `[[hold]]`.
pub(super) fn step(
    value: Spanned<DeValue<'_>>,
    context: &ParseContext,
    problems: &mut Problems<'_>,
) -> Option<ParsedStep> {
    let span = value.span();
    let DeValue::Table(table) = value.into_inner() else { return None };
    let line = problems.line(span.start);
    let mut keys = StepKeys::default();
    let sound = keys.add_all(table, problems) && !problems.is_incomplete(&span);
    let summary = keys.summary.take().map(|value| read::<String>(value, problems).ok_or(AlreadyReported));
    let on = keys.on.take().map(|value| read::<Spanned<String>>(value, problems).ok_or(AlreadyReported));
    let within =
        keys.within.take().map(|(key, value)| (key, read_duration(value, problems).ok_or(AlreadyReported)));
    let (key, value) = single_kind(keys.kinds, sound, span, problems)?;
    if key.get_ref() != "run" {
        for (other, _) in keys.run_keys.drain(..) {
            let cause = format!("`{}` belongs to `run`, not to `{}`", other.get_ref(), key.get_ref());
            problems.add(other.span(), cause, None);
        }
    }
    let name = key.get_ref().clone();
    let kind = kind(&key, value, keys.run_keys, context, problems)?;
    if let (true, Some((key, _))) = (kind.is_action(), &within) {
        let hint = "remove it; `within` repeats a check until it holds, and actions have limits of their own"
            .to_owned();
        problems.add(key.clone(), format!("`within` cannot be combined with `{name}`"), Some(hint));
        return None;
    }
    // A value that could not be read was reported, and the file is rejected.
    let summary = summary.transpose().ok()?;
    let within = within.map(|(_, within)| within).transpose().ok()?;
    let on = on.transpose().ok()?;
    sound.then_some(ParsedStep { step: Step { summary, kind, machine: 0, within, line }, on })
}

/// The keys of a step by their meaning.
#[derive(Default)]
struct StepKeys<'text> {
    kinds: Vec<KeyValue<'text>>,
    run_keys: Vec<KeyValue<'text>>,
    summary: Option<Spanned<DeValue<'text>>>,
    on: Option<Spanned<DeValue<'text>>>,
    within: Option<(Range<usize>, Spanned<DeValue<'text>>)>,
}

impl<'text> StepKeys<'text> {
    /// Adds all keys of a step. Returns false after unknown keys, which are reported.
    fn add_all(&mut self, table: DeTable<'text>, problems: &mut Problems<'_>) -> bool {
        let mut sound = true;
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "summary" => self.summary = Some(value),
                "on" => self.on = Some(value),
                "within" => self.within = Some((key.span(), value)),
                name if KINDS.contains(&name) => self.kinds.push((key, value)),
                name if RUN_KEYS.contains(&name) => self.run_keys.push((key, value)),
                name => {
                    let hint = hint_for_unknown_key(name, &names(STEP));
                    problems.add(key.span(), format!("unknown key `{name}` in a step"), hint);
                    sound = false;
                }
            }
        }
        self.kinds.sort_by_key(|(key, _)| key.span().start);
        sound
    }
}

/// The key that is the kind of the step.
fn single_kind<'text>(
    mut kinds: Vec<KeyValue<'text>>,
    sound: bool,
    step: Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<KeyValue<'text>> {
    let others: Vec<_> = kinds.drain(1.min(kinds.len())..).collect();
    let Some(first) = kinds.pop() else {
        // An unknown key was reported already, and was probably meant as the kind.
        if sound {
            let hint = format!("add one of `{}`", KINDS.join("`, `"));
            problems.add(step, "the step has neither a check nor an action", Some(hint));
        }
        return None;
    };
    for (other, _) in &others {
        let cause = format!("a step cannot have both `{}` and `{}`", first.0.get_ref(), other.get_ref());
        problems.add(other.span(), cause, Some("make it another step".to_owned()));
    }
    others.is_empty().then_some(first)
}

fn kind(
    key: &Spanned<Cow<'_, str>>,
    value: Spanned<DeValue<'_>>,
    run_keys: Vec<KeyValue<'_>>,
    context: &ParseContext,
    problems: &mut Problems<'_>,
) -> Option<StepKind> {
    let at = value.span();
    let check = match key.get_ref().as_ref() {
        "reboot" => return read::<EmptyTable>(value, problems).map(|_| StepKind::Reboot),
        "refresh" => return read::<EmptyTable>(value, problems).map(|_| StepKind::Refresh),
        "unmerge" => return read::<EmptyTable>(value, problems).map(|_| StepKind::Unmerge),
        "swap" => return swap(value, context, problems).map(StepKind::Swap),
        "merged" => Check::Merged(read(value, problems)?),
        "overlay" => Check::Overlay(read(value, problems)?),
        "unit" => Check::Unit(read(value, problems)?),
        "file" => Check::File(read(value, problems)?),
        "docker" => Check::Docker(read(value, problems)?),
        "containerd" => Check::Containerd(read(value, problems)?),
        _ => {
            let span = key.span().start..value.span().end;
            let mut table: DeTable<'_> = run_keys.into_iter().collect();
            table.insert(key.clone(), value);
            Check::Run(read(Spanned::new(span, DeValue::Table(table)), problems)?)
        }
    };
    if let Some((cause, hint)) = senseless(&check) {
        problems.add(at, cause, Some(hint));
        return None;
    }
    Some(StepKind::Check(Box::new(check)))
}

/// Reads a duration.
pub(super) fn read_duration(value: Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> Option<Duration> {
    let span = value.span();
    let text = read::<String>(value, problems)?;
    match loadgauge_host::quantity::parse_duration(&text) {
        Ok(duration) => Some(duration),
        Err(cause) => {
            problems.add(span, cause, None);
            None
        }
    }
}
