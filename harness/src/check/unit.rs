// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fmt;

use loadgauge_host::quote;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::guest::Command;

use super::Assertions;
use super::recorder::{CheckError, Recorder, tail};
use super::system::{Properties, unit_properties};

/// The values of `ActiveState` (org.freedesktop.systemd1(5)).
const ACTIVE: &[&str] =
    &["active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance", "refreshing"];
/// The most lines of a unit's status in a finding.
const SHOWN: usize = 8;

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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    active: Option<String>,
    sub: Option<String>,
    load: Option<String>,
    result: Option<String>,
    file_state: Option<String>,
}

impl<'de> Deserialize<'de> for UnitState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct State;

        impl<'de> Visitor<'de> for State {
            type Value = UnitState;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string such as \"active\", or a table of `active`, `sub`, `load`, `result`, `file-state`")
            }

            fn visit_str<E: de::Error>(self, active: &str) -> Result<UnitState, E> {
                UnitState { active: Some(active.to_owned()), ..UnitState::default() }.checked()
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UnitState, A::Error> {
                let Table { active, sub, load, result, file_state } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                UnitState { active, sub, load, result, file_state }.checked()
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
        let properties = "Id,LoadState,ActiveState,SubState,Result,UnitFileState";
        let show = Command::new(format!("systemctl show -p {properties} -- {names}"));
        let output = recorder.require(show).await?;
        let units = unit_properties(&output.text()).map_err(CheckError::Unreadable)?;
        if units.len() != self.units.len() {
            let cause = format!("`systemctl show` has {} units instead of {}", units.len(), self.units.len());
            return Err(CheckError::Unreadable(cause));
        }
        let mut assertions = Assertions::default();
        // `systemctl show` keeps the order of the arguments. `Id` does not help: an alias has another one.
        for ((name, state), properties) in self.units.iter().zip(&units) {
            let mut one = evaluate(name, state, properties);
            if !one.all_hold() {
                let status =
                    format!("sudo -n systemctl status --no-pager --full --lines=20 -- {}", quote(name));
                let status = recorder.run(Command::new(status)).await?;
                one = explained(one, name, properties, &status.text());
            }
            assertions.extend(one);
        }
        Ok(assertions)
    }
}

/// Evaluates the properties of a unit.
fn evaluate(name: &str, state: &UnitState, properties: &Properties) -> Assertions {
    let mut assertions = Assertions::default();
    for (what, property, expected) in state.fields() {
        let Some(expected) = expected else { continue };
        let found = properties.get(property).map_or("", String::as_str);
        let claim = format!("`{name}` has the {what} `{expected}`");
        assertions.assert(claim, (found != expected).then(|| format!("its {what} is `{found}`")));
    }
    assertions
}

/// Adds a hint and the status of the unit.
fn explained(mut assertions: Assertions, name: &str, properties: &Properties, status: &str) -> Assertions {
    match properties.get("LoadState").map_or("", String::as_str) {
        "not-found" => assertions.suggest(format!("check that the extension with `{name}` is merged")),
        "masked" => assertions.suggest(format!("see the Ignition config for why `{name}` is masked")),
        "bad-setting" | "error" => {
            assertions.suggest(format!("run `systemd-analyze verify {name}` in the guest"));
        }
        _ if assertions.found().contains("`inactive`") => assertions.suggest(format!(
            "start the unit at boot with an `Upholds={name}` drop-in of a target: [Install] has no effect in an extension"
        )),
        _ => {}
    }
    if !status.trim().is_empty() {
        assertions.note(format!("`systemctl status {name}` ends with:\n{}", tail(status, SHOWN)));
    }
    assertions
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOW: &str = "Id=docker.socket\nLoadState=loaded\nActiveState=active\nSubState=listening\n\
        Result=success\nUnitFileState=disabled\n\nId=x.service\nLoadState=not-found\nActiveState=inactive\n\
        SubState=dead\nResult=success\nUnitFileState=\n";

    fn check(toml: &str) -> UnitCheck {
        toml::from_str(toml).expect("a check")
    }

    #[test]
    fn a_string_and_a_table_are_checked() {
        let units = unit_properties(SHOW).expect("two units");
        let check = check(
            "\"docker.socket\" = \"active\"\n\"x.service\" = { sub = \"running\", load = \"loaded\", file-state = \"masked\" }",
        );
        assert!(evaluate("docker.socket", &check.units["docker.socket"], &units[0]).all_hold());
        let wrong = evaluate("x.service", &check.units["x.service"], &units[1]);
        let wrong = explained(wrong, "x.service", &units[1], "○ x.service\n   Loaded: not-found\n");
        let finding = wrong.into_finding(Vec::new());
        insta::assert_snapshot!(finding.found, @r"
        its load state is `not-found`
        its sub-state is `dead`
        its file state is ``
        `systemctl status x.service` ends with:
        ○ x.service
           Loaded: not-found
        ");
        assert!(finding.hint.expect("a hint").contains("is merged"));
        assert_eq!(check.summary(), "`docker.socket` is active; `x.service` is loaded, running, masked");
    }

    #[test]
    fn states_that_do_not_exist_are_refused() {
        let masked =
            toml::from_str::<UnitCheck>("\"x.service\" = \"masked\"").expect_err("not an active state");
        assert!(masked.to_string().contains("load = \"masked\""), "{masked}");
        for wrong in ["\"x.service\" = {}", "\"x.service\" = 1", "\"x.service\" = { state = \"active\" }"] {
            toml::from_str::<UnitCheck>(wrong).expect_err(wrong);
        }
    }
}
