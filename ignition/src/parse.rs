// SPDX-License-Identifier: Apache-2.0
//! Reads a config from JSON.

use std::{cell::Cell, io::Read, rc::Rc};

use ignition_config::{v3_0, v3_1, v3_2, v3_3};
use loadgauge_host::{Hint, suggest::nearest};
use serde::Deserialize;
use serde_json::Value;

use crate::{config::Config, json::prune};

/// A config that cannot be read, with the place in its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {cause}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
    /// The reason.
    pub cause: ParseCause,
}

/// The reason why a config cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCause {
    /// The text is not JSON, or not of the specification's types; the parser's message.
    #[error("{0}")]
    Syntax(String),
    /// The version is missing.
    #[error("`ignition.version` is missing, so this is not an Ignition config")]
    NoVersion,
    /// The specification is not supported.
    #[error("specification `{0}` is not supported, expected `3.0.0` to `3.3.0`")]
    Version(String),
    /// The specification does not have the key. Ignition would ignore it.
    #[error("`{0}` is not a key of Ignition's specification {1}")]
    UnknownKey(String, String),
}

impl Hint for ParseError {
    fn hint(&self) -> Option<String> {
        match &self.cause {
            ParseCause::Syntax(_) => None,
            ParseCause::NoVersion => Some(
                "begin with `{\"ignition\": {\"version\": \"3.3.0\"}`, or name a Butane config (YAML) `*.bu`"
                    .to_owned(),
            ),
            ParseCause::Version(version) if version.starts_with("2.") || version.starts_with("1.") => {
                Some("write it as Butane, variant `flatcar`, version `1.0.0`".to_owned())
            }
            ParseCause::Version(_) => {
                Some("write `3.3.0`, which every Flatcar release since 3185 accepts".to_owned())
            }
            ParseCause::UnknownKey(path, _) => {
                let key = path.rsplit('.').next().unwrap_or(path);
                nearest(key, KEYS.split(' ')).map(|known| format!("did you mean `{known}`?"))
            }
        }
    }
}

impl Config {
    /// Reads a config of specification 3.0.0 to 3.3.0, and converts it to 3.3.0.
    ///
    /// # Errors
    /// The text is not valid. Unknown and duplicate keys are errors; Ignition only warns about unknown ones.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let version = version(text)?;
        match version.as_str() {
            "3.0.0" => check_keys::<v3_0::Config>(text, &version)?,
            "3.1.0" => check_keys::<v3_1::Config>(text, &version)?,
            "3.2.0" => check_keys::<v3_2::Config>(text, &version)?,
            "3.3.0" => check_keys::<v3_3::Config>(text, &version)?,
            _ => {
                let at = text.find(&version).unwrap_or_default();
                return Err(at_offset(text, at, ParseCause::Version(version)));
            }
        }
        let mut value = serde_json::from_str::<Value>(text).map_err(|error| from_json(&error))?;
        prune(&mut value);
        let mut config = serde_json::from_value::<v3_3::Config>(value).map_err(|error| from_json(&error))?;
        config.ignition.version = v3_3::Config::default().ignition.version;
        Ok(Self(config))
    }
}

/// Reads the version, before anything else is checked.
fn version(text: &str) -> Result<String, ParseError> {
    #[derive(Deserialize)]
    struct Outer {
        ignition: Option<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        version: Option<String>,
    }
    let outer = serde_json::from_str::<Outer>(text).map_err(|error| from_json(&error))?;
    let version = outer.ignition.and_then(|inner| inner.version);
    version.ok_or_else(|| at_offset(text, 0, ParseCause::NoVersion))
}

/// Reads the text with the types of its version, and reports the first unknown key.
///
/// serde_ignored knows the path of a key but not its place; the reader counts the bytes that the parser has
/// read at that moment, which ends just behind the key.
fn check_keys<'de, T: Deserialize<'de>>(text: &'de str, version: &str) -> Result<(), ParseError> {
    let position = Rc::new(Cell::new(0));
    let reader = Counting { rest: text.as_bytes(), position: Rc::clone(&position) };
    let mut unknown = None;
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    serde_ignored::deserialize::<_, _, T>(&mut deserializer, |path| {
        unknown.get_or_insert((position.get(), path.to_string()));
    })
    .map_err(|error| from_json(&error))?;
    let Some((behind, path)) = unknown else { return Ok(()) };
    let path = path.replace(".?", "");
    let key = format!("\"{}\"", path.rsplit('.').next().unwrap_or(&path));
    let at = text.get(..behind).and_then(|before| before.rfind(&key)).unwrap_or(behind);
    Err(at_offset(text, at, ParseCause::UnknownKey(path, version.to_owned())))
}

struct Counting<'a> {
    rest: &'a [u8],
    position: Rc<Cell<usize>>,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.rest.read(buffer)?;
        self.position.set(self.position.get() + count);
        Ok(count)
    }
}

