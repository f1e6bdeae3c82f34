// SPDX-License-Identifier: Apache-2.0
//! Writing a config.

use serde_json::Value;

use crate::Config;

impl Config {
    /// The config as the guest gets it: compact JSON, fields in the order of the specification's types,
    /// no nulls, and no empty lists or objects.
    ///
    /// # Panics
    /// Never: the types hold strings, numbers, flags and lists of them.
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
        let mut value = serde_json::to_value(&self.0).expect("a config holds nothing that JSON cannot");
        prune(&mut value);
        value
    }
}

/// Removes nulls, and empty lists and objects that are a field's value. `ignition-config` writes absent
/// options as null, and Ignition takes a null for an empty string in some places.
///
/// An empty object that is an *element* of a list stays, or the elements after it would move.
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
    fn an_empty_config_is_a_version_and_nothing_else() {
        assert_eq!(Config::new().to_json(), r#"{"ignition":{"version":"3.3.0"}}"#);
    }

    #[test]
    fn pruning_keeps_what_says_something() {
        let mut value = json!({"a": null, "b": [], "c": {"d": {}}, "e": "", "f": false, "g": [null, {"h": null}], "i": 0});
        prune(&mut value);
        assert_eq!(value, json!({"e": "", "f": false, "g": [{}], "i": 0}));
    }
}
