// SPDX-License-Identifier: Apache-2.0
//! Durations as scenario files write them: `500ms`, `60s`, `2min`.
use std::time::Duration;

use serde::{Deserialize as _, Deserializer, de};

pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map(Some).map_err(|error| {
        de::Error::custom(format!("`{text}` is not a duration such as `500ms` or `60s`: {error}"))
    })
}
