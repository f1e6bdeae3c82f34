// SPDX-License-Identifier: Apache-2.0
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};

use super::base::TIME;
use super::disk::{self, Content, PlacedPartition, SECTOR};
use super::error::StandinError;
use super::file_systems::FileSystems;
use super::grub::{self, Firmware};
use super::tree::{self, TreeFile};
use loadgauge_host::{CommandError, CommandExt as _, Tool, children};

/// The content of the file on the ESP that marks a first boot in Flatcar.
const FIRST_BOOT: &str = "If this file exists, Ignition will run and then delete the file.\n";
/// The size of a block to copy, in bytes; blocks of zeros are skipped.
const BLOCK: usize = 64 * 1024;

/// The parts of a disk to write.
pub(super) struct Parts<'a> {
    pub(super) kernel: Utf8PathBuf,
    pub(super) initrd: Utf8PathBuf,
    pub(super) file_systems: &'a FileSystems,
    /// the directory for temporary files while the disk is written
    pub(super) scratch: &'a Utf8Path,
}

/// Writes a disk with all its partitions to a sparse file.
pub(super) fn disk(
    raw: &Utf8Path,
    layout: &[PlacedPartition],
    parts: &Parts<'_>,
) -> Result<(), StandinError> {
    fs::create(raw)?.set_len(disk::length(layout)).map_err(FileError::at("create", raw))?;
    partition(raw, layout)?;
    let file = OpenOptions::new().write(true).open(raw).map_err(FileError::at("open", raw))?;
    for placed in layout {
        match placed.partition.content {
            Content::Esp => fill_esp(raw, placed, parts)?,
            Content::BiosBoot => install_grub(raw, placed, parts)?,
            Content::Empty => {}
            content @ (Content::Usr | Content::Oem | Content::Root) => {
                if let Some(image) = parts.file_systems.image(content) {
                    copy(&image, &file, placed).map_err(FileError::at("copy", &image))?;
                }
            }
        }
    }
    Ok(())
}

/// Copies an image to its partition and skips blocks of zeros, which the disk already contains.
fn copy(image: &Utf8Path, disk: &File, placed: &PlacedPartition) -> io::Result<()> {
    let source = fs::open(image).map_err(|error| error.source)?;
    if source.metadata()?.len() > placed.length {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than its partition"));
    }
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    // Most of an image consists of holes, which are skipped without reading them.
    while let Some(start) = next_data(&source, at)? {
        at = start - start % BLOCK as u64;
        let count = read_block(&source, &mut block, at)?;
        if count == 0 {
            break;
        }
        if block[..count].iter().any(|byte| *byte != 0) {
            disk.write_all_at(&block[..count], placed.offset + at)?;
        }
        at += count as u64;
    }
    Ok(())
}

/// Returns the offset of the next data of a file, at or after an offset.
fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(start) => Ok(Some(start)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads a block, or the rest of the file.
fn read_block(mut file: &File, block: &mut [u8], at: u64) -> io::Result<usize> {
    rustix::fs::seek(file, rustix::fs::SeekFrom::Start(at))?;
    let mut count = 0;
    while count < block.len() {
        match file.read(&mut block[count..])? {
            0 => break,
            more => count += more,
        }
    }
    Ok(count)
}

/// Writes the partition table.
fn partition(raw: &Utf8Path, layout: &[PlacedPartition]) -> Result<(), StandinError> {
    let mut command = Tool::find("sfdisk")?.command();
    command.args(["--quiet", "--no-reread", "--no-tell-kernel", raw.as_str()]);
    let line = command.line();
    let start = |source| CommandError::Start { command: line.clone(), source };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = children::start(&mut command).map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(disk::sfdisk_script(layout).as_bytes()).map_err(start)?;
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(());
    }
    let tail = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(CommandError::Failed { command: line, status: output.status, tail }.into())
}

