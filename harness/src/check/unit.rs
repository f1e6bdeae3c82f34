// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use loadgauge_host::quote;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::guest::Command;

use super::recorder::{CheckError, Recorder};
use super::unit_health::{SETTLE, UnitReport, read_reports, settled, shell_function};
use super::{Assertions, duration};

/// The values of `ActiveState` (org.freedesktop.systemd1(5)).
const ACTIVE: &[&str] =
    &["active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance", "refreshing"];

/// The states of units: `unit = { "docker.socket" = "active", "x.service" = { sub = "running" } }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct UnitCheck {
    /// expected states by name of the unit
    pub units: BTreeMap<String, UnitState>,
}

/// The expected state of a unit. The fields are properties of `systemctl show`; absent ones are not
/// checked. A string is short for `active`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// `ActiveState`: `active`, `inactive`, `failed` ...
    pub active: Option<String>,
    /// `SubState`: `running`, `listening`, `exited`, `dead` ...
    pub sub: Option<String>,
    /// `LoadState`: `loaded`, `not-found`, `masked`, `bad-setting` ...
    pub load: Option<String>,
    /// `Result`: `success`, `exit-code`, `signal` ...
    pub result: Option<String>,
    /// `UnitFileState`: `enabled`, `disabled`, `static`, `masked` ...
    pub file_state: Option<String>,
    /// how long the unit must be active without a pause; no time unless it failed in this boot, then
    /// [`SETTLE`]
    pub settle: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    active: Option<String>,
    sub: Option<String>,
    load: Option<String>,
    result: Option<String>,
    file_state: Option<String>,
    #[serde(default, deserialize_with = "duration::optional")]
    settle: Option<Duration>,
}

impl<'de> Deserialize<'de> for UnitState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct State;

        impl<'de> Visitor<'de> for State {
            type Value = UnitState;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string such as \"active\", or a table of `active`, `sub`, `load`, `result`, `file-state`, `settle`")
            }

            fn visit_str<E: de::Error>(self, active: &str) -> Result<UnitState, E> {
                UnitState { active: Some(active.to_owned()), ..UnitState::default() }.checked()
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UnitState, A::Error> {
                let Table { active, sub, load, result, file_state, settle } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                UnitState { active, sub, load, result, file_state, settle }.checked()
            }
        }

        deserializer.deserialize_any(State)
    }
}

impl UnitState {
    /// Rejects states that do not exist, so that mistakes are found before a boot.
    fn checked<E: de::Error>(self) -> Result<Self, E> {
        match &self.active {
            Some(state) if !ACTIVE.contains(&state.as_str()) => {
                let hint = if state == "masked" { "; write `{ load = \"masked\" }`" } else { "" };
                Err(E::custom(format!("`{state}` is not an active state: {}{hint}", ACTIVE.join(", "))))
            }
            state if self.settle.is_some() && state.as_deref() != Some("active") => {
                Err(E::custom("`settle` is for units with `active = \"active\"`"))
            }
            _ if self.fields().all(|(_, _, value)| value.is_none()) => {
                Err(E::custom("no state is set for the unit"))
            }
            _ => Ok(self),
        }
    }

    /// The name in findings, the property, and the expected value of each field.
    fn fields(&self) -> impl Iterator<Item = (&'static str, &'static str, Option<&str>)> {
        [
            ("load state", "LoadState", self.load.as_deref()),
            ("active state", "ActiveState", self.active.as_deref()),
            ("sub-state", "SubState", self.sub.as_deref()),
            ("result", "Result", self.result.as_deref()),
            ("file state", "UnitFileState", self.file_state.as_deref()),
        ]
        .into_iter()
    }
}

impl UnitCheck {
    /// A description in one line.
    pub fn summary(&self) -> String {
        let units = self.units.iter().map(|(name, state)| {
            let values: Vec<&str> = state.fields().filter_map(|(_, _, value)| value).collect();
            format!("`{name}` is {}", values.join(", "))
        });
        units.collect::<Vec<_>>().join("; ")
    }

