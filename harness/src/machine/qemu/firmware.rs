// SPDX-License-Identifier: Apache-2.0
//! The firmware of a machine: a BIOS, or UEFI with variables of its own.
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, fs};
use loadgauge_images::image::DiskFormat;
use loadgauge_images::{Architecture, Image};
use serde::{Deserialize, Serialize};

use super::firmware_descriptor;
use super::flash::Flash;
use super::option::escape;
use crate::machine::layout::Layout;

/// The firmware that a scenario or the user chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FirmwareChoice {
    /// SeaBIOS, which is part of QEMU
    Bios,
    /// UEFI
    Uefi,
    /// UEFI with Secure Boot
    UefiSecure,
}

impl FirmwareChoice {
    /// The default for an architecture.
    pub fn of(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Amd64 => Self::Bios,
            Architecture::Arm64 => Self::Uefi,
        }
    }

    /// The name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bios => "BIOS",
            Self::Uefi => "UEFI",
            Self::UefiSecure => "UEFI with Secure Boot",
        }
    }
}

/// The firmware of a machine, with its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Firmware {
    /// SeaBIOS
    Bios,
    /// UEFI
    Uefi {
        /// the code, which all machines share
        code: Flash,
        /// the initial variables; each machine gets a copy
        variables: Flash,
        /// whether system management mode protects the variables, as Secure Boot on amd64 requires
        secure: bool,
    },
}

/// A firmware is not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FirmwareError {
    /// neither the image's directory nor the host has it
    #[error("cannot find {} for {architecture}: neither `{beside}` next to the image nor firmware on the host", choice.name())]
    Missing {
        /// the chosen firmware
        choice: FirmwareChoice,
        /// the guest's architecture
        architecture: Architecture,
        /// the file that is expected next to the image
        beside: String,
    },
    /// arm64 has no BIOS
    #[error("arm64 machines have no BIOS")]
    NoBios,
}

impl FirmwareError {
    /// Whether the host lacks a package.
    pub fn is_lacking(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

impl Hint for FirmwareError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { architecture: Architecture::Amd64, .. } => {
                "install it: sudo apt-get install ovmf".to_owned()
            }
            Self::Missing { architecture: Architecture::Arm64, .. } => {
                "install it: sudo apt-get install qemu-efi-aarch64".to_owned()
            }
            Self::NoBios => "set `firmware = \"uefi\"`, or remove the key".to_owned(),
        })
    }
}

impl Firmware {
    /// Finds the firmware for an image: the files next to it, named as on a release server, or those of the
    /// host's packages.
    ///
    /// # Errors
    /// The firmware is not available.
    pub fn find(choice: Option<FirmwareChoice>, image: &Image) -> Result<Self, FirmwareError> {
        let choice = choice.unwrap_or(FirmwareChoice::of(image.facts.architecture));
        find(choice, image, &firmware_descriptor::DIRECTORIES.map(Utf8Path::new))
    }

    /// The name for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bios => FirmwareChoice::Bios.name(),
            Self::Uefi { secure: false, .. } => FirmwareChoice::Uefi.name(),
            Self::Uefi { secure: true, .. } => FirmwareChoice::UefiSecure.name(),
        }
    }

    /// Creates a machine's own copy of the variables.
    pub(crate) fn prepare(&self, layout: &Layout) -> Result<(), FileError> {
        let Self::Uefi { variables, .. } = self else { return Ok(()) };
        let copy = layout.firmware_variables();
        fs::copy(&variables.path, &copy)?;
        // The copy has the mode of the template, which may be read-only.
        fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600))
    }

    /// QEMU's arguments for the firmware.
    pub(crate) fn arguments(&self, architecture: Architecture, layout: &Layout) -> Vec<String> {
        let Self::Uefi { code, variables, secure } = self else { return Vec::new() };
        let flash = |unit: u8, format: DiskFormat, path: &Utf8Path, options: &str| {
            let path = escape(path.as_str());
            format!("if=pflash,unit={unit},format={},file={path}{options}", format.name())
        };
        let mut all = vec![
            "-drive".to_owned(),
            flash(0, code.format, &code.path, ",readonly=on"),
            "-drive".to_owned(),
            flash(1, variables.format, &layout.firmware_variables(), ""),
        ];
        if *secure && architecture == Architecture::Amd64 {
            all.extend(["-global".to_owned(), "driver=cfi.pflash01,property=secure,value=on".to_owned()]);
        }
        all
    }
}

