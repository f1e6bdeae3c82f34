// SPDX-License-Identifier: Apache-2.0
//! Reads a config from Butane's text.

use camino::Utf8Path;
use ignition_config::v3_3;
use serde::Deserialize;
use serde_saphyr::{Error as YamlError, Location, Spanned};

use super::error::{ButaneCause, ButaneError};
use super::{local::Files, resolve, schema};
use crate::{config::Config, json::prune};

impl Config {
    /// Reads a Butane config, variant `flatcar`, version 1.0.0 or 1.1.0.
    ///
    /// `files` is the directory of local files: `local`, `contents_local`, `ssh_authorized_keys_local` and
    /// `trees` are relative to it, and must not lead out of it by `..` or by a link.
    ///
    /// # Errors
    /// The config is not valid, or a local file cannot be read; see [`ButaneCause`].
    pub fn from_butane(text: &str, files: &Utf8Path) -> Result<Self, ButaneError> {
        header(text)?;
        let mut butane = parse::<schema::Butane>(text)?;
        resolve::resolve(&mut butane, text, &Files::new(files))?;
        let unwritable = |error: serde_json::Error| ButaneError {
            line: 1,
            column: 1,
            cause: ButaneCause::Syntax(error.to_string()),
        };
        let mut value = serde_json::to_value(&butane).map_err(unwritable)?;
        prune(&mut value);
        let fields = value.as_object_mut();
        if let Some(ignition) = fields.map(|fields| fields.entry("ignition").or_insert(serde_json::json!({})))
        {
            ignition["version"] = v3_3::Config::default().ignition.version.into();
        }
        serde_json::from_value(value).map(Config).map_err(unwritable)
    }
}

/// Checks the variant and the version first: in another variant, unknown keys are not the error.
fn header(text: &str) -> Result<(), ButaneError> {
    #[derive(Deserialize)]
    struct Header {
        variant: Option<Spanned<String>>,
        version: Option<Spanned<String>>,
    }
    let header = parse::<Header>(text)?;
    let missing = || Spanned::new("(none)".to_owned(), Location::UNKNOWN, Location::UNKNOWN);
    let variant = header.variant.unwrap_or_else(missing);
    if variant.value != "flatcar" {
        return Err(ButaneError::at(&variant.referenced, ButaneCause::Variant(variant.value)));
    }
    let version = header.version.unwrap_or_else(missing);
    if !["1.0.0", "1.1.0"].contains(&version.value.as_str()) {
        return Err(ButaneError::at(&version.referenced, ButaneCause::Version(version.value)));
    }
    Ok(())
}

fn parse<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, ButaneError> {
    // `mode: 0644` is octal for the YAML library that Butane uses.
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let location = error.location().unwrap_or(Location::UNKNOWN);
        let cause = match error.without_snippet() {
            YamlError::SerdeUnknownField { field, expected, .. } => {
                ButaneCause::UnknownKey { key: field.clone(), known: expected.clone() }
            }
            other => ButaneCause::Syntax(without_place(other)),
        };
        ButaneError::at(&location, cause)
    })
}

/// The parser's message without the place, which the error has already.
fn without_place(error: &YamlError) -> String {
    let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let line = text.lines().next().unwrap_or_default();
    let end = line.rfind(" at line ").unwrap_or(line.len());
    let message = &line[..end];
    let plain = EXPECTED.iter().find(|(event, _)| *event == message);
    plain.map_or_else(|| message.to_owned(), |(_, plain)| (*plain).to_owned())
}

/// Messages of the parser that name its events, in plain words.
const EXPECTED: [(&str, &str); 4] = [
    ("expected sequence start", "expected a list, each element after `- `"),
    ("expected mapping start", "expected keys with values: `key: value`"),
    ("expected string scalar", "expected a text"),
    ("expected scalar", "expected a text, a number, `true` or `false`"),
];