fn at_offset(text: &str, offset: usize, cause: ParseCause) -> ParseError {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let lines = before.split(|&byte| byte == b'\n').collect::<Vec<_>>();
    let column = 1 + lines.last().map_or(0, |line| line.len());
    ParseError { line: lines.len(), column, cause }
}

fn from_json(error: &serde_json::Error) -> ParseError {
    let text = error.to_string();
    // The error has the place already.
    let place = format!(" at line {} column {}", error.line(), error.column());
    let cause = ParseCause::Syntax(text.strip_suffix(&place).unwrap_or(&text).to_owned());
    ParseError { line: error.line().max(1), column: error.column().max(1), cause }
}

/// All keys of the specification 3.3.0, for suggestions.
const KEYS: &str = "append certificateAuthorities clevis compression config contents custom device devices directories \
    disks dropins enabled files filesystems format gecos gid group groups guid hard hash homeDir \
    httpHeaders httpProxy httpResponseHeaders httpTotal httpsProxy id ignition kernelArguments keyFile \
    label level links luks mask merge mode mountOptions name needsNetwork noCreateHome noLogInit noProxy \
    noUserGroup number options overwrite partitions passwd passwordHash path pin primaryGroup proxy raid \
    replace resize security shell shouldExist shouldNotExist sizeMiB source spares sshAuthorizedKeys \
    startMiB storage system systemd tang target threshold thumbprint timeouts tls tpm2 typeGuid uid \
    units url user users uuid value verification version wipeFilesystem wipePartitionEntry wipeTable \
    wipeVolume";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn failure(text: &str) -> (String, Option<String>) {
        let error = Config::parse(text).expect_err("the text is wrong");
        (error.to_string(), error.hint())
    }

    #[test]
    fn older_specifications_become_the_newest() {
        for version in ["3.0.0", "3.1.0", "3.2.0", "3.3.0"] {
            let text = format!(
                r#"{{"ignition": {{"version": "{version}"}}, "storage": {{"files": [], "links": null}}}}"#
            );
            assert_eq!(Config::parse(&text), Ok(Config::new()));
        }
    }

    #[test]
    fn an_unknown_key_has_its_place_and_what_was_meant() {
        let text = "{\"ignition\": {\"version\": \"3.3.0\"},\n \"storage\": {\"files\": [{\"path\": \"/a\",\n   \"content\": {}}]}}";
        assert_eq!(
            failure(text),
            (
                "line 3, column 4: `storage.files.0.content` is not a key of Ignition's specification 3.3.0"
                    .into(),
                Some("did you mean `contents`?".into())
            )
        );
    }

    #[test]
    fn every_key_is_known() {
        fn keys(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(fields) => {
                    for (key, value) in fields {
                        found.insert(key.clone());
                        keys(value, found);
                    }
                }
                Value::Array(list) => list.iter().for_each(|value| keys(value, found)),
                _ => {}
            }
        }
        let text = include_str!("butane/everything.bu");
        let config = Config::from_butane(text, camino::Utf8Path::new(".")).expect("it has every key");
        let mut found = BTreeSet::new();
        keys(&serde_json::from_str(&config.to_json()).expect("JSON"), &mut found);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), KEYS.split(' ').collect::<Vec<_>>());
    }

    #[test]
    fn a_key_of_a_later_specification_is_unknown_to_an_earlier() {
        let text = r#"{"ignition": {"version": "3.0.0"}, "kernelArguments": {"shouldExist": ["quiet"]}}"#;
        assert_eq!(
            failure(text).0,
            "line 1, column 36: `kernelArguments` is not a key of Ignition's specification 3.0.0"
        );
    }

    #[test]
    fn versions_and_syntax() {
        assert_eq!(
            failure("{\n\"ignition\": {\"version\": \"2.3.0\"}}").0,
            "line 2, column 26: specification `2.3.0` is not supported, expected `3.0.0` to `3.3.0`"
        );
        assert_eq!(
            failure("{}").0,
            "line 1, column 1: `ignition.version` is missing, so this is not an Ignition config"
        );
        assert_eq!(failure("variant: flatcar").0, "line 1, column 1: expected value");
        assert_eq!(failure("").0, "line 1, column 1: EOF while parsing a value");
        let twice = r#"{"ignition": {"version": "3.3.0"}, "storage": {}, "storage": {}}"#;
        assert_eq!(failure(twice).0, "line 1, column 60: duplicate field `storage`");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            let _ = Config::parse(&text);
        }

        #[test]
        fn parsing_a_damaged_config_never_panics(at in 0_usize..200, byte in any::<u8>()) {
            let mut bytes = br#"{"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"/a","mode":420,"contents":{"source":"data:,x"}}]},"systemd":{"units":[{"name":"a.service","mask":true,"extra":[{}]}]}}"#.to_vec();
            let length = bytes.len();
            bytes[at % length] = byte;
            let _ = Config::parse(&String::from_utf8_lossy(&bytes));
        }
    }
}
