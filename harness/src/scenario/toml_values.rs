// SPDX-License-Identifier: Apache-2.0
//! The tables of a scenario file as serde reads them, before their values are validated.
use std::ops::Range;
use std::time::Duration;

use camino::Utf8PathBuf;
use loadgauge_builder::Format;
use loadgauge_host::problem::{explain, unknown_key};
use loadgauge_ignition::delivery::Delivery;
use loadgauge_images::Architecture;
use loadgauge_images::image::Era;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use super::problems::Problems;
use super::{LinkRequest, UnitRequest, keys};
use crate::check::{Expectation, duration};
use crate::machine::{FirmwareChoice, Network};

/// `requires = { .. }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRequires {
    #[serde(default)]
    pub(super) era: Vec<Era>,
    pub(super) version: Option<Spanned<String>>,
    pub(super) systemd: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) architecture: Vec<Architecture>,
    #[serde(default)]
    pub(super) base: bool,
}

/// `[machine]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMachine {
    pub(super) memory: Option<Spanned<String>>,
    pub(super) cpus: Option<Spanned<u32>>,
    pub(super) network: Option<Network>,
    #[serde(default)]
    pub(super) start: RawStart,
    pub(super) firmware: Option<FirmwareChoice>,
    #[serde(default)]
    pub(super) disk: Vec<RawDisk>,
    #[serde(default)]
    pub(super) tpm: bool,
    #[serde(default, rename = "kernel-arguments")]
    pub(super) kernel_arguments: Vec<Spanned<String>>,
}

/// `start = ".."`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawStart {
    #[default]
    Auto,
    Cold,
}

/// `[[machine.disk]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDisk {
    pub(super) size: Spanned<String>,
    pub(super) serial: Spanned<String>,
}

/// `[[sysext]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSysext {
    pub(super) recipe: Option<Spanned<String>>,
    pub(super) path: Option<Spanned<Utf8PathBuf>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) format: Option<Spanned<Format>>,
    pub(super) delivery: Option<Delivery>,
}

/// `swap = { .. }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSwap {
    pub(super) recipe: Option<Spanned<String>>,
    pub(super) path: Option<Spanned<Utf8PathBuf>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) format: Option<Spanned<Format>>,
    #[serde(default)]
    pub(super) expect: Expectation,
    #[serde(default, deserialize_with = "duration::optional")]
    pub(super) settle: Option<Duration>,
}

/// `[ignition]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIgnition {
    pub(super) config: Option<Spanned<Utf8PathBuf>>,
    pub(super) butane: Option<Spanned<Utf8PathBuf>>,
    #[serde(default)]
    pub(super) link: Vec<LinkRequest>,
    #[serde(default)]
    pub(super) file: Vec<RawFile>,
    #[serde(default)]
    pub(super) unit: Vec<UnitRequest>,
}

/// `[[ignition.file]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    pub(super) path: Utf8PathBuf,
    pub(super) contents: String,
    pub(super) mode: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) overwrite: bool,
}

/// Keys of earlier versions of the format, with their present names.
const RENAMED: &[(&str, &str)] =
    &[("kernel-words", "kernel-arguments"), ("without", "waive"), ("merged", "expect")];

/// The hint for an unknown key, given the valid ones.
pub(super) fn hint_for_unknown_key(key: &str, known: &[&str]) -> Option<String> {
    unknown_key(key, known, RENAMED)
}

/// Deserializes a value. serde stops at the first error, so every error is added to the problems, its
/// entry is removed, and the rest is read again.
pub(super) fn read<T: DeserializeOwned>(
    mut value: Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let whole = value.span();
    loop {
        let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(result) => return (!problems.is_incomplete(&whole)).then_some(result),
            Err(error) => error,
        };
        let span = error.span().unwrap_or_else(|| whole.clone());
        let mut inside = Vec::new();
        let removed = remove(&mut value, &span, &mut inside);
        // A table that lost an entry may be wrong for that reason only.
        if !problems.is_incomplete(&span) {
            let (cause, hint) = explain(error.message(), keys::SCENARIO, RENAMED);
            problems.add_removed(span, inside, cause, hint);
        }
        if !removed {
            return None;
        }
    }
}

/// The elements of an array of tables.
pub(super) fn array(value: Spanned<DeValue<'_>>) -> Vec<Spanned<DeValue<'_>>> {
    match value.into_inner() {
        DeValue::Array(elements) => elements.into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Removes the innermost entry at a range of bytes from a table or from the values in it. The bytes of the
/// tables and lists that it was in are added to `inside`.
fn remove(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>, inside: &mut Vec<Range<usize>>) -> bool {
    let own = value.span();
    let removed = match value.get_mut() {
        DeValue::Table(table) => {
            if table.iter_mut().any(|(_, value)| remove(value, span, inside)) {
                true
            } else {
                let within = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
                let key = table
                    .iter()
                    .find(|(key, value)| within(key.span()) || within(value.span()))
                    .map(|(key, _)| key.get_ref().clone());
                key.is_some_and(|key| table.remove(&*key).is_some())
            }
        }
        DeValue::Array(array) => array.iter_mut().any(|value| remove(value, span, inside)),
        _ => false,
    };
    if removed {
        inside.push(own);
    }
    removed
}
