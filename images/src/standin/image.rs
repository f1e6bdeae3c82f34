// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::process::Stdio;

use camino::{Utf8Path, Utf8PathBuf};

use super::base::{ARCHIVE_INDEX, DPKG_STATUS, INITRD, KERNEL, ROOT_ARCHIVE, TIME};
use super::disk::{self, Content, Placed, SECTOR};
use super::error::{StandinError, io};
use super::manifest::{self, FileRecord, Manifest};
use super::options::Options;
use super::{grub, namespace, tree};
use crate::base::Base;
use crate::digest::{self, Inputs};
use crate::host::{CommandError, CommandExt as _, Entry, Store, Tool};
use crate::image::{DiskFormat, Era, Facts, Image};

/// Counts up when an entry changes in a way that its inputs do not show.
const FORMAT: &str = "3";
/// The file on the ESP by which Flatcar knows its first boot, and what is in it.
const FIRST_BOOT: &str = "If this file exists, Ignition will run and then delete the file.\n";
const DISK: &str = "disk.qcow2";
/// Where Debian's grub-pc-bin has GRUB's parts.
const GRUB: &str = "/usr/lib/grub/i386-pc";

/// An extension that ships with the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorExtension {
    /// without `.raw`, as in its extension-release
    pub name: String,
    /// the file
    pub path: Utf8PathBuf,
}

/// Puts a base, made by [`super::build_base`] in `directory`, and extensions on a bootable disk,
/// or finds that disk in the store.
///
/// The entry holds `disk.qcow2`, the kernel `vmlinuz`, `initrd.img`, the package database
/// `dpkg-status` and `manifest.json`, which is
/// a [`Manifest`]; [`Image::open`] reads it back.
///
/// `progress` is told what is being done, in short phrases.
///
/// # Errors
/// The host lacks a tool or refuses user namespaces, an extension cannot be read, or the store
/// cannot be written.
pub fn build_image(
    store: &Store,
    options: &Options,
    (base, directory): (&Base, &Utf8Path),
    extensions: &[VendorExtension],
    progress: &dyn Fn(&str),
) -> Result<Image, StandinError> {
    let mut records = BTreeMap::new();
    for extension in extensions {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
        if extension.name.is_empty() || !extension.name.bytes().all(plain) {
            return Err(StandinError::ExtensionName(extension.name.clone()));
        }
        records.insert(extension.name.clone(), record(&extension.path)?);
    }
    let scripts = scripts(options)?;
    let key = key(options, base, &scripts, &records);
    let entry = match store.entry("standin-image", &key)? {
        Entry::Ready(entry) => entry,
        Entry::Vacant(vacancy) => {
            let work = vacancy.directory();
            for name in [KERNEL, INITRD] {
                let (from, to) = (directory.join(name), work.join(name));
                fs::copy(&from, &to).map_err(io("copy", &from))?;
            }
            make_disk(work, &scripts, &directory.join(ROOT_ARCHIVE), extensions, progress)?;
            progress("writing the manifest");
            write_manifest(work, options, (base, directory), records, key)?;
            vacancy.commit()?
        }
    };
    Ok(Image::open(&entry)?)
}

/// The digest of all that goes in.
fn key(
    options: &Options,
    base: &Base,
    scripts: &[(&str, String)],
    extensions: &BTreeMap<String, FileRecord>,
) -> String {
    let mut inputs = Inputs::default();
    inputs.add("format", FORMAT);
    inputs.add("base", &base.digest);
    inputs.add("release", options.blueprint.release.to_string());
    for (name, text) in scripts {
        inputs.add(name, text);
    }
    inputs.add("table", disk::sfdisk_script(&disk::layout()));
    inputs.add("menu", grub::menu());
    inputs.add("modules", grub::MODULES.join(" "));
    for (name, record) in extensions {
        inputs.add(name, &record.sha256);
    }
    inputs.finish()
}

/// What makes the file systems of the disk: a script, and the one for the extensions that it calls.
fn scripts(options: &Options) -> Result<[(&'static str, String); 2], StandinError> {
    let script = |name: &'static str| match tree::hook(name, options) {
        Some(text) => Ok((name, text)),
        None => Err(io("read", Utf8Path::new(name))(std::io::ErrorKind::NotFound.into())),
    };
    Ok([script("assemble.sh")?, script("deliver.sh")?])
}

