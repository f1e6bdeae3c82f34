// SPDX-License-Identifier: Apache-2.0
use std::io::Read as _;
use std::process::{Output, Stdio};

use camino::Utf8Path;
use loadgauge_host::{Confinement, FileError, fs};
use serde::{Deserialize, Serialize};

use crate::Architecture;
use crate::image::ImageError;
use crate::verity::{in_kernel, parse_root_hash};

/// The boot loaders that UEFI looks for, in lower case.
const LOADERS: [(&str, Architecture); 2] =
    [("efi/boot/bootx64.efi", Architecture::Amd64), ("efi/boot/bootaa64.efi", Architecture::Arm64)];
/// The files that mark the first boot.
const FLAGS: [&str; 2] = ["flatcar/first_boot", "coreos/first_boot"];
/// Kernels of USR-A.
const KERNELS: [&str; 2] = ["flatcar/vmlinuz-a", "coreos/vmlinuz-a"];
/// Boot menus that may contain the root hash instead of the kernel.
const MENUS: [&str; 2] = ["flatcar/usrhash-a.cfg", "flatcar/grub/usrhash-a.cfg"];

/// The contents of the EFI system partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Esp {
    /// the architectures with a boot loader
    pub loaders: Vec<Architecture>,
    /// whether the next boot is the first
    pub first_boot: bool,
    /// whether the kernel of USR-A exists
    pub kernel: bool,
    /// the root hash of /usr in the kernel of USR-A or in the boot menu, in hex
    pub root_hash: Option<String>,
}

impl Esp {
    /// Reads a FAT file system by mtools, without mounting it.
    pub(super) fn read(image: &Utf8Path, scratch: &Utf8Path) -> Result<Self, ImageError> {
        let output = mtools("mdir", &["-/", "-b", "::/"], image, scratch)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let paths: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("::/")).collect();
        let has = |name: &str| paths.iter().any(|path| path.eq_ignore_ascii_case(name));
        let kernel = KERNELS.into_iter().find(|path| has(path));
        let mut root_hash = None;
        if let Some(path) = kernel {
            root_hash = in_kernel(&copy(image, path, 4096, scratch)?);
        }
        if let (None, Some(path)) = (&root_hash, MENUS.into_iter().find(|path| has(path))) {
            root_hash = named_hash(&String::from_utf8_lossy(&copy(image, path, 4096, scratch)?));
        }
        let loaders = LOADERS.into_iter().filter(|(path, _)| has(path)).map(|(_, architecture)| architecture);
        let first_boot = FLAGS.into_iter().any(has);
        Ok(Self { loaders: loaders.collect(), first_boot, kernel: kernel.is_some(), root_hash })
    }
}

/// The first word that is a root hash.
fn named_hash(text: &str) -> Option<String> {
    text.split(|character: char| !character.is_ascii_alphanumeric())
        .find_map(|word| parse_root_hash(word.as_bytes()))
}

/// Runs a command of mtools(1). It refuses images whose size differs from the one in their partition
/// table, as that of partitions for other disks does; reading them does no harm.
fn mtools(
    name: &str,
    arguments: &[&str],
    image: &Utf8Path,
    scratch: &Utf8Path,
) -> Result<Output, ImageError> {
    let confinement = Confinement { readable: &[image], writable: &[scratch], as_root: false };
    let mut command = confinement.command(name)?;
    command.env("MTOOLS_SKIP_CHECK", "1").env("MTOOLSRC", "/dev/null").args(["-i", image.as_str()]);
    confinement
        .run(command.args(arguments), Stdio::null())
        .map_err(|source| ImageError::Command { what: "the EFI system partition".to_owned(), source })
}

/// The beginning of a file.
fn copy(image: &Utf8Path, path: &str, limit: u64, scratch: &Utf8Path) -> Result<Vec<u8>, ImageError> {
    let target = scratch.join("copied");
    mtools("mcopy", &["-n", "-o", &format!("::/{path}"), target.as_str()], image, scratch)?;
    let mut bytes = Vec::new();
    fs::open(&target)?.take(limit).read_to_end(&mut bytes).map_err(FileError::at("read", &target))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_root_hash_is_found_in_a_menu() {
        let hash = "0f".repeat(32);
        assert_eq!(named_hash(&format!("set usrhash=\"{hash}\"\n")), Some(hash.clone()));
        assert_eq!(named_hash(&format!("set usrhash={hash}0\n")), None);
    }

    #[test]
    fn what_mtools_wrote_is_read() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let image = directory.join("esp");
        let kernel = directory.join("kernel");
        let mut content = vec![0; 10_000];
        content[64..128].copy_from_slice("ab".repeat(32).as_bytes());
        fs::write(&kernel, content).expect("written");
        let script = format!(
            "PATH=$PATH:/usr/sbin; truncate -s 64M {image} && mkfs.vfat -F 32 {image} >/dev/null && \
             mmd -i {image} ::/flatcar ::/EFI ::/EFI/Boot && mcopy -i {image} {kernel} ::/flatcar/vmlinuz-a && \
             mcopy -i {image} {kernel} ::/EFI/Boot/BOOTX64.EFI"
        );
        assert!(Command::new("sh").args(["-c", &script]).status().expect("sh runs").success());
        let mut expected = Esp {
            loaders: vec![Architecture::Amd64],
            first_boot: false,
            kernel: true,
            root_hash: Some("ab".repeat(32)),
        };
        assert_eq!(Esp::read(&image, directory).expect("read"), expected);
        let flag = format!("mcopy -i {image} {kernel} ::/flatcar/first_boot");
        assert!(Command::new("sh").args(["-c", &flag]).status().expect("sh runs").success());
        expected.first_boot = true;
        assert_eq!(Esp::read(&image, directory).expect("read"), expected);
        fs::write(&image, b"nothing").expect("written");
        assert!(Esp::read(&image, directory).is_err());
    }
}
