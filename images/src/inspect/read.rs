// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::digest::Inputs;
use loadgauge_host::{CommandError, Entry, FileError, Store, fs};

use super::contents::{self, EXTENSIONS, FILES_OF_OEM, OEM_EXTENSIONS};
use super::disk_digest;
use super::esp::Esp;
use super::extension::VendorExtension;
use super::inspection::Inspection;
use crate::disk::Disk;
use crate::file_system::{FilePattern, FileSystem, FileSystemError, Selection, Tree};
use crate::gpt::{Partition, SECTOR, Table};
use crate::image::ImageError;
use crate::verity::HashTree;
use crate::{Architecture, OsRelease, Release};

/// Counts up when an inspection reads more or something else.
const FORMAT: &str = "3";
/// The number of warnings about extensions that are reported one by one.
const MAXIMUM_WARNINGS: usize = 20;
/// The file of an entry in the store.
const FILE: &str = "inspection.json";
/// The offset of the sector that GRUB's boot code loads, in bytes (`GRUB_BOOT_MACHINE_KERNEL_SECTOR`).
const BOOT_SECTOR: usize = 0x5c;

/// Inspects a disk, or finds the results of an earlier inspection in the store.
///
/// # Errors
/// The disk is not a Flatcar image or is damaged, a program of the host is missing, or the store cannot be
/// written.
pub(super) fn inspect(disk: &Disk, store: &Store) -> Result<Inspection, ImageError> {
    let digest = disk_digest::of_disk(disk, store)?;
    let mut inputs = Inputs::default();
    inputs.add("format", FORMAT);
    inputs.add("disk", &digest);
    let parse = |path: &Utf8Path, text: &[u8]| {
        serde_json::from_slice(text).map_err(|error| FileError::at("read", path)(error.into()))
    };
    match store.entry_to_use("inspection", &inputs.finish())? {
        Entry::Ready(entry) => {
            let path = entry.join(FILE);
            Ok(parse(&path, &fs::read(&path)?)?)
        }
        Entry::Vacant(vacancy) => {
            let scratch = vacancy.directory().join("scratch");
            fs::create_dir(&scratch)?;
            let (found, may_change) = read_disk(disk, digest, &scratch)?;
            if may_change {
                return Ok(found);
            }
            fs::remove_dir_all(&scratch)?;
            let path = vacancy.directory().join(FILE);
            let text = serde_json::to_vec_pretty(&found)
                .map_err(|error| FileError::at("write", &path)(error.into()))?;
            fs::write(&path, &text)?;
            vacancy.commit()?;
            Ok(parse(&path, &text)?)
        }
    }
}

/// Verifies every block of /usr with the hash tree behind it.
///
/// # Errors
/// There is no hash tree, or a block does not match its hash; the first one is named.
pub fn verify_usr(path: &Utf8Path) -> Result<HashTree, ImageError> {
    let disk = Disk::open(path)?;
    let table = Table::read(&disk)?;
    let usr = table.labelled("USR-A").ok_or_else(|| ImageError::NoUsr(path.to_owned()))?;
    let tree = HashTree::read(&disk, usr)?.ok_or_else(|| ImageError::Damaged {
        path: path.to_owned(),
        place: format!("partition {}", usr.number),
        cause: "there is no hash tree behind /usr".to_owned(),
    })?;
    tree.verify(&disk, usr)?;
    Ok(tree)
}