    pub(super) async fn execute(&self, recorder: &mut Recorder<'_>) -> Result<Assertions, CheckError> {
        let names = self.units.keys().map(|name| quote(name)).collect::<Vec<_>>().join(" ");
        let script = format!("{}\nunit_report {names}", shell_function());
        let output = recorder.require(Command::as_root(&script)).await?;
        let reports = read_reports(&output.text()).map_err(CheckError::Unreadable)?;
        if reports.len() != self.units.len() {
            let cause =
                format!("there are reports of {} units instead of {}", reports.len(), self.units.len());
            return Err(CheckError::Unreadable(cause));
        }
        let mut assertions = Assertions::default();
        // The reports have the order of the arguments. `Id` does not help: an alias has another one.
        for ((name, state), report) in self.units.iter().zip(&reports) {
            let one = evaluate(name, state, report);
            let settle = state.settle.or((report.failures() > 0).then_some(SETTLE));
            match settle.filter(|_| one.all_hold() && state.active.as_deref() == Some("active")) {
                Some(settle) => {
                    let unit = BTreeSet::from([name.clone()]);
                    assertions.extend(settled(recorder, &unit, &BTreeSet::new(), settle).await?);
                }
                None => assertions.extend(one),
            }
        }
        Ok(assertions)
    }
}

/// Evaluates the properties of a unit.
fn evaluate(name: &str, state: &UnitState, report: &UnitReport) -> Assertions {
    let mut assertions = Assertions::default();
    for (what, property, expected) in state.fields() {
        let Some(expected) = expected else { continue };
        let found = report.properties.get(property).map_or("", String::as_str);
        let claim = format!("`{name}` has the {what} `{expected}`");
        let shown = if found.is_empty() { "empty".to_owned() } else { format!("`{found}`") };
        assertions.assert(claim, (found != expected).then(|| format!("its {what} is {shown}")));
    }
    if !assertions.all_hold() {
        for line in report.explanation() {
            assertions.note(line);
        }
        assertions.suggest(report.hint());
    }
    assertions
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORTS: &str = "\u{1d}docker.socket\n9.5\nId=docker.socket\nLoadState=loaded\nActiveState=active\n\
        SubState=listening\nResult=success\nUnitFileState=disabled\n\u{1d}\
        \u{1d}x.service\n9.6\nId=x.service\nLoadState=not-found\nActiveState=inactive\n\
        SubState=dead\nResult=success\nUnitFileState=\n\u{1d}";

    fn check(toml: &str) -> UnitCheck {
        toml::from_str(toml).expect("a check")
    }

    #[test]
    fn a_string_and_a_table_are_checked() {
        let reports = read_reports(REPORTS).expect("two units");
        let check = check(
            "\"docker.socket\" = \"active\"\n\"x.service\" = { sub = \"running\", load = \"loaded\", file-state = \"masked\" }",
        );
        assert!(evaluate("docker.socket", &check.units["docker.socket"], &reports[0]).all_hold());
        let wrong = evaluate("x.service", &check.units["x.service"], &reports[1]);
        let finding = wrong.into_finding(Vec::new());
        insta::assert_snapshot!(finding.found, @r"
        its load state is `not-found`
        its sub-state is `dead`
        its file state is empty
        `x.service` is inactive (not-found)
        ");
        assert!(finding.hint.expect("a hint").contains("is merged"));
        assert_eq!(check.summary(), "`docker.socket` is active; `x.service` is loaded, running, masked");
    }

    #[test]
    fn states_that_do_not_exist_are_refused() {
        let masked =
            toml::from_str::<UnitCheck>("\"x.service\" = \"masked\"").expect_err("not an active state");
        assert!(masked.to_string().contains("load = \"masked\""), "{masked}");
        for wrong in [
            "\"x.service\" = {}",
            "\"x.service\" = 1",
            "\"x.service\" = { state = \"active\" }",
            "\"x.service\" = { active = \"failed\", settle = \"5s\" }",
        ] {
            toml::from_str::<UnitCheck>(wrong).expect_err(wrong);
        }
    }
}
