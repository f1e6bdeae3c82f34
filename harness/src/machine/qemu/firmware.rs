// SPDX-License-Identifier: Apache-2.0
//! What a machine executes first: a BIOS, or UEFI with variables of its own.
use loadgauge_host::Hint;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_images::image::DiskFormat;
use loadgauge_images::{Architecture, Image};
use serde::{Deserialize, Serialize};

use super::firmware_descriptor;
use crate::machine::directory::{FileError, at};
use crate::machine::layout::Layout;

/// The firmware that a scenario or the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FirmwareChoice {
    /// SeaBIOS, which QEMU brings
    Bios,
    /// UEFI
    Uefi,
    /// UEFI that starts only what is signed by a key it knows
    UefiSecure,
}

impl FirmwareChoice {
    /// What an architecture starts with when nobody says.
    pub fn of(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Amd64 => Self::Bios,
            Architecture::Arm64 => Self::Uefi,
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bios => "BIOS",
            Self::Uefi => "UEFI",
            Self::UefiSecure => "UEFI with Secure Boot",
        }
    }
}

/// The firmware of a machine, found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Firmware {
    /// QEMU's own
    Bios,
    /// UEFI
    Uefi {
        /// its code, which all machines share
        code: Flash,
        /// its variables as they are on a new machine; each machine gets a copy
        variables: Flash,
        /// whether it keeps its variables from the system by system management mode, as Secure Boot
        /// on amd64 must
        secure: bool,
    },
}

/// The contents of a flash chip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flash {
    /// the file
    pub path: Utf8PathBuf,
    /// how it is stored
    pub format: DiskFormat,
}

/// There is no such firmware.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FirmwareError {
    /// neither beside the image nor on the host
    #[error("there is no {} for {architecture}: neither `{beside}` lies beside the image nor does the host have one",
        choice.name())]
    Missing {
        /// what was asked for
        choice: FirmwareChoice,
        /// for which guest
        architecture: Architecture,
        /// the file that was looked for beside the image
        beside: String,
    },
    /// arm64 never had one
    #[error("an arm64 machine has no BIOS")]
    NoBios,
}

impl FirmwareError {
    /// Whether it is the host that lacks something.
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
            Self::NoBios => "say `firmware = \"uefi\"`, or nothing".to_owned(),
        })
    }
}

impl Firmware {
    /// Finds the firmware for an image: what lies beside it as on a release server, else what
    /// the host's packages say they bring.
    ///
    /// # Errors
    /// There is none of this kind.
    pub fn find(choice: Option<FirmwareChoice>, image: &Image) -> Result<Self, FirmwareError> {
        let choice = choice.unwrap_or(FirmwareChoice::of(image.facts.architecture));
        find(choice, image, &firmware_descriptor::DIRECTORIES.map(Utf8Path::new))
    }

    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bios => FirmwareChoice::Bios.name(),
            Self::Uefi { secure: false, .. } => FirmwareChoice::Uefi.name(),
            Self::Uefi { secure: true, .. } => FirmwareChoice::UefiSecure.name(),
        }
    }

    /// Gives a machine its own copy of the variables.
    pub(crate) fn prepare(&self, layout: &Layout) -> Result<(), FileError> {
        let Self::Uefi { variables, .. } = self else { return Ok(()) };
        let copy = layout.firmware_variables();
        std::fs::copy(&variables.path, &copy).map_err(at("copy", &variables.path))?;
        // The template may be nobody's to write, and its copy has its mode.
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&copy, mode).map_err(at("make writable", copy))
    }

    /// QEMU's arguments for it.
    pub(crate) fn arguments(&self, architecture: Architecture, layout: &Layout) -> Vec<String> {
        let Self::Uefi { code, variables, secure } = self else { return Vec::new() };
        let flash = |unit: u8, format: DiskFormat, path: &Utf8Path, more: &str| {
            let path = path.as_str().replace(',', ",,");
            format!("if=pflash,unit={unit},format={},file={path}{more}", format.name())
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

/// A chip's contents as releases have them: raw up to 4116, qcow2 from 4152.
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
    fn what_lies_beside_the_image_goes_before_the_hosts() {
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
    fn the_host_has_what_its_packages_bring() {
        let scratch = scratch(Architecture::Amd64);
        for (choice, secure) in [(FirmwareChoice::Uefi, false), (FirmwareChoice::UefiSecure, true)] {
            let found =
                Firmware::find(Some(choice), &scratch.image).expect("ovmf is installed where tests run");
            let Firmware::Uefi { code, variables, secure: found } = found else { panic!("{choice:?}") };
            assert!(found == secure && code.path.exists() && variables.path.exists());
        }
    }

    #[test]
    fn an_arm64_machine_has_no_bios() {
        let scratch = scratch(Architecture::Arm64);
        assert_eq!(find(FirmwareChoice::Bios, &scratch.image, &[]), Err(FirmwareError::NoBios));
        assert_eq!(FirmwareChoice::of(Architecture::Arm64), FirmwareChoice::Uefi);
    }

    #[test]
    fn a_machine_gets_variables_that_it_can_write() {
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
