// SPDX-License-Identifier: Apache-2.0
use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::format::{RawIgnition, RawMachine, RawStart, read, type_of};
use super::parse::array;
use super::parse_machine::machine;
use super::parse_parts::{ignition, sysext};
use super::problem::Problems;
use super::{MachineRequest, Surroundings};
use crate::machine::PeerAddress;

type Key<'text> = Spanned<Cow<'text, str>>;

/// The machines of a scenario as far as they were read: one without a name, or several with names.
#[derive(Default)]
pub(super) struct Machines {
    /// what the keys `machine`, `sysext` and `ignition` of the file say
    only: MachineRequest,
    /// where the first of them stands
    place: Option<(String, Range<usize>)>,
    /// those of `[machines]`, and where that stands
    named: Option<(Vec<MachineRequest>, Range<usize>)>,
}

impl Machines {
    /// Takes a key of the file that is about its only machine.
    pub(super) fn only(
        &mut self,
        key: &Key<'_>,
        value: Spanned<DeValue<'_>>,
        surroundings: &Surroundings,
        problems: &mut Problems<'_>,
    ) {
        self.place.get_or_insert_with(|| (key.get_ref().to_string(), key.span()));
        match key.get_ref().as_ref() {
            "machine" => take_spec(&mut self.only, value, problems),
            name => take_load(&mut self.only, name, value, surroundings, problems),
        }
    }

    /// Takes `[machines]`.
    pub(super) fn named(
        &mut self,
        value: Spanned<DeValue<'_>>,
        surroundings: &Surroundings,
        problems: &mut Problems<'_>,
    ) {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            let hint = "write `[machines.NAME]`, once for each".to_owned();
            problems.add(span, "`machines` is a table of machines by name", Some(hint));
            return;
        };
        // In the order of the file, which is that of their addresses.
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let machines = entries
            .into_iter()
            .filter_map(|(name, value)| one_of_several(&name, value, surroundings, problems))
            .collect();
        self.named = Some((machines, span));
    }

    /// All of them.
    pub(super) fn finish(self, problems: &mut Problems<'_>) -> Vec<MachineRequest> {
        let Some((machines, span)) = self.named else { return vec![self.only] };
        if let Some((key, place)) = self.place {
            let hint = format!("say for each machine what is on it: `[machines.NAME.{key}]`");
            let hint = if key == "machine" { "give each a name: `[machines.NAME]`".to_owned() } else { hint };
            problems.add(place, format!("`{key}` beside `machines`"), Some(hint));
        }
        if machines.len() < 2 && problems.is_empty() {
            let hint =
                "name each in a `[machines.NAME]`; the only machine of a scenario is `[machine]`".to_owned();
            problems.add(span, "`machines` is for two or more", Some(hint));
        } else if machines.len() > usize::from(PeerAddress::MOST) {
            problems.add(span, format!("a scenario has up to {} machines", PeerAddress::MOST), None);
        }
        machines
    }
}

fn one_of_several(
    name: &Key<'_>,
    value: Spanned<DeValue<'_>>,
    surroundings: &Surroundings,
    problems: &mut Problems<'_>,
) -> Option<MachineRequest> {
    if !is_host_name(name.get_ref()) {
        let hint = "it is the guest's host name: lower-case letters, digits and `-`".to_owned();
        problems.add(name.span(), format!("`{}` cannot name a machine", name.get_ref()), Some(hint));
    }
    let span = value.span();
    let table = match value.into_inner() {
        DeValue::Table(table) => table,
        other => {
            problems.add(span, format!("a machine is a table, this is {}", type_of(&other)), None);
            return None;
        }
    };
    let mut request = MachineRequest { name: name.get_ref().to_string(), ..MachineRequest::default() };
    let mut spec = DeTable::new();
    for (key, value) in table {
        match key.get_ref().as_ref() {
            load @ ("sysext" | "ignition") => take_load(&mut request, load, value, surroundings, problems),
            _ => {
                spec.insert(key, value);
            }
        }
    }
    take_spec(&mut request, Spanned::new(span, DeValue::Table(spec)), problems);
    Some(request)
}

/// Takes what is asked of the machine itself.
fn take_spec(request: &mut MachineRequest, value: Spanned<DeValue<'_>>, problems: &mut Problems<'_>) {
    let raw = read::<RawMachine>(value, problems);
    request.cold = raw.as_ref().is_some_and(|raw| raw.start == RawStart::Cold);
    request.spec = raw.and_then(|raw| machine(raw, problems)).unwrap_or_default();
}

/// Takes what is put on the machine.
fn take_load(
    request: &mut MachineRequest,
    key: &str,
    value: Spanned<DeValue<'_>>,
    surroundings: &Surroundings,
    problems: &mut Problems<'_>,
) {
    if key == "sysext" {
        for value in array(key, value, problems) {
            request.sysexts.extend(sysext(value, surroundings, problems));
        }
    } else {
        let raw = read::<RawIgnition>(value, problems);
        request.ignition = raw.and_then(|raw| ignition(raw, surroundings, problems)).unwrap_or_default();
    }
}

/// Whether a name can be the guest's own: one label of a host name (RFC 1123, section 2.1), in lower
/// case, and not the one that every guest has for itself.
fn is_host_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty()
        && name.len() <= 63
        && name != "localhost"
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