/// Makes the disk in `work`, which has the kernel and the initrd already.
fn make_disk(
    work: &Utf8Path,
    scripts: &[(&'static str, String)],
    root_archive: &Utf8Path,
    extensions: &[VendorExtension],
    progress: &dyn Fn(&str),
) -> Result<(), StandinError> {
    let layout = disk::layout();
    let raw = work.join("disk.raw");
    File::create(&raw).and_then(|file| file.set_len(disk::length(&layout))).map_err(io("create", &raw))?;
    partition(&raw, &layout)?;
    progress("making the file systems");
    make_file_systems(&raw, (work, scripts), root_archive, &layout, extensions)?;
    progress("making it bootable");
    for placed in &layout {
        match placed.partition.content {
            Content::Esp => fill_esp(&raw, work, placed)?,
            Content::BiosBoot => install_grub(&raw, work, placed)?,
            Content::Usr | Content::Root => {}
        }
    }
    progress("writing the disk image");
    let target = work.join(DISK);
    Tool::find("qemu-img")?
        .command()
        .args(["convert", "-f", "raw", "-O", "qcow2", raw.as_str(), target.as_str()])
        .run()?;
    fs::remove_file(&raw).map_err(io("remove", &raw))
}

/// Writes the partition table.
fn partition(raw: &Utf8Path, layout: &[Placed]) -> Result<(), StandinError> {
    let mut command = Tool::find("sfdisk")?.command();
    command.args(["--quiet", "--no-reread", "--no-tell-kernel", raw.as_str()]);
    let line = command.line();
    let start = |source| CommandError::Start { command: line.clone(), source };
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
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

/// Makes USR-A and ROOT in their places on the disk.
fn make_file_systems(
    raw: &Utf8Path,
    (work, scripts): (&Utf8Path, &[(&'static str, String)]),
    root_archive: &Utf8Path,
    layout: &[Placed],
    extensions: &[VendorExtension],
) -> Result<(), StandinError> {
    let tree = work.join("tree");
    let mut arguments = vec![raw.to_string(), root_archive.to_string(), tree.to_string()];
    for content in [Content::Usr, Content::Root] {
        for placed in layout.iter().filter(|placed| placed.partition.content == content) {
            arguments.push(placed.offset.to_string());
            arguments.push((placed.length / 1024).to_string());
        }
    }
    arguments.extend(extensions.iter().map(|extension| format!("{}={}", extension.name, extension.path)));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Tool::find("mke2fs")?;
    for (name, text) in scripts {
        let path = work.join(name);
        fs::write(&path, text).map_err(io("write", &path))?;
    }
    let mut command = namespace::script(&work.join("assemble.sh"), &arguments)?;
    command.env("SOURCE_DATE_EPOCH", TIME.to_string());
    command.run()?;
    for (name, _) in scripts {
        let path = work.join(name);
        fs::remove_file(&path).map_err(io("remove", &path))?;
    }
    Ok(())
}

/// Makes the ESP: kernel, initrd and the flag of the first boot.
fn fill_esp(raw: &Utf8Path, work: &Utf8Path, placed: &Placed) -> Result<(), StandinError> {
    let flag = work.join("first_boot");
    fs::write(&flag, FIRST_BOOT).map_err(io("write", &flag))?;
    Tool::find("mkfs.vfat")?
        .command()
        .env("SOURCE_DATE_EPOCH", TIME.to_string())
        .args(["-F", "32", "-i", "4c474350", "-n", placed.partition.label])
        .args(["--offset", &(placed.offset / SECTOR).to_string()])
        .args([raw.as_str(), &(placed.length / 1024).to_string()])
        .run()?;
    let image = format!("{raw}@@{}", placed.offset);
    let mtools = |name: &str| -> Result<_, StandinError> {
        let mut command = Tool::find(name)?.command();
        command.env("SOURCE_DATE_EPOCH", TIME.to_string()).args(["-i", &image]);
        Ok(command)
    };
    mtools("mmd")?.arg("::/flatcar").run()?;
    for (name, target) in [(KERNEL, "vmlinuz-a"), (INITRD, "initrd-a"), ("first_boot", "first_boot")] {
        mtools("mcopy")?.arg(work.join(name)).arg(format!("::/flatcar/{target}")).run()?;
    }
    fs::remove_file(&flag).map_err(io("remove", &flag))
}

/// Installs GRUB for BIOS as its own installer would on a disk that can be mounted.
fn install_grub(raw: &Utf8Path, work: &Utf8Path, placed: &Placed) -> Result<(), StandinError> {
    let memory_disk = work.join("memory-disk.tar");
    let menu = tree::TreeFile {
        path: "boot/grub/grub.cfg".to_owned(),
        content: grub::menu().into_bytes(),
        mode: 0o644,
    };
    let archive = tree::archive(&[menu], TIME).map_err(io("write", &memory_disk))?;
    fs::write(&memory_disk, archive).map_err(io("write", &memory_disk))?;

    let core_path = work.join("core.img");
    Tool::find("grub-mkimage")?
        .command()
        .args(["-O", "i386-pc", "-d", GRUB, "-p", grub::PREFIX, "-m", memory_disk.as_str()])
        .args(["-o", core_path.as_str()])
        .args(grub::MODULES)
        .run()?;
    let mut core = fs::read(&core_path).map_err(io("read", &core_path))?;
    let boot_path = Utf8Path::new(GRUB).join("boot.img");
    let boot = fs::read(&boot_path).map_err(io("read", &boot_path))?;

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
    let file = OpenOptions::new().write(true).open(raw).map_err(io("open", raw))?;
    file.write_all_at(&first_sector, 0).map_err(io("write", raw))?;
    file.write_all_at(&core, placed.offset).map_err(io("write", raw))?;
    for scratch in [memory_disk, core_path] {
        fs::remove_file(&scratch).map_err(io("remove", &scratch))?;
    }
    Ok(())
}

/// Writes manifest.json, the last file of an entry.
fn write_manifest(
    work: &Utf8Path,
    options: &Options,
    (base, directory): (&Base, &Utf8Path),
    extensions: BTreeMap<String, FileRecord>,
    inputs: String,
) -> Result<(), StandinError> {
    let status = fs::read_to_string(&base.dpkg_status).map_err(io("read", &base.dpkg_status))?;
    let copy = work.join(DPKG_STATUS);
    fs::write(&copy, &status).map_err(io("write", &copy))?;
    let index_path = directory.join(ARCHIVE_INDEX);
    let index = fs::read_to_string(&index_path).map_err(io("read", &index_path))?;
    let packages = manifest::installed(&status, &index)
        .map_err(|package| StandinError::NoDigest { package, index: index_path })?;
    let mut files = BTreeMap::new();
    for name in [DISK, KERNEL, INITRD, DPKG_STATUS] {
        files.insert(Utf8PathBuf::from(name), record(&work.join(name))?);
    }
    let manifest = Manifest {
        format: 1,
        inputs,
        image: Image {
            disk: Utf8PathBuf::from(DISK),
            format: DiskFormat::Qcow2,
            digest: files[Utf8Path::new(DISK)].sha256.clone(),
            facts: facts(options, base, &extensions),
            base: Some(Base { dpkg_status: Utf8PathBuf::from(DPKG_STATUS), ..base.clone() }),
        },
        packages,
        extensions,
        files,
    };
    let path = work.join("manifest.json");
    let text = serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::from);
    text.and_then(|text| fs::write(&path, text)).map_err(io("write", &path))
}

/// What the harness may rely on.
fn facts(options: &Options, base: &Base, extensions: &BTreeMap<String, FileRecord>) -> Facts {
    let era = options.blueprint.era();
    Facts {
        os_release: base.os_release.clone(),
        architecture: base.architecture,
        era,
        systemd: options.blueprint.systemd,
        vendor_extensions: match era {
            Era::Torcx => Vec::new(),
            Era::Sysext | Era::Initrd => extensions.keys().cloned().collect(),
        },
    }
}

/// A file's size and digest; a directory's are over all that is in it.
fn record(path: &Utf8Path) -> Result<FileRecord, StandinError> {
    if path.is_dir() {
        return record_directory(path);
    }
    let mut file = File::open(path).map_err(io("open", path))?;
    let size = file.seek(SeekFrom::End(0)).map_err(io("read", path))?;
    Ok(FileRecord { size, sha256: digest::of_file(path).map_err(io("read", path))? })
}

/// The size of all files of a directory, and a digest over names, kinds, modes and contents.
fn record_directory(path: &Utf8Path) -> Result<FileRecord, StandinError> {
    let (mut size, mut inputs) = (0, Inputs::default());
    for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
        let entry = entry.map_err(|error| io("read", path)(error.into()))?;
        let fail = |error| io("read", path)(error);
        let below = entry.path().strip_prefix(path).unwrap_or(entry.path()).to_string_lossy().into_owned();
        let metadata = entry.path().symlink_metadata().map_err(fail)?;
        let name = format!("{:o} {below}", metadata.mode());
        if metadata.is_file() {
            size += metadata.len();
            let file = Utf8Path::from_path(entry.path()).unwrap_or(path);
            inputs.add(&name, digest::of_file(file).map_err(io("read", file))?);
        } else if metadata.is_symlink() {
            let target = fs::read_link(entry.path()).map_err(fail)?;
            inputs.add(&name, target.to_string_lossy().as_bytes());
        } else {
            inputs.add(&name, "");
        }
    }
    Ok(FileRecord { size, sha256: inputs.finish() })
}
