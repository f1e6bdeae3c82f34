// SPDX-License-Identifier: Apache-2.0
//! Durations in scenario files: `500ms`, `60s`, `2min`.
use std::time::Duration;

use loadgauge_host::quantity::parse_duration;
use serde::{Deserialize as _, Deserializer, de};

pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).map_err(de::Error::custom)
}
