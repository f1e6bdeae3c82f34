// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// Separates the parts of an id's text. No scenario name contains it.
const SEPARATOR: char = '@';
/// The text of [`Variant::Cold`].
const COLD: &str = "cold";

/// The identity of a scenario within a run: the same scenario may run several times.
///
/// Ids are compared as values. Their text, `NAME`, `NAME@cold`, `NAME@2` or `NAME@cold@2`, is for
/// reports, directories and the JSON-lines file; reading it back gives the same id.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ScenarioId {
    /// name of the scenario
    pub name: String,
    /// how its machines start
    pub variant: Variant,
    /// 1-based number of the repetition; absent where the scenario runs once
    pub repetition: Option<NonZeroU32>,
}

/// How the machines of a scenario start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// as was decided for each machine
    #[default]
    Planned,
    /// all cold, for comparison with [`Variant::Planned`]
    Cold,
}

impl ScenarioId {
    /// The id of a scenario that runs once.
    pub fn of(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The id of a repetition of this scenario.
    #[must_use]
    pub fn repeated(&self, repetition: NonZeroU32) -> Self {
        Self { repetition: Some(repetition), ..self.clone() }
    }

    /// The id that all repetitions of this scenario have in common.
    #[must_use]
    pub fn without_repetition(&self) -> Self {
        Self { repetition: None, ..self.clone() }
    }

    /// The id of the same scenario with another variant.
    #[must_use]
    pub fn with_variant(&self, variant: Variant) -> Self {
        Self { variant, ..self.clone() }
    }
}

impl fmt::Display for ScenarioId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name.clone();
        if self.variant == Variant::Cold {
            text.extend([SEPARATOR.to_string().as_str(), COLD]);
        }
        if let Some(repetition) = self.repetition {
            text.extend([SEPARATOR.to_string(), repetition.to_string()]);
        }
        formatter.pad(&text)
    }
}

impl From<&str> for ScenarioId {
    /// Reads the text of an id. A text that no id has becomes a name as a whole.
    fn from(text: &str) -> Self {
        let number = |text: &str| text.parse().ok().filter(|number: &NonZeroU32| number.to_string() == text);
        let numbered = text.rsplit_once(SEPARATOR).and_then(|(rest, last)| Some((rest, number(last)?)));
        let (rest, repetition) = numbered.map_or((text, None), |(rest, number)| (rest, Some(number)));
        let (name, variant) = match rest.rsplit_once(SEPARATOR) {
            Some((name, COLD)) => (name, Variant::Cold),
            _ => (rest, Variant::Planned),
        };
        if name.is_empty() || name.contains(SEPARATOR) {
            return Self::of(text);
        }
        Self { name: name.to_owned(), variant, repetition }
    }
}

impl From<String> for ScenarioId {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<ScenarioId> for String {
    fn from(id: ScenarioId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_has_a_text() {
        let second = NonZeroU32::new(2).expect("not zero");
        let hello = ScenarioId::of("docker/hello");
        assert_eq!(hello.to_string(), "docker/hello");
        assert_eq!(hello.repeated(second).to_string(), "docker/hello@2");
        let cold = hello.with_variant(Variant::Cold);
        assert_eq!(cold.to_string(), "docker/hello@cold");
        assert_eq!(cold.repeated(second).to_string(), "docker/hello@cold@2");
        assert_eq!(cold.repeated(second).without_repetition(), cold);
        assert_eq!(format!("{cold:>20}|"), "   docker/hello@cold|");
    }

    #[test]
    fn repetitions_are_in_the_order_of_their_numbers() {
        let mut ids = ["a@10", "b", "a@2", "a@cold@1", "a@1"].map(ScenarioId::from);
        ids.sort();
        assert_eq!(ids.map(|id| id.to_string()), ["a@1", "a@2", "a@10", "a@cold@1", "b"]);
    }

    proptest! {
        #[test]
        fn a_text_is_read_back(text in "([a-z0@]|@cold|@[0-9]){0,9}") {
            prop_assert_eq!(ScenarioId::from(text.as_str()).to_string(), text);
        }

        #[test]
        fn an_id_is_read_back(name in "[a-z/.-]{1,9}", cold: bool, repetition: Option<u32>) {
            let variant = if cold { Variant::Cold } else { Variant::Planned };
            let id = ScenarioId { name, variant, repetition: repetition.and_then(NonZeroU32::new) };
            prop_assert_eq!(ScenarioId::from(id.to_string()), id.clone());
            let json = serde_json::to_string(&id).expect("a string");
            prop_assert_eq!(serde_json::from_str::<ScenarioId>(&json).expect("an id"), id);
        }
    }
}
