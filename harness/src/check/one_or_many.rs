// SPDX-License-Identifier: Apache-2.0
use serde::Deserialize;

/// A text or a list of texts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a text, or a list of texts")]
pub enum OneOrMany {
    /// one text
    One(String),
    /// several texts
    Many(Vec<String>),
}

impl OneOrMany {
    /// All texts.
    pub(super) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }

    /// All texts, borrowed.
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}
