// SPDX-License-Identifier: Apache-2.0
//! Finds the host's firmware by the descriptors of its packages (QEMU's `docs/interop/firmware.json`).
use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::fs;
use loadgauge_images::Architecture;
use loadgauge_images::image::DiskFormat;
use serde::Deserialize;

use super::flash::Flash;

/// The directories of descriptors. One in the first directory replaces one of the same name in the second,
/// and all of them are tried in the order of their names.
pub(super) const DIRECTORIES: [&str; 2] = ["/etc/qemu/firmware", "/usr/share/qemu/firmware"];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    interface_types: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    executable: Option<FlashFile>,
    nvram_template: Option<FlashFile>,
}

#[derive(Debug, Deserialize)]
struct FlashFile {
    filename: Utf8PathBuf,
    format: DiskFormat,
}

#[derive(Debug, Deserialize)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

/// The code and the variables of the first UEFI for an architecture, with Secure Boot and its keys or
/// without Secure Boot.
pub(super) fn find(
    directories: &[&Utf8Path],
    architecture: Architecture,
    secure: bool,
) -> Option<(Flash, Flash)> {
    let mut files = BTreeMap::new();
    for directory in directories.iter().rev() {
        let Ok(entries) = directory.read_dir_utf8() else { continue };
        for entry in entries.flatten().filter(|entry| entry.path().extension() == Some("json")) {
            files.insert(entry.file_name().to_owned(), entry.path().to_owned());
        }
    }
    files.values().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        match serde_json::from_str::<Descriptor>(&text) {
            Ok(descriptor) => descriptor.flash(architecture, secure),
            Err(error) => {
                // An administrator hides a descriptor with an empty file of the same name.
                tracing::debug!(%file, %error, "ignoring an invalid firmware descriptor");
                None
            }
        }
    })
}

impl Descriptor {
    fn flash(self, architecture: Architecture, secure: bool) -> Option<(Flash, Flash)> {
        let machine = match architecture {
            Architecture::Amd64 => "pc-q35",
            Architecture::Arm64 => "virt",
        };
        let fits = |target: &Target| {
            target.architecture == architecture.qemu_name()
                && target.machines.iter().any(|pattern| pattern.starts_with(machine))
        };
        let has = |feature: &str| self.features.iter().any(|found| found == feature);
        let wanted = if secure { has("secure-boot") && has("enrolled-keys") } else { !has("secure-boot") };
        let is_uefi = self.interface_types.iter().any(|kind| kind == "uefi");
        if !(is_uefi && self.mapping.device == "flash" && wanted && self.targets.iter().any(fits)) {
            return None;
        }
        let flash = |file: FlashFile| {
            file.filename.is_file().then_some(Flash { path: file.filename, format: file.format })
        };
        Some((flash(self.mapping.executable?)?, flash(self.mapping.nvram_template?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(directory: &Utf8Path, name: &str, features: &str) {
        std::fs::create_dir_all(directory).expect("made");
        let chip = directory.join(format!("{name}.fd"));
        std::fs::write(&chip, "").expect("written");
        let text = format!(
            r#"{{"interface-types": ["uefi"], "features": [{features}],
                "mapping": {{"device": "flash",
                    "executable": {{"filename": "{chip}", "format": "raw"}},
                    "nvram-template": {{"filename": "{chip}", "format": "raw"}}}},
                "targets": [{{"architecture": "x86_64", "machines": ["pc-q35-*"]}}]}}"#
        );
        std::fs::write(directory.join(format!("{name}.json")), text).expect("written");
    }

    #[test]
    fn the_first_matching_descriptor_is_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(directory.path()).expect("UTF-8");
        let (administrator, package) = (root.join("etc"), root.join("usr"));
        describe(&package, "40-secure", r#""secure-boot", "enrolled-keys""#);
        describe(&package, "50-unenrolled", r#""secure-boot""#);
        describe(&package, "60-plain", "");
        let found = |secure| {
            let both = [administrator.as_path(), package.as_path()];
            let (code, _) = find(&both, Architecture::Amd64, secure)?;
            Some(code.path.strip_prefix(root).expect("inside").to_string())
        };
        assert_eq!(found(false).as_deref(), Some("usr/60-plain.fd"));
        assert_eq!(found(true).as_deref(), Some("usr/40-secure.fd"));
        describe(&administrator, "60-plain", "");
        assert_eq!(found(false).as_deref(), Some("etc/60-plain.fd"), "the administrator's is preferred");
        std::fs::write(administrator.join("60-plain.json"), "").expect("written");
        assert_eq!(found(false), None, "hidden by the administrator");
        assert!(find(&[package.as_path()], Architecture::Arm64, false).is_none());
    }
}
