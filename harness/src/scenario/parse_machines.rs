// SPDX-License-Identifier: Apache-2.0
use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::parse_machine::machine;
use super::parse_parts::{ignition, sysext};
use super::problems::Problems;
use super::toml_values::{RawIgnition, RawMachine, RawStart, array, read};
use super::{MachineRequest, ParseContext};
use crate::machine::PeerAddress;

type Key<'text> = Spanned<Cow<'text, str>>;

/// The machines that were read so far: one without a name, or several with names.
#[derive(Default)]
pub(super) struct MachinesDraft {
    /// the machine of the keys `machine`, `sysext` and `ignition`
    single: MachineRequest,
    /// the first of these keys and its place
    single_key: Option<(String, Range<usize>)>,
    /// the machines of `[machines]` and its place
    named: Option<(Vec<MachineRequest>, Range<usize>)>,
}

impl MachinesDraft {
    /// Adds a key that describes a single machine.
    pub(super) fn add_single(
        &mut self,
        key: &Key<'_>,
        value: Spanned<DeValue<'_>>,
        context: &ParseContext,
        problems: &mut Problems<'_>,
    ) {
        self.single_key.get_or_insert_with(|| (key.get_ref().to_string(), key.span()));
        match key.get_ref().as_ref() {
            "machine" => add_spec(&mut self.single, value, problems),
            name => add_content(&mut self.single, name, value, context, problems),
        }
    }

    /// Adds `[machines]`.
    pub(super) fn add_named(
        &mut self,
        value: Spanned<DeValue<'_>>,
        context: &ParseContext,
        problems: &mut Problems<'_>,
    ) {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else { return };
        // The order of the file is the order of the addresses.
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let machines = entries
            .into_iter()
            .filter_map(|(name, value)| named_machine(&name, value, context, problems))
            .collect();
        self.named = Some((machines, span));
    }

    /// The machines of the scenario.
    pub(super) fn finish(self, problems: &mut Problems<'_>) -> Vec<MachineRequest> {
        let Some((machines, span)) = self.named else { return vec![self.single] };
        if let Some((key, span)) = self.single_key {
            let hint = match key.as_str() {
                "machine" => "give each machine a name: `[machines.NAME]`".to_owned(),
                _ => format!("write it for each machine: `[machines.NAME.{key}]`"),
            };
            problems.add(span, format!("`{key}` cannot be combined with `machines`"), Some(hint));
        }
        if machines.len() < 2 && problems.is_empty() {
            let hint = "write `[machine]` for a single machine, or name two or more".to_owned();
            problems.add(span, "`machines` needs at least two machines", Some(hint));
        } else if machines.len() > usize::from(PeerAddress::MOST) {
            problems.add(span, format!("a scenario has at most {} machines", PeerAddress::MOST), None);
        }
        machines
    }
}

fn named_machine(
    name: &Key<'_>,
    value: Spanned<DeValue<'_>>,
    context: &ParseContext,
    problems: &mut Problems<'_>,
) -> Option<MachineRequest> {
    if !is_host_name(name.get_ref()) {
        let hint = "the name is the guest's host name: use lower-case letters, digits and `-`".to_owned();
        problems.add(
            name.span(),
            format!("`{}` is not a valid name of a machine", name.get_ref()),
            Some(hint),
        );
    }
    let span = value.span();
    let DeValue::Table(table) = value.into_inner() else { return None };
    let mut request = MachineRequest { name: name.get_ref().to_string(), ..MachineRequest::default() };
    let mut spec = DeTable::new();
    for (key, value) in table {
        match key.get_ref().as_ref() {
            name @ ("sysext" | "ignition") => add_content(&mut request, name, value, context, problems),
            _ => {
                spec.insert(key, value);
            }
        }
    }
    add_spec(&mut request, Spanned::new(span, DeValue::Table(spec)), problems);
    Some(request)
}

/// Adds the hardware of a machine.
fn add_spec(request: &mut MachineRequest, value: Spanned<DeValue<'_>>, problems: &mut Problems<'_>) {
    let raw = read::<RawMachine>(value, problems);
    request.cold = raw.as_ref().is_some_and(|raw| raw.start == RawStart::Cold);
    request.spec = raw.and_then(|raw| machine(raw, problems)).unwrap_or_default();
}

/// Adds the extensions or the Ignition config of a machine.
fn add_content(
    request: &mut MachineRequest,
    key: &str,
    value: Spanned<DeValue<'_>>,
    context: &ParseContext,
    problems: &mut Problems<'_>,
) {
    if key == "sysext" {
        for value in array(value) {
            request.sysexts.extend(sysext(value, context, problems));
        }
    } else {
        let raw = read::<RawIgnition>(value, problems);
        request.ignition = raw.and_then(|raw| ignition(raw, context, problems)).unwrap_or_default();
    }
}

/// Whether a name can be a host name: one label (RFC 1123, section 2.1) in lower case, and not
/// `localhost`.
fn is_host_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty()
        && name.len() <= 63
        && name != "localhost"
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
