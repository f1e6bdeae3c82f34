// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::base::{ARCHIVE_INDEX, BASE_SQUASHFS, DPKG_STATUS, INITRD, KERNEL, ROOT_ARCHIVE};
use super::error::{StandinError, io};
use super::file_systems::{self, FileSystems};
use super::manifest::{self, FileRecord, Manifest};
use super::options::Options;
use super::{disk, grub, kernel, write};
use loadgauge_host::digest::{self, Inputs};
use loadgauge_host::{CommandExt as _, Entry, Store, Tool};
use loadgauge_images::base::Base;
use loadgauge_images::image::{DiskFormat, Era, Facts, Image};
use loadgauge_images::release_directory;

/// Counts up when an entry changes in a way that its inputs do not show.
const FORMAT: &str = "6";
/// The files of an entry, by the names that a release server has them under.
const DISK: &str = "flatcar_production_qemu_image.img";
const DISK_UEFI: &str = "flatcar_production_qemu_uefi_image.img";
const RELEASED_KERNEL: &str = "flatcar_production_image.vmlinuz";
const ROOT_HASH: &str = "flatcar_production_image_verity.txt";
const INCLUDED: &str = "rootfs-included-sysexts";
/// Files of an entry that no release has.
const PRIVATE: [&str; 3] = [INITRD, DPKG_STATUS, "manifest.json"];
/// Whose key a stand-in is signed by.
const SIGNER: &str = "loadgauge stand-in (test) <stand-in@loadgauge.invalid>";
/// The host's UEFI and an empty store for its variables, and what they are called in a release.
const FIRMWARE: [(&[&str], &str); 2] = [
    (
        &["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd"],
        "flatcar_production_qemu_uefi_efi_code",
    ),
    (
        &["/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/OVMF/OVMF_VARS.fd"],
        "flatcar_production_qemu_uefi_efi_vars",
    ),
];

/// An extension that ships with the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorExtension {
    /// without `.raw`, as in its extension-release
    pub name: String,
    /// the file, or the directory where the era has another form for it
    pub path: Utf8PathBuf,
}

/// Puts a base, made by [`super::build_base`] in a directory, and extensions on a bootable disk,
/// or finds that disk in the store.
///
/// The entry has the files of a release under their names on a release server: the disk for BIOS and
/// UEFI, the kernel, the root hash of /usr, the base with its package database, the firmware for
/// UEFI, the extensions with their lists, and each file's digests and signatures. Beside them lie the
/// initrd `initrd.img`, the package database `dpkg-status`, and `manifest.json`, which says what all of
/// it was made from; [`Image::open`] reads none of them.
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
    let file_systems =
        file_systems::build(store, options, (base, directory), extensions, &records, progress)?;
    let key = key(options, base, &file_systems, &records);
    let entry = match store.entry("standin-image", &key)? {
        Entry::Ready(entry) => entry,
        Entry::Vacant(vacancy) => {
            let work = vacancy.directory();
            copy_parts(work, options, directory, extensions)?;
            write_kernel(work, directory, &file_systems.root_hash)?;
            make_disk(work, options, &file_systems, progress)?;
            progress("writing the manifest");
            let manifest = write_manifest(work, options, (base, directory), records, key)?;
            finish(work, options, directory, &manifest, progress)?;
            vacancy.commit()?
        }
    };
    Ok(Image::open(&entry, store, progress)?)
}

/// The digest of all that goes in.
fn key(
    options: &Options,
    base: &Base,
    file_systems: &FileSystems,
    extensions: &BTreeMap<String, FileRecord>,
) -> String {
    let mut inputs = Inputs::default();
    inputs.add("format", FORMAT);
    inputs.add("release", options.blueprint.release.to_string());
    inputs.add("base", &base.digest);
    inputs.add("file systems", file_systems.key());
    inputs.add("table", disk::sfdisk_script(&disk::layout(options.blueprint)));
    inputs.add("menu", grub::menu());
    for firmware in [grub::Firmware::Bios, grub::Firmware::Uefi] {
        inputs.add("modules", firmware.modules().join(" "));
    }
    for (name, record) in extensions {
        inputs.add(name, &record.sha256);
    }
    inputs.finish()
}

/// Puts in place what is as it was made before: the base, the initrd, the firmware, the extensions.
fn copy_parts(
    work: &Utf8Path,
    options: &Options,
    base: &Utf8Path,
    extensions: &[VendorExtension],
) -> Result<(), StandinError> {
    for name in [INITRD, BASE_SQUASHFS] {
        link(&base.join(name), &work.join(name))?;
    }
    for (places, name) in FIRMWARE {
        // A host without it has no use for a machine with UEFI either.
        let Some(place) = places.iter().map(Utf8Path::new).find(|place| place.exists()) else { continue };
        if options.blueprint.firmware_in_qcow2() {
            let target = work.join(format!("{name}.qcow2"));
            Tool::find("qemu-img")?
                .command()
                .args(["convert", "-f", "raw", "-O", "qcow2", place.as_str(), target.as_str()])
                .run()?;
        } else {
            fs::copy(place, work.join(format!("{name}.fd"))).map_err(io("copy", place))?;
        }
    }
    let included = work.join(INCLUDED);
    for extension in extensions.iter().filter(|extension| extension.path.is_file()) {
        fs::create_dir_all(&included).map_err(io("create", &included))?;
        link(&extension.path, &included.join(format!("{}.raw", extension.name)))?;
        for list in ["contents", "contents_wtd", "disk_usage", "packages"] {
            let name = format!("{}_{list}.txt", extension.name);
            let from = extension.path.with_file_name(&name);
            if from.exists() {
                link(&from, &included.join(name))?;
            }
        }
    }
    Ok(())
}

