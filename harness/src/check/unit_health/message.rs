// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use serde_json::Value;

/// A message in the journal that is from a unit or about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// the place in time, in microseconds since 1970
    time: u64,
    /// the text, without line breaks at its end
    pub(super) text: String,
    /// what systemd reports with it
    pub(super) event: Option<Event>,
    /// whether it is from the unit's own processes, and not from systemd
    pub(super) is_own: bool,
    /// the start of the unit that it belongs to (`InvocationID`); empty where it is not known
    pub(super) invocation: String,
    /// the level of syslog(3): 3 is an error, 4 a warning
    level: u8,
}

/// What systemd reports of a unit, by its message identifier (sd-messages.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// the unit is being started
    Starting,
    /// the unit was skipped, or could not be started
    StartFailed,
    /// a service ended, with a result other than success
    Failed,
}

const EVENTS: &[(&str, Event)] = &[
    ("7d4958e842da4a758f6c1cdc7b36dcc5", Event::Starting),
    ("be02cf6855d2428ba40df7e9d022f03d", Event::StartFailed),
    ("d9b373ed55a64feb8242e02dbe79a49c", Event::Failed),
];

/// The message identifier of [`Event::Failed`].
pub(in super::super) const FAILED: &str = EVENTS[2].0;

/// The level of warnings.
const WARNING: u8 = 4;

impl Message {
    /// Whether it may say why the unit is not active.
    pub(super) fn is_telling(&self) -> bool {
        let is_result = self.event == Some(Event::Failed);
        (self.is_own || self.level <= WARNING || self.unmet_condition().is_some()) && !is_result
    }

    /// The condition because of which systemd skipped the unit, such as `ConditionPathExists=/x`.
    pub(super) fn unmet_condition(&self) -> Option<&str> {
        if self.is_own || !self.text.contains(" skipped because ") {
            return None;
        }
        let start = self.text.find("(Condition").or_else(|| self.text.find("(Assert"))?;
        let condition = &self.text[start + 1..];
        condition.rsplit_once(')').map(|(condition, _)| condition)
    }
}

/// Reads lines of `journalctl -o json`, of which `unit` is the name. Repeated messages are returned once, in
/// order of time. Lines that are not JSON are an error.
pub(super) fn read_messages(text: &str, unit: &str) -> Result<Vec<Message>, String> {
    let mut messages = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Value = serde_json::from_str(line)
            .map_err(|error| format!("`{line}` is not a journal entry: {error}"))?;
        let field = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or("");
        let time = field("__REALTIME_TIMESTAMP").parse().unwrap_or_default();
        let is_own = field("_SYSTEMD_UNIT") == unit && field("UNIT") != unit;
        let event = EVENTS.iter().find(|(id, _)| *id == field("MESSAGE_ID")).map(|&(_, event)| event);
        let invocation = if is_own { field("_SYSTEMD_INVOCATION_ID") } else { field("INVOCATION_ID") };
        let message = Message {
            time,
            text: text_of(fields.get("MESSAGE")),
            event: event.filter(|_| !is_own),
            is_own,
            invocation: invocation.to_owned(),
            level: field("PRIORITY").parse().unwrap_or(6),
        };
        messages.insert((time, field("__CURSOR").to_owned()), message);
    }
    Ok(messages.into_values().collect())
}

/// The text of a message. The journal writes texts with control characters as arrays of bytes, and null
/// for those above 4 KiB.
fn text_of(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.trim_end().to_owned(),
        Some(Value::Array(bytes)) => {
            let bytes: Vec<u8> = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
            String::from_utf8_lossy(&bytes).trim_end().to_owned()
        }
        _ => "(a message that is longer than 4 KiB)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> Message {
        read_messages(line, "x.service").expect("it is read").pop().expect("a message")
    }

    #[test]
    fn own_messages_and_those_of_systemd_are_told_apart() {
        let own = one(r#"{"__REALTIME_TIMESTAMP":"5","__CURSOR":"a","MESSAGE":"no such file","PRIORITY":"6",
            "_SYSTEMD_UNIT":"x.service","_SYSTEMD_INVOCATION_ID":"1f"}"#
            .replace('\n', "")
            .as_str());
        assert_eq!((own.is_own, own.is_telling(), own.invocation.as_str()), (true, true, "1f"));
        let systemd = r#"{"__REALTIME_TIMESTAMP":"6","MESSAGE":"x.service: Failed with result 'exit-code'.",
            "MESSAGE_ID":"d9b373ed55a64feb8242e02dbe79a49c","PRIORITY":"4","UNIT":"x.service",
            "_SYSTEMD_UNIT":"init.scope","INVOCATION_ID":"1f"}"#;
        let systemd = one(&systemd.replace('\n', ""));
        assert_eq!(
            (systemd.is_own, systemd.is_telling(), systemd.event),
            (false, false, Some(Event::Failed))
        );
        // systemd's child before it executes the program has the control group of the unit already.
        let child = one(
            r#"{"MESSAGE":"x.service: Failed at step EXEC","PRIORITY":"3","UNIT":"x.service","_SYSTEMD_UNIT":"x.service"}"#,
        );
        assert_eq!((child.is_own, child.is_telling()), (false, true));
    }

    #[test]
    fn an_unmet_condition_is_named() {
        for (text, expected) in [
            (
                "x.service - X was skipped because of an unmet condition check (ConditionPathExists=/etc/x).",
                Some("ConditionPathExists=/etc/x"),
            ),
            (
                "X was skipped because of a failed condition check (ConditionPathExists=!/a(b)).",
                Some("ConditionPathExists=!/a(b)"),
            ),
            ("Started x.service - (Condition).", None),
        ] {
            let line = serde_json::json!({"MESSAGE": text, "UNIT": "x.service", "PRIORITY": "6"}).to_string();
            assert_eq!(one(&line).unmet_condition(), expected, "{text}");
        }
    }

    #[test]
    fn bytes_and_long_messages_are_read() {
        assert_eq!(one(r#"{"MESSAGE":[27,91,49,109,104,105]}"#).text, "\u{1b}[1mhi");
        assert!(one(r#"{"MESSAGE":null}"#).text.contains("4 KiB"));
        read_messages("no entries", "x.service").expect_err("not JSON");
    }

    proptest! {
        #[test]
        fn any_output_is_read(text in "[ -~\\n]{0,80}", value in any::<i64>()) {
            let _read = read_messages(&text, "x.service");
            let entry = format!("{{\"MESSAGE\":[{value}],\"PRIORITY\":{value}}}");
            prop_assert_eq!(read_messages(&entry, "x.service").expect("an entry").len(), 1);
        }
    }
}
