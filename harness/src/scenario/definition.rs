// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;
use loadgauge_ignition::delivery::Delivery;
use serde::Serialize;

use super::{Requires, Step};
use crate::check::Sweep;
use crate::machine::MachineSpec;
use loadgauge_builder::Format;

/// What to boot and what must hold: a scenario file that was read and found sound.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// the file's name without `.toml`, after that of its directory in the catalogue where it
    /// has one: `docker/replace`
    pub name: String,
    /// the file
    pub file: Utf8PathBuf,
    /// what it is about, in one line
    pub summary: String,
    /// what it can be selected by with `tag:NAME`
    pub tags: Vec<String>,
    /// what the image must be for the scenario to make sense
    pub requires: Requires,
    /// the machines to boot: one without a name, or several that meet on a network of their own
    pub machines: Vec<MachineRequest>,
    /// what is done and checked, in order
    pub steps: Vec<Step>,
    /// what must hold after the boot and after every change of life cycle
    pub hold: Vec<Step>,
    /// how long the whole may take, for KVM
    pub timeout: Option<Duration>,
    /// sweeps that are not made, each with the reason
    pub waive: BTreeMap<Sweep, String>,
}

/// A machine that a scenario wants, and what is put on it.
#[derive(Debug, Clone, Default)]
pub struct MachineRequest {
    /// what steps and the other machines call it; empty where it is the only one
    pub name: String,
    /// the machine to boot
    pub spec: MachineSpec,
    /// whether it must be booted for this scenario, and not be restored from a snapshot
    pub cold: bool,
    /// the extensions to put on it
    pub sysexts: Vec<SysextRequest>,
    /// the author's own part of the Ignition config
    pub ignition: IgnitionRequest,
}

/// An extension that a scenario wants in its guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SysextRequest {
    /// where it comes from
    pub source: Source,
    /// what it is called instead of what its recipe or its file says
    pub name: Option<String>,
    /// how it is packed, where that is not left to its recipe
    pub format: Option<Format>,
    /// how it comes into the guest
    #[serde(skip)]
    pub delivery: Delivery,
    /// 1-based line of the scenario file
    #[serde(skip)]
    pub line: usize,
}

/// Where an extension comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// built from a recipe's file
    Recipe(Utf8PathBuf),
    /// an image file that was built before
    Image(Utf8PathBuf),
}

/// The author's own part of the Ignition config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnitionRequest {
    /// a whole config in a file of its own
    pub config: Option<AuthorConfig>,
    /// links written in the scenario file
    pub links: Vec<LinkRequest>,
    /// files written in the scenario file
    pub files: Vec<FileRequest>,
    /// units written in the scenario file
    pub units: Vec<UnitRequest>,
}

/// A config in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorConfig {
    /// Ignition's JSON
    Ignition(Utf8PathBuf),
    /// Butane's YAML
    Butane(Utf8PathBuf),
}

/// A symbolic link that Ignition makes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// where
    pub path: Utf8PathBuf,
    /// what it points to
    pub target: Utf8PathBuf,
    /// whether it takes the place of what is there
    #[serde(default)]
    pub overwrite: bool,
}

/// A file that Ignition writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRequest {
    /// where
    pub path: Utf8PathBuf,
    /// what is in it
    pub contents: String,
    /// permissions
    pub mode: u32,
    /// whether it takes the place of what is there
    pub overwrite: bool,
}

/// A systemd unit that Ignition writes, enables or masks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitRequest {
    /// `probe.service`
    pub name: String,
    /// whether it is enabled or disabled; neither when not given
    pub enabled: Option<bool>,
    /// whether it is masked
    #[serde(default)]
    pub mask: bool,
    /// the unit file
    pub contents: Option<String>,
}