/// Fills the ESP: GRUB for UEFI, kernel, initrd, root hash and the file that marks a first boot.
fn fill_esp(raw: &Utf8Path, placed: &PlacedPartition, parts: &Parts<'_>) -> Result<(), StandinError> {
    let scratch = |name: &str| parts.scratch.join(name);
    let (flag, hash, uefi) = (scratch("first_boot"), scratch("usrhash-a.cfg"), scratch("bootx64.efi"));
    fs::write(&flag, FIRST_BOOT)?;
    fs::write(&hash, grub::hash_assignment(&parts.file_systems.root_hash))?;
    make_grub(Firmware::Uefi, &uefi, parts)?;
    Tool::find("mkfs.vfat")?
        .command()
        .env("SOURCE_DATE_EPOCH", TIME.to_string())
        .args(fat(placed.length))
        .args(["-i", "4c474350", "-n", placed.partition.label])
        .args(["--offset", &(placed.offset / SECTOR).to_string()])
        .args([raw.as_str(), &(placed.length / 1024).to_string()])
        .run()?;
    let image = format!("{raw}@@{}", placed.offset);
    let mtools = |name: &str| -> Result<_, StandinError> {
        let mut command = Tool::find(name)?.command();
        command.env("SOURCE_DATE_EPOCH", TIME.to_string()).args(["-i", &image]);
        Ok(command)
    };
    mtools("mmd")?.args(["::/flatcar", "::/EFI", "::/EFI/boot"]).run()?;
    for (from, target) in [
        (&parts.kernel, "flatcar/vmlinuz-a"),
        (&parts.initrd, "flatcar/initrd-a"),
        (&hash, "flatcar/usrhash-a.cfg"),
        (&flag, "flatcar/first_boot"),
        (&uefi, "EFI/boot/bootx64.efi"),
    ] {
        mtools("mcopy")?.arg(from).arg(format!("::/{target}")).run()?;
    }
    for path in [flag, hash, uefi] {
        fs::remove_file(&path)?;
    }
    Ok(())
}

/// Returns the options of mkfs.vfat for the kind of FAT, which it would choose from the length of the
/// whole disk.
///
/// FAT32 needs at least 65,525 clusters, or mtools and firmware take it for another kind.
fn fat(length: u64) -> &'static [&'static str] {
    const SMALL: u64 = 256 << 20;
    if length < SMALL { &["-F", "16", "-s", "8"] } else { &["-F", "32"] }
}

/// Builds GRUB for a kind of firmware, with the boot menu embedded.
fn make_grub(firmware: Firmware, target: &Utf8Path, parts: &Parts<'_>) -> Result<(), StandinError> {
    let memory_disk = parts.scratch.join("memory-disk.tar");
    let menu =
        TreeFile { path: "boot/grub/grub.cfg".to_owned(), content: grub::menu().into_bytes(), mode: 0o644 };
    let archive = tree::archive(&[menu], TIME).map_err(FileError::at("write", &memory_disk))?;
    fs::write(&memory_disk, archive)?;
    Tool::find("grub-mkimage")?
        .command()
        .args(["-O", firmware.format(), "-d", &firmware.parts(), "-p", grub::PREFIX])
        .args(["-m", memory_disk.as_str(), "-o", target.as_str()])
        .args(firmware.modules())
        .run()?;
    fs::remove_file(&memory_disk).map_err(Into::into)
}

/// Installs GRUB for BIOS as grub-install would on a disk that can be mounted.
fn install_grub(raw: &Utf8Path, placed: &PlacedPartition, parts: &Parts<'_>) -> Result<(), StandinError> {
    let core_path = parts.scratch.join("core.img");
    make_grub(Firmware::Bios, &core_path, parts)?;
    let mut core = fs::read(&core_path)?;
    let boot_path = Utf8PathBuf::from(Firmware::Bios.parts()).join("boot.img");
    let boot = fs::read(&boot_path)?;

    let sector = placed.offset / SECTOR;
    let foreign = |path: &Utf8Path| {
        let path = path.to_owned();
        move |cause| StandinError::Grub { path, cause }
    };
    grub::place_core(&mut core, sector).map_err(foreign(&core_path))?;
    if core.len() as u64 > placed.length {
        return Err(foreign(&core_path)("it is larger than its partition"));
    }
    let first_sector = grub::boot_code(&boot, sector).map_err(foreign(&boot_path))?;
    let file = OpenOptions::new().write(true).open(raw).map_err(FileError::at("open", raw))?;
    file.write_all_at(&first_sector, 0).map_err(FileError::at("write", raw))?;
    file.write_all_at(&core, placed.offset).map_err(FileError::at("write", raw))?;
    fs::remove_file(&core_path).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_copied_to_its_place_and_one_too_large_is_refused() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let image = directory.join("image");
        let file = File::create(&image).expect("created");
        file.set_len(1 << 20).expect("sized");
        file.write_all_at(b"first", 70_000).expect("written");
        file.write_all_at(b"last", (1 << 20) - 4).expect("written");
        let disk = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(directory.join("disk"))
            .expect("created");
        let mut placed = disk::layout(crate::BLUEPRINTS[0])[0];
        (placed.offset, placed.length) = (4096, 1 << 20);
        copy(&image, &disk, &placed).expect("copied");
        let mut found = vec![0; (1 << 20) + 4096];
        disk.read_exact_at(&mut found, 0).expect("read");
        let expected = [vec![0; 4096], fs::read(&image).expect("read")].concat();
        assert!(found == expected, "the copy differs");
        placed.length -= 1;
        assert!(copy(&image, &disk, &placed).is_err());
    }
}
