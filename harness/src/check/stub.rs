// SPDX-License-Identifier: Apache-2.0
//! Stands in for the real checks until they are merged.
#![expect(missing_docs, reason = "replaced by the real checks")]
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    Merged(MergedCheck),
    Overlay(OverlayCheck),
    Unit(UnitCheck),
    File(FileCheck),
    Run(RunCheck),
    Docker(DockerCheck),
    Containerd(DockerCheck),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergedCheck {
    #[serde(default)]
    pub present: Vec<String>,
    #[serde(default)]
    pub absent: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayCheck {}

pub type UnitCheck = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileCheck {
    pub path: String,
    pub exists: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunCheck {
    pub run: String,
    pub exit: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DockerCheck {
    #[serde(default)]
    pub run: bool,
}

impl Check {
    pub fn summary(&self) -> String {
        format!("{self:?}")
    }
}

impl RunCheck {
    pub fn new(run: impl Into<String>) -> Self {
        Self { run: run.into(), exit: None }
    }
}
