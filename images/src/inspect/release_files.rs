// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::fs;

use super::inspection::Inspection;
use super::{base, package_list};
use crate::verity::parse_root_hash;
use crate::{OsRelease, Release};

/// The file of a release directory that names the release.
const VERSION: &str = "version.txt";
/// The end of the names of files that publish the root hash of /usr.
const ROOT_HASH: &str = "_verity.txt";
/// Files next to a disk on a release server that the harness uses, with descriptions.
const USED: [(&str, &str); 9] = [
    (VERSION, "version"),
    (base::NAME, "base"),
    ("flatcar_production_image.vmlinuz", "kernel"),
    ("flatcar_production_qemu_uefi_efi_code.qcow2", "UEFI firmware"),
    ("flatcar_production_qemu_uefi_efi_code.fd", "UEFI firmware"),
    ("flatcar_production_qemu_uefi_secure_efi_code.qcow2", "UEFI firmware with Secure Boot"),
    ("flatcar_production_qemu_uefi_secure_efi_code.fd", "UEFI firmware with Secure Boot"),
    ("flatcar_production_image_packages.txt", "list of packages"),
    ("flatcar_production_image_contents.txt", "list of contents"),
];
/// The packages of Docker in Flatcar and Debian.
const DOCKER: [&str; 2] = ["docker", "docker.io"];
const CONTAINERD: [&str; 1] = ["containerd"];

/// Adds to an inspection what the release files in a directory say, and where they contradict the disk.
pub(super) fn add(found: &mut Inspection, directory: &Utf8Path) {
    // These files are optional: one that is absent or unreadable adds nothing.
    let text = |name: &str| fs::read_to_string(directory.join(name)).ok();
    if let Some(warning) = text(VERSION).and_then(|text| other_version(&text, &found.os_release)) {
        found.warnings.push(warning);
    }
    for name in root_hashes(directory) {
        let published = text(&name).and_then(|text| parse_root_hash(text.trim().as_bytes()));
        if let (Some(published), Some(own)) = (published, found.root_hash())
            && published != own
        {
            let warning =
                format!("`{name}` has the root hash {published}, but the disk verifies /usr with {own}");
            found.warnings.push(warning);
        }
    }
    let listed = |extension: &str, packages: &[&str]| {
        let lists = [
            format!("rootfs-included-sysexts/{extension}_packages.txt"),
            format!("{extension}_packages.txt"),
            "flatcar_production_image_packages.txt".to_owned(),
        ];
        lists.iter().find_map(|list| package_list::version(&text(list)?, packages))
    };
    found.docker = found.docker.take().or_else(|| listed("docker-flatcar", &DOCKER));
    found.containerd = found.containerd.take().or_else(|| listed("containerd-flatcar", &CONTAINERD));
}

/// Describes the release files in a directory.
pub(super) fn describe(directory: &Utf8Path) -> Vec<String> {
    let there = USED.into_iter().filter(|(name, _)| directory.join(name).is_file());
    there.map(|(_, description)| description.to_owned()).collect()
}

/// The names of the files that publish the root hash of /usr, in order.
fn root_hashes(directory: &Utf8Path) -> Vec<String> {
    let entries = directory.read_dir_utf8().into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(ROOT_HASH)).collect();
    names.sort();
    names
}

/// A warning if version.txt names another release than os-release.
fn other_version(text: &str, os_release: &OsRelease) -> Option<String> {
    let fields = OsRelease::parse(text).ok()?;
    let published = fields.get("FLATCAR_VERSION").or(fields.get("FLATCAR_VERSION_ID"))?;
    let own = os_release.get("VERSION_ID")?;
    let release = |text: &str| text.parse::<Release>().ok();
    (release(published) != release(own) || release(own).is_none() && published != own)
        .then(|| format!("`{VERSION}` names the version {published}, but os-release on the disk {own}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_release_is_a_contradiction() {
        let os_release = OsRelease::parse("VERSION_ID=4593.2.0\n").expect("valid");
        assert_eq!(other_version("FLATCAR_VERSION=4593.2.0\n", &os_release), None);
        assert_eq!(other_version("FLATCAR_VERSION=4593.2.0+nightly-20260101-2100\n", &os_release), None);
        assert_eq!(other_version("FLATCAR_SDK_VERSION=1.2.3\n", &os_release), None);
        assert_eq!(
            other_version("FLATCAR_VERSION=4593.2.1\n", &os_release).as_deref(),
            Some("`version.txt` names the version 4593.2.1, but os-release on the disk 4593.2.0")
        );
    }
}