/// Inspects a disk. Returns whether another version of a program may find more, so that the result must not
/// be kept.
fn read_disk(disk: &Disk, digest: String, scratch: &Utf8Path) -> Result<(Inspection, bool), ImageError> {
    let path = disk.path();
    let table = Table::read(disk)?;
    let usr_a = table.labelled("USR-A").ok_or_else(|| ImageError::NoUsr(path.to_owned()))?;
    let (usr_kind, usr) =
        files(disk, usr_a, &contents::files_of_usr(), scratch)?.ok_or_else(|| ImageError::Damaged {
            path: path.to_owned(),
            place: format!("partition {} (USR-A)", usr_a.number),
            cause: "its file system is unknown".to_owned(),
        })?;
    let os_release = os_release(path, &usr)?;
    let esp = match table.of_type("efi") {
        Some(partition) => Some(read_esp(disk, partition, scratch)?),
        None => None,
    };
    let mut extensions = Extensions::default();
    extensions.add(&usr, EXTENSIONS, "/usr", scratch)?;
    let mut oem = None;
    if let Some(partition) = table.labelled("OEM")
        && let Some((_, tree)) = files(disk, partition, &FILES_OF_OEM, scratch)?
    {
        let text = tree.text("oem-release")?.unwrap_or_default();
        oem = OsRelease::parse(&text).ok().and_then(|fields| fields.get("ID").map(str::to_owned));
        extensions.add(&tree, OEM_EXTENSIONS, "/oem", scratch)?;
    }
    let release = os_release.get("VERSION_ID").and_then(|version| version.parse::<Release>().ok());
    let era = contents::era(&usr).or(release.map(Release::era));
    let systemd = contents::systemd(&usr).or(release.and_then(Release::systemd));
    let versions = versions(&usr, &extensions.read);
    let version =
        |name: &str| versions.iter().find(|(package, _)| package == name).map(|(_, version)| version.clone());
    let usr_b = table.labelled("USR-B").map(|partition| disk.is_empty(partition.offset, partition.size));
    let mut found = Inspection {
        format: disk.format(),
        digest,
        size: disk.length(),
        architecture: architecture(&os_release, &usr, esp.as_ref())?
            .ok_or_else(|| ImageError::NoArchitecture(path.to_owned()))?,
        era: era.ok_or_else(|| ImageError::NoSystemd(path.to_owned()))?,
        systemd: systemd.ok_or_else(|| ImageError::NoSystemd(path.to_owned()))?,
        usr: usr_kind,
        hash_tree: HashTree::read(disk, usr_a)?,
        boots_bios: boots_bios(disk, &table)?,
        docker: version("docker"),
        containerd: version("containerd"),
        certificates: contents::certificates(&usr),
        usr_b_is_empty: usr_b.transpose()?,
        disk_guid: table.disk_guid,
        partitions: table.partitions,
        os_release,
        esp,
        oem,
        extensions: extensions.read,
        warnings: bounded(extensions.warnings),
    };
    found.check();
    Ok((found, extensions.is_hosts_fault))
}

/// Extracts files from a partition; `None` where its file system is unknown.
fn files(
    disk: &Disk,
    partition: &Partition,
    patterns: &[FilePattern],
    scratch: &Utf8Path,
) -> Result<Option<(FileSystem, Tree)>, ImageError> {
    let image = scratch.join(format!("partition-{}", partition.number));
    disk.extract(partition.offset, partition.size, &image)?;
    let Some(kind) = FileSystem::identify(&fs::open(&image)?) else { return Ok(None) };
    let target = scratch.join(format!("files-{}", partition.number));
    let (tree, _) = kind.extract(&image, &target, Selection::Files(patterns)).map_err(|source| {
        let what = format!("partition {} of `{}`", partition.number, disk.path());
        ImageError::FileSystem { what, source }
    })?;
    fs::remove_file(&image)?;
    Ok(Some((kind, tree)))
}

fn read_esp(disk: &Disk, partition: &Partition, scratch: &Utf8Path) -> Result<Esp, ImageError> {
    let image = scratch.join("esp");
    disk.extract(partition.offset, partition.size, &image)?;
    let esp = Esp::read(&image, scratch)?;
    fs::remove_file(&image)?;
    Ok(esp)
}

fn os_release(path: &Utf8Path, usr: &Tree) -> Result<OsRelease, ImageError> {
    let text = usr.text("lib/os-release")?.ok_or_else(|| ImageError::NoOsRelease(path.to_owned()))?;
    OsRelease::parse(&text).map_err(|error| ImageError::Damaged {
        path: path.to_owned(),
        place: "`/usr/lib/os-release`".to_owned(),
        cause: error.to_string(),
    })
}

