// SPDX-License-Identifier: Apache-2.0
//! Writes a config as JSON.

use serde_json::Value;

use crate::config::Config;

impl Config {
    /// The config for the guest: compact JSON, fields in the order of the specification's types, without
    /// nulls, empty lists and empty objects.
    ///
    /// # Panics
    /// Never: the types consist of strings, numbers, flags and lists.
    pub fn to_json(&self) -> String {
        self.to_value().to_string()
    }

    /// The config for people to read.
    ///
    /// # Panics
    /// Never, as [`Config::to_json`].
    pub fn to_json_pretty(&self) -> String {
        format!("{:#}", self.to_value())
    }

    fn to_value(&self) -> Value {
        let mut value = serde_json::to_value(&self.0).expect("a config is valid JSON");
        prune(&mut value);
        value
    }
}

/// Removes nulls, and fields whose value is an empty list or object. `ignition-config` writes absent options
/// as null, which Ignition reads as an empty string in some places.
///
/// An empty object that is an *element* of a list is kept: otherwise the elements after it would move.
pub(crate) fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| match value {
                Value::Null => false,
                Value::Array(list) => !list.is_empty(),
                Value::Object(fields) => !fields.is_empty(),
                _ => true,
            });
        }
        Value::Array(list) => {
            list.retain(|value| !value.is_null());
            list.iter_mut().for_each(prune);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_config_has_a_version_alone() {
        assert_eq!(Config::new().to_json(), r#"{"ignition":{"version":"3.3.0"}}"#);
    }

    #[test]
    fn pruning_keeps_values() {
        let mut value = json!({"a": null, "b": [], "c": {"d": {}}, "e": "", "f": false, "g": [null, {"h": null}], "i": 0});
        prune(&mut value);
        assert_eq!(value, json!({"e": "", "f": false, "g": [{}], "i": 0}));
    }
}