fn find(choice: FirmwareChoice, image: &Image, host: &[&Utf8Path]) -> Result<Firmware, FirmwareError> {
    let architecture = image.facts.architecture;
    let stem = match (choice, architecture) {
        (FirmwareChoice::Bios, Architecture::Amd64) => return Ok(Firmware::Bios),
        (FirmwareChoice::Bios, Architecture::Arm64) => return Err(FirmwareError::NoBios),
        (FirmwareChoice::Uefi, _) => "flatcar_production_qemu_uefi_efi",
        (FirmwareChoice::UefiSecure, _) => "flatcar_production_qemu_uefi_secure_efi",
    };
    let directory = image.directory();
    let beside = |part: &str| flash_beside(&directory.join(format!("{stem}_{part}")));
    let secure = choice == FirmwareChoice::UefiSecure;
    if let (Some(code), Some(variables)) = (beside("code"), beside("vars")) {
        return Ok(Firmware::Uefi { code, variables, secure });
    }
    let missing = FirmwareError::Missing { choice, architecture, beside: format!("{stem}_code.qcow2") };
    let (code, variables) = firmware_descriptor::find(host, architecture, secure).ok_or(missing)?;
    Ok(Firmware::Uefi { code, variables, secure })
}

/// A flash file of a release: raw up to 4116, qcow2 from 4152.
fn flash_beside(stem: &Utf8Path) -> Option<Flash> {
    [("qcow2", DiskFormat::Qcow2), ("fd", DiskFormat::Raw)].into_iter().find_map(|(extension, format)| {
        let path = Utf8PathBuf::from(format!("{stem}.{extension}"));
        path.is_file().then_some(Flash { path, format })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing;

    struct Scratch {
        _directory: tempfile::TempDir,
        root: Utf8PathBuf,
        image: Image,
    }

    fn scratch(architecture: Architecture) -> Scratch {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        let mut image = testing::plan().image;
        image.disk = root.join("disk.img");
        image.facts.architecture = architecture;
        Scratch { _directory: directory, root, image }
    }

    #[test]
    fn files_next_to_the_image_are_preferred_to_the_hosts() {
        let scratch = scratch(Architecture::Amd64);
        for part in ["code.fd", "vars.qcow2"] {
            let name = format!("flatcar_production_qemu_uefi_efi_{part}");
            std::fs::write(scratch.root.join(name), "").expect("written");
        }
        let found = find(FirmwareChoice::Uefi, &scratch.image, &[]).expect("found");
        let Firmware::Uefi { code, variables, secure: false } = found else { panic!("{found:?}") };
        assert!(code.path.as_str().ends_with("code.fd") && code.format == DiskFormat::Raw);
        assert!(variables.path.as_str().ends_with("vars.qcow2") && variables.format == DiskFormat::Qcow2);
        let error = find(FirmwareChoice::UefiSecure, &scratch.image, &[]).expect_err("another firmware");
        assert!(error.is_lacking() && error.hint().is_some_and(|hint| hint.contains("ovmf")), "{error}");
    }

    #[test]
    fn the_firmware_of_the_hosts_packages_is_found() {
        let scratch = scratch(Architecture::Amd64);
        for (choice, secure) in [(FirmwareChoice::Uefi, false), (FirmwareChoice::UefiSecure, true)] {
            let found =
                Firmware::find(Some(choice), &scratch.image).expect("ovmf is installed where tests run");
            let Firmware::Uefi { code, variables, secure: found } = found else { panic!("{choice:?}") };
            assert!(found == secure && code.path.exists() && variables.path.exists());
        }
    }

    #[test]
    fn arm64_machines_have_no_bios() {
        let scratch = scratch(Architecture::Arm64);
        assert_eq!(find(FirmwareChoice::Bios, &scratch.image, &[]), Err(FirmwareError::NoBios));
        assert_eq!(FirmwareChoice::of(Architecture::Arm64), FirmwareChoice::Uefi);
    }

    #[test]
    fn a_machine_gets_writable_variables() {
        let scratch = scratch(Architecture::Amd64);
        let template = scratch.root.join("template");
        std::fs::write(&template, "empty").expect("written");
        std::fs::set_permissions(&template, std::fs::Permissions::from_mode(0o444)).expect("read only");
        let flash = Flash { path: template, format: DiskFormat::Raw };
        let firmware = Firmware::Uefi { code: flash.clone(), variables: flash, secure: false };
        let layout = Layout::new("", &scratch.root, "");
        firmware.prepare(&layout).expect("copied");
        std::fs::write(layout.firmware_variables(), "changed").expect("written by the machine");
    }
}
