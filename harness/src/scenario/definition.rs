// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::Format;
use loadgauge_ignition::delivery::Delivery;
use serde::Serialize;

use super::{Origin, Requires, Step};
use crate::check::Sweep;
use crate::machine::MachineSpec;

/// A scenario: what to boot and what must hold.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// path of the file in the catalogue without `.toml`, such as `docker/replace`
    pub name: String,
    /// the scenario file; absent for a scenario that a command makes from its arguments
    pub file: Option<Utf8PathBuf>,
    /// one line that describes the scenario
    pub summary: String,
    /// the tags that `tag:NAME` selects it by
    pub tags: Vec<String>,
    /// the properties that the image must have
    pub requires: Requires,
    /// a single machine without a name, or several on a network of their own
    pub machines: Vec<MachineRequest>,
    /// actions and checks, in order
    pub steps: Vec<Step>,
    /// checks that are made after the boot and again after each action
    pub hold: Vec<Step>,
    /// limit for the whole scenario, for KVM
    pub timeout: Option<Duration>,
    /// sweeps that are not made, each with the reason
    pub waive: BTreeMap<Sweep, String>,
}

impl Scenario {
    /// A scenario with one machine that was not read from a file.
    pub fn new(
        name: impl Into<String>,
        summary: impl Into<String>,
        machine: MachineRequest,
        steps: Vec<Step>,
    ) -> Self {
        Self {
            name: name.into(),
            file: None,
            summary: summary.into(),
            tags: Vec::new(),
            requires: Requires::default(),
            machines: vec![machine],
            steps,
            hold: Vec::new(),
            timeout: None,
            waive: BTreeMap::new(),
        }
    }

    /// The place of a line of the scenario, for error messages.
    pub(super) fn origin(&self, line: Option<usize>) -> Origin {
        match &self.file {
            Some(path) => Origin::File { path: path.clone(), line },
            None => Origin::Arguments,
        }
    }
}

/// A machine that a scenario asks for, with its extensions and its Ignition config.
#[derive(Debug, Clone, Default)]
pub struct MachineRequest {
    /// name in steps and on the network; empty for a single machine
    pub name: String,
    /// hardware and kernel arguments
    pub spec: MachineSpec,
    /// whether the machine must be booted, and not restored from a snapshot
    pub cold: bool,
    /// extensions to install
    pub sysexts: Vec<SysextRequest>,
    /// the author's part of the Ignition config
    pub ignition: IgnitionRequest,
}

/// An extension that a scenario asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SysextRequest {
    /// recipe or image
    pub source: Source,
    /// name that replaces the one of the recipe or the file
    pub name: Option<String>,
    /// format that replaces the one of the recipe
    pub format: Option<Format>,
    /// how the guest gets the extension
    #[serde(skip)]
    pub delivery: Delivery,
    /// 1-based line of the scenario file; 0 without a file
    #[serde(skip)]
    pub line: usize,
}

impl SysextRequest {
    /// A request that was not read from a file, with the defaults of the scenario format.
    pub fn new(source: Source, name: Option<String>) -> Self {
        Self { source, name, format: None, delivery: Delivery::default(), line: 0 }
    }

    /// The name of the extension, as far as it is known before the build.
    pub fn expected_name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| match &self.source {
            Source::Recipe(recipe) => recipe.file_stem().unwrap_or_default(),
            Source::Image(image) => image_name(image),
        })
    }
}

/// Suffixes of image files that are not part of the extension's name.
const IMAGE_SUFFIXES: [&str; 7] = [".raw", ".squashfs", ".erofs", ".ext4", ".btrfs", ".ddi", ".img"];

/// The name of the extension in an image file, without the suffix of the file.
pub(super) fn image_name(path: &Utf8Path) -> &str {
    let file = path.file_name().unwrap_or_default();
    let stem = IMAGE_SUFFIXES.iter().find_map(|suffix| file.strip_suffix(suffix));
    stem.filter(|stem| !stem.is_empty()).unwrap_or(file)
}

/// The source of an extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// a recipe file
    Recipe(Utf8PathBuf),
    /// an image file
    Image(Utf8PathBuf),
}

impl Source {
    /// The file of the recipe or image.
    pub fn path(&self) -> &Utf8Path {
        let (Self::Recipe(path) | Self::Image(path)) = self;
        path
    }
}

/// The author's part of the Ignition config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnitionRequest {
    /// a config in a file of its own
    pub config: Option<AuthorConfig>,
    /// links that the scenario file lists
    pub links: Vec<LinkRequest>,
    /// files that the scenario file lists
    pub files: Vec<FileRequest>,
    /// units that the scenario file lists
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

/// A symbolic link that Ignition creates.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// path of the link
    pub path: Utf8PathBuf,
    /// target of the link
    pub target: Utf8PathBuf,
    /// whether an existing file is replaced
    #[serde(default)]
    pub overwrite: bool,
}

/// A file that Ignition writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRequest {
    /// path in the guest
    pub path: Utf8PathBuf,
    /// contents of the file
    pub contents: String,
    /// permissions
    pub mode: u32,
    /// whether an existing file is replaced
    pub overwrite: bool,
}

/// A systemd unit that Ignition writes, enables or masks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitRequest {
    /// name with its suffix, such as `probe.service`
    pub name: String,
    /// whether the unit is enabled or disabled; unchanged where absent
    pub enabled: Option<bool>,
    /// whether the unit is masked
    #[serde(default)]
    pub mask: bool,
    /// the unit file
    pub contents: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_image_is_that_of_its_file_without_a_suffix() {
        for (file, name) in [
            ("/x/tool.raw", "tool"),
            ("tool-1.2.raw", "tool-1.2"),
            ("./good.squashfs", "good"),
            ("tool-1.2", "tool-1.2"),
            ("tool.img", "tool"),
            (".raw", ".raw"),
        ] {
            assert_eq!(image_name(Utf8Path::new(file)), name);
            let request = SysextRequest::new(Source::Image(file.into()), None);
            assert_eq!(request.expected_name(), name);
        }
        let recipe = SysextRequest::new(Source::Recipe("x/tool.toml".into()), None);
        assert_eq!(recipe.expected_name(), "tool");
    }
}
