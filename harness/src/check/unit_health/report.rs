// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::time::Duration;

use super::super::system::{Properties, unit_properties};
use super::message::{Event, Message, read_messages};

/// Separates the parts of the output of [`shell_function`]: a character that journals and properties do not
/// contain unescaped.
pub(in super::super) const MARK: char = '\u{1d}';

/// The properties of a unit that are asked for.
pub(super) const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,Result,UnitFileState,Type,InvocationID,\
                                     NRestarts,Job,ExecMainCode,ExecMainStatus,ConditionResult,AssertResult,\
                                     ActiveEnterTimestampMonotonic";

/// What systemd and the journal say of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct UnitReport {
    /// the name that was asked for
    pub(in super::super) name: String,
    /// the properties of `systemctl show`
    pub(in super::super) properties: Properties,
    /// the messages of the unit, and those of systemd about it, of this boot
    pub(super) messages: Vec<Message>,
    /// how long the guest has been up
    pub(super) uptime: Duration,
}

/// A function of the guest's shell, `unit_report NAME...`, that prints what [`read_reports`] reads. Needs
/// root for the whole journal.
///
/// systemd's messages and the unit's own are asked for apart, so that a unit that writes a lot hides none of
/// systemd's.
pub(in super::super) fn shell_function() -> String {
    let journal = "journalctl -b -q -o json --no-pager --output-fields=MESSAGE,MESSAGE_ID,PRIORITY,UNIT,\
                   INVOCATION_ID,_SYSTEMD_UNIT,_SYSTEMD_INVOCATION_ID";
    format!(
        "unit_report() {{
           for unit; do
             printf '\\035%s\\n' \"$unit\"
             cut -d' ' -f1 /proc/uptime
             systemctl show -p {PROPERTIES} -- \"$unit\"
             id=$(systemctl show -p Id --value -- \"$unit\")
             printf '\\035'
             {journal} -n 500 UNIT=\"$id\"
             {journal} -n 50 _SYSTEMD_UNIT=\"$id\"
           done
         }}"
    )
}

/// Reads the output of [`shell_function`].
///
/// # Errors
/// The output is incomplete or has another format.
pub(in super::super) fn read_reports(text: &str) -> Result<Vec<UnitReport>, String> {
    let mut parts = text.split(MARK).skip(1);
    let mut reports = Vec::new();
    while let Some(unit) = parts.next() {
        let journal = parts.next().ok_or_else(|| format!("the report of `{}` is incomplete", unit.trim()))?;
        let (name, rest) = unit.split_once('\n').unwrap_or((unit, ""));
        let (uptime, properties) = rest.split_once('\n').unwrap_or((rest, ""));
        let uptime = uptime
            .parse()
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| format!("`{uptime}` is not a time in seconds"))?;
        let mut properties = unit_properties(properties)?;
        let (Some(properties), None) = (properties.pop(), properties.pop()) else {
            return Err(format!("`systemctl show` does not have one unit for `{name}`"));
        };
        let id = properties.get("Id").map_or(name, String::as_str);
        let messages = read_messages(journal, id)?;
        reports.push(UnitReport { name: name.to_owned(), properties, messages, uptime });
    }
    Ok(reports)
}

impl UnitReport {
    /// A property, or nothing where systemd does not know it.
    pub(super) fn property(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }

    /// How often the unit was started in this boot, as far as the journal says: each start has an
    /// identifier of its own. Not every kind of unit has a message about its start.
    pub(super) fn starts(&self) -> usize {
        let invocations = self.messages.iter().map(|message| message.invocation.as_str());
        let known: BTreeSet<&str> = invocations.filter(|invocation| !invocation.is_empty()).collect();
        known.len().max(self.failures())
    }

    /// How often the unit failed in this boot, as far as the journal says. `NRestarts` does not count starts
    /// through `Upholds=`.
    pub(in super::super) fn failures(&self) -> usize {
        self.messages.iter().filter(|message| message.event == Some(Event::Failed)).count()
    }

    /// Whether the unit is active now.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.property("ActiveState"), "active" | "reloading" | "refreshing")
    }

    /// For how long it has been active without a pause.
    pub(super) fn active_for(&self) -> Option<Duration> {
        let since: u64 = self.property("ActiveEnterTimestampMonotonic").parse().ok()?;
        self.is_active().then(|| self.uptime.saturating_sub(Duration::from_micros(since)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A report of a service with these properties and messages.
    pub(in super::super) fn report(properties: &str, messages: &str) -> UnitReport {
        let text = format!("{MARK}x.service\n100.5\nId=x.service\n{properties}\n{MARK}{messages}\n");
        read_reports(&text).expect("a report").pop().expect("one unit")
    }

    #[test]
    fn the_time_that_a_unit_is_active_is_by_the_clock_of_the_guest() {
        let active = report("ActiveState=active\nActiveEnterTimestampMonotonic=98500000", "");
        assert_eq!(active.active_for(), Some(Duration::from_secs(2)));
        let failed = report("ActiveState=failed\nActiveEnterTimestampMonotonic=98500000", "");
        assert_eq!(failed.active_for(), None);
    }

    #[test]
    fn starts_and_failures_are_counted_from_the_journal() {
        let entry = |id: &str, time: u32, start: u32| {
            let entry = serde_json::json!({
                "MESSAGE": "m", "MESSAGE_ID": id, "UNIT": "x.service", "INVOCATION_ID": start.to_string(),
                "__REALTIME_TIMESTAMP": time.to_string(),
            });
            format!("{entry}\n")
        };
        let started = |time, start| entry("39f53479d3a045ac8e11786248231fbf", time, start);
        let failed = |time, start| entry("d9b373ed55a64feb8242e02dbe79a49c", time, start);
        let journal = [started(1, 1), failed(2, 1), started(3, 2), failed(4, 2), started(5, 3)].concat();
        let report = report("ActiveState=activating", &journal);
        assert_eq!((report.starts(), report.failures()), (3, 2));
    }

    #[test]
    fn incomplete_output_is_an_error() {
        read_reports("\u{1d}x.service\n1.0\nId=x.service\n").expect_err("no journal");
        read_reports("\u{1d}x.service\nId=x.service\n\u{1d}").expect_err("no uptime");
        assert_eq!(read_reports("").expect("no unit"), []);
    }

    proptest! {
        #[test]
        fn any_output_is_read(text in "[\u{1d}\\n =a-zA-Z0-9./{}\":-]{0,120}") {
            let _read = read_reports(&text);
        }
    }
}
