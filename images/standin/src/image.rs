// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use camino::Utf8Path;
use loadgauge_host::{FileError, fs};

use super::base::{ARCHIVE_INDEX, BASE_SQUASHFS, DPKG_STATUS, INITRD, KERNEL, ROOT_ARCHIVE};
use super::error::StandinError;
use super::file_systems::{self, FileSystems};
use super::options::Options;
use super::vendor_extension::VendorExtension;
use super::{disk, grub, kernel, packages, write};
use loadgauge_host::digest::{self, Inputs};
use loadgauge_host::{CommandExt as _, Entry, Store, Tool};
use loadgauge_images::base::Base;
use loadgauge_images::image::Image;
use loadgauge_images::release_directory;

/// The version of an entry's layout, raised when the layout changes and the inputs do not.
const FORMAT: &str = "7";
/// The files of an entry, by their names on a release server.
const DISK: &str = "flatcar_production_qemu_image.img";
const DISK_UEFI: &str = "flatcar_production_qemu_uefi_image.img";
const RELEASED_KERNEL: &str = "flatcar_production_image.vmlinuz";
const ROOT_HASH: &str = "flatcar_production_image_verity.txt";
const INCLUDED: &str = "rootfs-included-sysexts";
/// The user id of the key that signs a stand-in.
const SIGNER: &str = "loadgauge stand-in (test) <stand-in@loadgauge.invalid>";
/// The host's UEFI firmware and its empty variable store, with their names in a release.
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

/// Puts a base and extensions on a bootable disk, or finds that disk in the store.
///
/// [`super::build_base`] made the base and returned its directory.
///
/// The entry has the files of a release under their names on a release server: the disk for BIOS and
/// UEFI, the kernel, the root hash of /usr, the base with its package database, the firmware for
/// UEFI, the extensions with their lists, and each file's digests and signatures. Beside them are the
/// initrd `initrd.img` and the package database `dpkg-status`, which [`Image::open`] does not read.
///
/// `progress` receives short messages about the current step.
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
    let mut digests = BTreeMap::new();
    for extension in extensions {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
        if extension.name.is_empty() || !extension.name.bytes().all(plain) {
            return Err(StandinError::ExtensionName(extension.name.clone()));
        }
        digests.insert(extension.name.clone(), digest_of(&extension.path)?);
    }
    let file_systems =
        file_systems::build(store, options, (base, directory), extensions, &digests, progress)?;
    let key = key(options, base, &file_systems, &digests);
    let entry = match store.entry("standin-image", &key)? {
        Entry::Ready(entry) => entry,
        Entry::Vacant(vacancy) => {
            let work = vacancy.directory();
            copy_parts(work, options, directory, extensions)?;
            write_kernel(work, directory, &file_systems.root_hash)?;
            make_disk(work, options, &file_systems, progress)?;
            let packages = list_packages(work, base, directory)?;
            finish(work, options, directory, packages, progress)?;
            vacancy.commit()?
        }
    };
    Ok(Image::open(&entry, store, progress)?)
}

/// Returns the digest of all inputs.
fn key(
    options: &Options,
    base: &Base,
    file_systems: &FileSystems,
    extensions: &BTreeMap<String, String>,
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
    for (name, digest) in extensions {
        inputs.add(name, digest);
    }
    inputs.finish()
}

/// Copies the parts that need no change: the base, the initrd, the firmware, the extensions.
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
        // A host without the firmware cannot start machines with UEFI either.
        let Some(place) = places.iter().map(Utf8Path::new).find(|place| place.exists()) else { continue };
        if options.blueprint.firmware_in_qcow2() {
            let target = work.join(format!("{name}.qcow2"));
            Tool::find("qemu-img")?
                .command()
                .args(["convert", "-f", "raw", "-O", "qcow2", place.as_str(), target.as_str()])
                .run()?;
        } else {
            fs::copy(place, work.join(format!("{name}.fd")))?;
        }
    }
    let included = work.join(INCLUDED);
    for extension in extensions.iter().filter(|extension| extension.path.is_file()) {
        fs::create_dir_all(&included)?;
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

/// Creates a hard link, or a copy on another file system.
fn link(from: &Utf8Path, to: &Utf8Path) -> Result<(), StandinError> {
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop)).map_err(Into::into)
}

/// Writes the kernel with the root hash in it, and the hash in a file of its own.
fn write_kernel(work: &Utf8Path, base: &Utf8Path, hash: &str) -> Result<(), StandinError> {
    let path = base.join(KERNEL);
    let mut image = fs::read(&path)?;
    kernel::write_root_hash(&mut image, hash)
        .map_err(|cause| StandinError::Kernel { path: path.clone(), cause })?;
    for (name, content) in [(RELEASED_KERNEL, image), (ROOT_HASH, format!("{hash}\n").into_bytes())] {
        let path = work.join(name);
        fs::write(&path, content)?;
    }
    Ok(())
}

/// Writes the disk in `work`, which contains the kernel and the initrd.
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
    fs::remove_file(&raw)?;
    let other = work.join(DISK_UEFI);
    fs::symlink(DISK, &other).map_err(Into::into)
}

/// Copies the package database and returns its packages as `NAME-VERSION::debian`, one per line.
fn list_packages(work: &Utf8Path, base: &Base, directory: &Utf8Path) -> Result<String, StandinError> {
    let status = fs::read_to_string(&base.dpkg_status)?;
    fs::write(work.join(DPKG_STATUS), &status)?;
    let index_path = directory.join(ARCHIVE_INDEX);
    let index = fs::read_to_string(&index_path)?;
    let packages = packages::installed(&status, &index)
        .map_err(|package| StandinError::NoDigest { package, index: index_path })?;
    let line = |(name, version): (&String, &String)| {
        format!("{}-{version}::debian\n", name.split(':').next().unwrap_or(name))
    };
    Ok(packages.iter().map(line).collect())
}

/// Completes the entry as a release directory.
fn finish(
    work: &Utf8Path,
    options: &Options,
    base: &Utf8Path,
    packages: String,
    progress: &dyn Fn(&str),
) -> Result<(), StandinError> {
    let description = release_directory::Description {
        release: options.blueprint.release,
        build: "",
        packages,
        tree: &base.join(ROOT_ARCHIVE),
        image: DISK,
        signer: SIGNER,
    };
    Ok(release_directory::finish(work, &description, progress)?)
}

/// Returns the SHA-256 of a file, in hex; for a directory, of its names, kinds, modes and contents.
fn digest_of(path: &Utf8Path) -> Result<String, StandinError> {
    if !path.is_dir() {
        return Ok(digest::sha256_of_file(path).map_err(FileError::at("read", path))?);
    }
    let mut inputs = Inputs::default();
    for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
        let entry = entry.map_err(|error| FileError::at("list", path)(error.into()))?;
        let below = entry.path().strip_prefix(path).unwrap_or(entry.path()).to_string_lossy().into_owned();
        let metadata = fs::symlink_metadata(entry.path())?;
        let name = format!("{:o} {below}", metadata.mode());
        if metadata.is_file() {
            let file = Utf8Path::from_path(entry.path()).unwrap_or(path);
            inputs.add(&name, digest::sha256_of_file(file).map_err(FileError::at("read", file))?);
        } else if metadata.is_symlink() {
            inputs.add(&name, fs::read_link(entry.path())?.to_string_lossy().as_bytes());
        } else {
            inputs.add(&name, "");
        }
    }
    Ok(inputs.finish())
}
