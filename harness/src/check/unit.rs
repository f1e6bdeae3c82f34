// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::guest::{Command, quote};

use super::Judgement;
use super::inquiry::{Halt, Inquiry, tail};

/// The words of `ActiveState=` (org.freedesktop.systemd1(5)).
const ACTIVE: &[&str] =
    &["active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance", "refreshing"];
/// How many lines a unit may say about itself in a finding.
const SHOWN: usize = 8;

/// The states of units: `unit = { "docker.socket" = "active", "x.service" = { sub = "running" } }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct UnitCheck {
    /// by the unit's name
    pub units: BTreeMap<String, UnitState>,
}

/// What a unit must be like. The fields are those of `systemctl show`; one that is not given is not
/// looked at. A mere word stands for `active`.
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
                formatter.write_str("a word such as \"active\", or a table of `active`, `sub`, `load`, `result`, `file-state`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<UnitState, E> {
                UnitState { active: Some(word.to_owned()), ..UnitState::default() }.checked()
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
    /// Refuses what can never hold, so that a slip is found before anything is booted.
    fn checked<E: de::Error>(self) -> Result<Self, E> {
        match &self.active {
            Some(word) if !ACTIVE.contains(&word.as_str()) => {
                let hint = if word == "masked" { "; say `{ load = \"masked\" }`" } else { "" };
                Err(E::custom(format!("`{word}` is no active state: {}{hint}", ACTIVE.join(", "))))
            }
            _ if self.fields().all(|(_, _, value)| value.is_none()) => {
                Err(E::custom("says nothing about the unit"))
            }
            _ => Ok(self),
        }
    }

    /// What the finding calls it, the property, and what it must be.
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
    /// One line that says what it claims.
    pub fn summary(&self) -> String {
        let units = self.units.iter().map(|(name, state)| {
            let words: Vec<&str> = state.fields().filter_map(|(_, _, value)| value).collect();
            format!("`{name}` is {}", words.join(", "))
        });
        units.collect::<Vec<_>>().join("; ")
    }

    pub(super) async fn examine(&self, inquiry: &mut Inquiry<'_>) -> Result<Judgement, Halt> {
        let names = self.units.keys().map(|name| quote(name)).collect::<Vec<_>>().join(" ");
        let properties = "Id,LoadState,ActiveState,SubState,Result,UnitFileState";
        let show = Command::new(format!("systemctl show -p {properties} -- {names}"));
        let output = inquiry.demand(show).await?;
        let blocks = blocks(&output.text()).map_err(Halt::Unreadable)?;
        if blocks.len() != self.units.len() {
            let cause = format!("{} units were asked for, {} were shown", self.units.len(), blocks.len());
            return Err(Halt::Unreadable(cause));
        }
        let mut judgement = Judgement::default();
        // `systemctl show` answers in the order of the question; Id is another name of an alias.
        for ((name, state), block) in self.units.iter().zip(&blocks) {
            let mut one = judge(name, state, block);
            if !one.holds() {
                let status =
                    format!("sudo -n systemctl status --no-pager --full --lines=20 -- {}", quote(name));
                let words = inquiry.ask(Command::new(status)).await?;
                one = explained(one, name, block, &words.text());
            }
            judgement.join(one);
        }
        Ok(judgement)
    }
}

type Block = BTreeMap<String, String>;

/// Reads `systemctl show`: `Name=value` lines, an empty line between units.
pub(super) fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut block = Block::new();
    for line in text.lines().chain([""]) {
        if line.is_empty() {
            if !block.is_empty() {
                blocks.push(std::mem::take(&mut block));
            }
            continue;
        }
        let (name, value) =
            line.split_once('=').ok_or_else(|| format!("`{line}` is not a property of a unit"))?;
        block.insert(name.to_owned(), value.to_owned());
    }
    Ok(blocks)
}