/// Returns the first warnings, and how many more there are.
fn bounded(mut warnings: Vec<String>) -> Vec<String> {
    let more = warnings.len().saturating_sub(MAXIMUM_WARNINGS);
    if more > 0 {
        warnings.truncate(MAXIMUM_WARNINGS);
        warnings.push(format!("{more} more extensions cannot be read"));
    }
    warnings
}

/// Extensions that ship with an image.
#[derive(Default)]
struct Extensions {
    read: Vec<VendorExtension>,
    /// about extensions that cannot be read: the image may boot without them
    warnings: Vec<String>,
    /// whether a program failed on one, which another version of it may read
    is_hosts_fault: bool,
}

impl Extensions {
    /// Inspects the extensions in a directory.
    fn add(
        &mut self,
        tree: &Tree,
        pattern: FilePattern,
        mount: &str,
        scratch: &Utf8Path,
    ) -> Result<(), ImageError> {
        for file in tree.names(pattern) {
            let path = format!("{}/{file}", pattern.directory);
            let Some(found) = tree.find(&path) else { continue };
            match VendorExtension::read(format!("{mount}/{path}"), &found, scratch) {
                Ok(extension) => self.read.push(extension),
                Err(error @ ImageError::Damaged { .. }) => self.warnings.push(error.to_string()),
                Err(ImageError::FileSystem {
                    source: FileSystemError::Command(source @ CommandError::Failed { .. }),
                    ..
                }) => {
                    let message = source.to_string();
                    let last = message.lines().next_back().unwrap_or_default();
                    self.warnings.push(format!("cannot read `{mount}/{path}`: {last}"));
                    self.is_hosts_fault = true;
                }
                Err(ImageError::FileSystem {
                    source: source @ (FileSystemError::Read { .. } | FileSystemError::Incomplete(_)),
                    ..
                }) => {
                    let reason = loadgauge_host::error::on_one_line(&source);
                    self.warnings.push(format!("cannot read `{mount}/{path}`: {reason}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Versions of Docker and containerd that the disk itself contains.
fn versions(usr: &Tree, extensions: &[VendorExtension]) -> Vec<(String, String)> {
    let mut versions = contents::torcx_versions(usr);
    for extension in extensions {
        if let (Some(package), Some(version)) = (extension.name.strip_suffix("-flatcar"), extension.version())
        {
            versions.push((package.to_owned(), version.to_owned()));
        }
    }
    versions
}

/// The architecture of the board, or else of the boot loader.
fn architecture(
    os_release: &OsRelease,
    usr: &Tree,
    esp: Option<&Esp>,
) -> Result<Option<Architecture>, ImageError> {
    let board = os_release.get("FLATCAR_BOARD").map(str::to_owned);
    let board = board.map_or_else(|| contents::board(usr), |board| Ok(Some(board)))?;
    Ok(match board.as_deref() {
        Some("amd64-usr") => Some(Architecture::Amd64),
        Some("arm64-usr") => Some(Architecture::Arm64),
        _ => esp.and_then(|esp| esp.loaders.first().copied()),
    })
}

/// Whether the first sector is GRUB's and loads something from BIOS-BOOT.
fn boots_bios(disk: &Disk, table: &Table) -> Result<bool, ImageError> {
    let Some(partition) = table.of_type("bios") else { return Ok(false) };
    let mut sector = vec![0; 512];
    disk.read(0, &mut sector)?;
    let target = sector[BOOT_SECTOR..BOOT_SECTOR + 8].try_into().map_or(0, u64::from_le_bytes);
    let offset = target.saturating_mul(SECTOR);
    let is_inside = (partition.offset..partition.offset + partition.size).contains(&offset);
    let is_bootable = sector.ends_with(&[0x55, 0xaa]) && sector[..64].iter().any(|byte| *byte != 0);
    Ok(is_bootable && is_inside && !disk.is_empty(offset, SECTOR)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_warnings_are_counted() {
        let warnings = |count: usize| bounded((0..count).map(|number| number.to_string()).collect());
        assert_eq!(warnings(20).len(), 20);
        let found = warnings(20_000);
        assert_eq!((found.len(), found[19].as_str()), (21, "19"));
        assert_eq!(found[20], "19980 more extensions cannot be read");
    }
}
