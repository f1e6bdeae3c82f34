// SPDX-License-Identifier: Apache-2.0
use super::disk::SECTOR;

/// Offset in boot.img of the 64-bit sector number of core.img
/// (`GRUB_BOOT_MACHINE_KERNEL_SECTOR` in grub's `i386/pc/boot.h`).
const KERNEL_SECTOR: usize = 0x5c;
/// Offset in boot.img of a jump that grub's installer removes on hard disks, so that GRUB uses the
/// firmware's drive number (`GRUB_BOOT_MACHINE_DRIVE_CHECK`).
const DRIVE_CHECK: usize = 0x66;
/// The length of the code in boot.img; the partition table follows it.
const BOOT_CODE: usize = 440;
/// Offset in core.img's first sector of its only block list: the 64-bit sector number of the remaining
/// sectors, their number, and the segment where they are loaded.
const BLOCK_LIST: usize = 0x1f4;

/// The kind of firmware that starts GRUB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Firmware {
    /// BIOS
    Bios,
    /// 64-bit UEFI
    Uefi,
}

/// The modules of GRUB that the boot menu needs.
const MODULES: &[&str] = &[
    "boot",
    "btrfs",
    "configfile",
    "echo",
    "fat",
    "linux",
    "memdisk",
    "minicmd",
    "normal",
    "part_gpt",
    "search",
    "search_label",
    "serial",
    "tar",
    "terminal",
    "test",
];

impl Firmware {
    /// Returns the format's name for grub-mkimage(1).
    pub(super) fn format(self) -> &'static str {
        match self {
            Self::Bios => "i386-pc",
            Self::Uefi => "x86_64-efi",
        }
    }

    /// Returns the directory in which Debian's packages install GRUB's parts.
    pub(super) fn parts(self) -> String {
        format!("/usr/lib/grub/{}", self.format())
    }

    /// Returns the modules to include.
    pub(super) fn modules(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Self::Bios => &["biosdisk"],
            Self::Uefi => &[],
        };
        [own, MODULES].concat()
    }
}

/// The directory of GRUB's configuration, on the memory disk that is embedded in GRUB.
pub(super) const PREFIX: &str = "(memdisk)/boot/grub";

/// Returns boot.img as the first bytes of a disk whose core.img starts at `core_sector`.
pub(super) fn boot_code(boot_image: &[u8], core_sector: u64) -> Result<Vec<u8>, &'static str> {
    if boot_image.len() != SECTOR_LENGTH || boot_image[510..] != [0x55, 0xaa] {
        return Err("boot.img is not a boot sector");
    }
    let mut code = boot_image[..BOOT_CODE].to_vec();
    code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&core_sector.to_le_bytes());
    code[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    Ok(code)
}

/// Writes the position of core.img's other sectors on the disk into its first sector.
pub(super) fn place_core(core_image: &mut [u8], core_sector: u64) -> Result<(), &'static str> {
    let sectors = (core_image.len() as u64).div_ceil(SECTOR) - 1;
    let list = core_image.get(BLOCK_LIST..SECTOR_LENGTH).ok_or("core.img is shorter than a sector")?;
    if u64::from(u16::from_le_bytes([list[8], list[9]])) != sectors {
        return Err("core.img's own length is not where it was expected");
    }
    core_image[BLOCK_LIST..BLOCK_LIST + 8].copy_from_slice(&(core_sector + 1).to_le_bytes());
    Ok(())
}

const SECTOR_LENGTH: usize = 512;

/// Returns the configuration that sets the root hash of /usr, which GRUB sources.
pub(super) fn hash_assignment(hash: &str) -> String {
    format!("set usrhash=\"{hash}\"\n")
}

/// Returns the boot menu with the kernel arguments filled in.
pub(super) fn menu() -> String {
    include_str!("../assets/grub.cfg").replace("@KERNEL_ARGUMENTS@", &super::disk::kernel_arguments())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_sector_points_at_core_and_keeps_off_the_partition_table() {
        let mut image = vec![0xee; 512];
        image[510..].copy_from_slice(&[0x55, 0xaa]);
        let code = boot_code(&image, 0x0102_0304).expect("a boot sector");
        assert_eq!(code.len(), 440);
        assert_eq!(code[0x5c..0x64], [4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(code[0x64..0x68], [0xee, 0xee, 0x90, 0x90]);
        assert!(boot_code(&image[..511], 1).is_err());
        image[511] = 0;
        assert!(boot_code(&image, 1).is_err());
    }

    #[test]
    fn core_points_behind_its_own_first_sector() {
        let mut core = vec![0; 512 * 4 - 100];
        core[0x1fc] = 3;
        place_core(&mut core, 4096).expect("a core image");
        assert_eq!(core[0x1f4..0x1fc], 4097_u64.to_le_bytes());
        core[0x1fc] = 9;
        assert!(place_core(&mut core, 4096).is_err());
        assert!(place_core(&mut [0; 100], 4096).is_err());
    }

    #[test]
    fn the_menu_boots_flatcars_way() {
        insta::assert_snapshot!(menu());
    }
}