/// Judges one unit by its properties.
fn judge(name: &str, state: &UnitState, block: &Block) -> Judgement {
    let mut judgement = Judgement::default();
    for (what, property, expected) in state.fields() {
        let Some(expected) = expected else { continue };
        let found = block.get(property).map_or("", String::as_str);
        let claim = format!("`{name}` has the {what} `{expected}`");
        judgement.claim(claim, (found != expected).then(|| format!("its {what} is `{found}`")));
    }
    judgement
}

/// Adds what the unit says about itself.
fn explained(mut judgement: Judgement, name: &str, block: &Block, words: &str) -> Judgement {
    match block.get("LoadState").map_or("", String::as_str) {
        "not-found" => judgement.advise(format!("`{name}` does not exist: is its extension merged?")),
        "masked" => judgement.advise(format!("`{name}` is masked: see the Ignition config")),
        "bad-setting" | "error" => {
            judgement.advise(format!("`systemd-analyze verify {name}` says what is wrong in it"));
        }
        _ if judgement.found().contains("`inactive`") => judgement.advise(format!(
            "an extension's unit is started at boot by an `Upholds={name}` drop-in of a target, not by [Install]"
        )),
        _ => {}
    }
    if !words.trim().is_empty() {
        judgement.remark(format!("`systemctl status {name}` ends with:\n{}", tail(words, SHOWN)));
    }
    judgement
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHOW: &str = "Id=docker.socket\nLoadState=loaded\nActiveState=active\nSubState=listening\n\
        Result=success\nUnitFileState=disabled\n\nId=x.service\nLoadState=not-found\nActiveState=inactive\n\
        SubState=dead\nResult=success\nUnitFileState=\n";

    fn check(toml: &str) -> UnitCheck {
        toml::from_str(toml).expect("a check")
    }

    #[test]
    fn a_word_and_a_table_are_judged() {
        let blocks = blocks(SHOW).expect("two units");
        let check = check(
            "\"docker.socket\" = \"active\"\n\"x.service\" = { sub = \"running\", load = \"loaded\", file-state = \"masked\" }",
        );
        assert!(judge("docker.socket", &check.units["docker.socket"], &blocks[0]).holds());
        let wrong = judge("x.service", &check.units["x.service"], &blocks[1]);
        let wrong = explained(wrong, "x.service", &blocks[1], "○ x.service\n   Loaded: not-found\n");
        let finding = wrong.finding(Vec::new());
        insta::assert_snapshot!(finding.found, @r"
        its load state is `not-found`
        its sub-state is `dead`
        its file state is ``
        `systemctl status x.service` ends with:
        ○ x.service
           Loaded: not-found
        ");
        assert!(finding.hint.expect("a hint").contains("does not exist"));
        assert_eq!(check.summary(), "`docker.socket` is active; `x.service` is loaded, running, masked");
    }

    #[test]
    fn what_can_never_hold_is_refused() {
        let masked = toml::from_str::<UnitCheck>("\"x.service\" = \"masked\"").expect_err("no active state");
        assert!(masked.to_string().contains("load = \"masked\""), "{masked}");
        for wrong in ["\"x.service\" = {}", "\"x.service\" = 1", "\"x.service\" = { state = \"active\" }"] {
            toml::from_str::<UnitCheck>(wrong).expect_err(wrong);
        }
    }

    proptest! {
        #[test]
        fn properties_come_back_as_they_were(
            units in proptest::collection::vec(
                proptest::collection::btree_map("[A-Z][a-zA-Z]{0,8}", "[ -~]{0,12}", 1..4), 0..4)
        ) {
            let text: Vec<String> = units
                .iter()
                .map(|unit| unit.iter().map(|(name, value)| [name, "=", value, "\n"].concat()).collect())
                .collect();
            prop_assert_eq!(blocks(&text.join("\n")).expect("properties"), units);
        }

        #[test]
        fn nothing_a_guest_says_upsets_it(text in ".{0,80}") {
            let _unread = blocks(&text);
        }
    }
}