/// A second name for a file of the store, or a copy where it lies on another file system.
fn link(from: &Utf8Path, to: &Utf8Path) -> Result<(), StandinError> {
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop)).map_err(io("copy", from))
}

/// Writes the kernel with the root hash in it, and the hash in a file of its own.
fn write_kernel(work: &Utf8Path, base: &Utf8Path, hash: &str) -> Result<(), StandinError> {
    let path = base.join(KERNEL);
    let mut image = fs::read(&path).map_err(io("read", &path))?;
    kernel::write_root_hash(&mut image, hash)
        .map_err(|cause| StandinError::Kernel { path: path.clone(), cause })?;
    for (name, content) in [(RELEASED_KERNEL, image), (ROOT_HASH, format!("{hash}\n").into_bytes())] {
        let path = work.join(name);
        fs::write(&path, content).map_err(io("write", &path))?;
    }
    Ok(())
}

/// Makes the disk in `work`, which has the kernel and the initrd already.
fn make_disk(
    work: &Utf8Path,
    options: &Options,
    file_systems: &FileSystems,
    progress: &dyn Fn(&str),
) -> Result<(), StandinError> {
    progress("making the disk bootable");
    let raw = work.join("disk.raw");
    let parts = write::Parts {
        kernel: work.join(RELEASED_KERNEL),
        initrd: work.join(INITRD),
        file_systems,
        scratch: work,
    };
    write::disk(&raw, &disk::layout(options.blueprint), &parts)?;
    progress("writing the disk image");
    let mut command = Tool::find("qemu-img")?.command();
    command.args(["convert", "-f", "raw", "-O", "qcow2", "-o", "compat=0.10"]);
    if options.blueprint.compressed_disk() {
        command.args(["-c", "-W"]);
    }
    command.args([&raw, &work.join(DISK)]).run()?;
    fs::remove_file(&raw).map_err(io("remove", &raw))?;
    let other = work.join(DISK_UEFI);
    std::os::unix::fs::symlink(DISK, &other).map_err(io("create", &other))
}

/// Writes manifest.json, the last file of an entry.
fn write_manifest(
    work: &Utf8Path,
    options: &Options,
    (base, directory): (&Base, &Utf8Path),
    extensions: BTreeMap<String, FileRecord>,
    inputs: String,
) -> Result<Manifest, StandinError> {
    let status = fs::read_to_string(&base.dpkg_status).map_err(io("read", &base.dpkg_status))?;
    let copy = work.join(DPKG_STATUS);
    fs::write(&copy, &status).map_err(io("write", &copy))?;
    let index_path = directory.join(ARCHIVE_INDEX);
    let index = fs::read_to_string(&index_path).map_err(io("read", &index_path))?;
    let packages = manifest::installed(&status, &index)
        .map_err(|package| StandinError::NoDigest { package, index: index_path })?;
    let mut files = BTreeMap::new();
    for name in [DISK, RELEASED_KERNEL, INITRD, DPKG_STATUS, ROOT_HASH, BASE_SQUASHFS] {
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
            release_directory: None,
        },
        packages,
        extensions,
        files,
    };
    let path = work.join("manifest.json");
    let text = serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::from);
    text.and_then(|text| fs::write(&path, text)).map_err(io("write", &path))?;
    Ok(manifest)
}

/// Makes the entry into the directory of a release.
fn finish(
    work: &Utf8Path,
    options: &Options,
    base: &Utf8Path,
    manifest: &Manifest,
    progress: &dyn Fn(&str),
) -> Result<(), StandinError> {
    let packages = manifest.packages.iter().map(|(name, package)| {
        let name = name.split(':').next().unwrap_or(name);
        format!("{name}-{}::debian\n", package.version)
    });
    let description = release_directory::Description {
        release: options.blueprint.release,
        build: "",
        packages: packages.collect(),
        tree: &base.join(ROOT_ARCHIVE),
        image: DISK,
        private: &PRIVATE,
        signer: SIGNER,
    };
    Ok(release_directory::finish(work, &description, progress)?)
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
    Ok(FileRecord { size, sha256: digest::sha256_of_file(path).map_err(io("read", path))? })
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
            inputs.add(&name, digest::sha256_of_file(file).map_err(io("read", file))?);
        } else if metadata.is_symlink() {
            let target = fs::read_link(entry.path()).map_err(fail)?;
            inputs.add(&name, target.to_string_lossy().as_bytes());
        } else {
            inputs.add(&name, "");
        }
    }
    Ok(FileRecord { size, sha256: inputs.finish() })
}
