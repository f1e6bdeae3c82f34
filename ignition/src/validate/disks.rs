// SPDX-License-Identifier: Apache-2.0
//! Disks, partitions, RAID, LUKS and filesystems.

use ignition_config::v3_3;

use super::problem::Findings;
use super::{resource, storage::path};

/// Filesystems that Ignition of specification 3.3.0 creates, with their longest labels in bytes.
const FORMATS: [(&str, usize); 6] =
    [("ext4", 16), ("btrfs", 256), ("xfs", 12), ("vfat", 11), ("swap", 15), ("none", usize::MAX)];

/// Validates the block devices of `storage`.
pub(super) fn disks(storage: &v3_3::Storage, findings: &mut Findings) {
    let disks = storage.disks.as_deref().unwrap_or_default();
    for (index, disk) in disks.iter().enumerate() {
        self::disk(disk, &format!("storage.disks[{index}]"), findings);
    }
    findings.duplicates("storage.disks", disks.iter().map(|disk| disk.device.as_str()));
    let raids = storage.raid.as_deref().unwrap_or_default();
    for (index, raid) in raids.iter().enumerate() {
        self::raid(raid, &format!("storage.raid[{index}]"), findings);
    }
    findings.duplicates("storage.raid", raids.iter().map(|raid| raid.name.as_str()));
    let luks = storage.luks.as_deref().unwrap_or_default();
    for (index, device) in luks.iter().enumerate() {
        self::luks(device, &format!("storage.luks[{index}]"), findings);
    }
    findings.duplicates("storage.luks", luks.iter().map(|device| device.name.as_str()));
    let filesystems = storage.filesystems.as_deref().unwrap_or_default();
    for (index, filesystem) in filesystems.iter().enumerate() {
        self::filesystem(filesystem, &format!("storage.filesystems[{index}]"), findings);
    }
    findings.duplicates("storage.filesystems", filesystems.iter().map(|f| f.device.as_str()));
}

fn disk(disk: &v3_3::Disk, at: &str, findings: &mut Findings) {
    path(&disk.device, &format!("{at}.device"), findings);
    let partitions = disk.partitions.as_deref().unwrap_or_default();
    for (index, partition) in partitions.iter().enumerate() {
        let at = format!("{at}.partitions[{index}]");
        self::partition(partition, &at, findings);
        let earlier = &partitions[..index];
        let number = partition.number.unwrap_or_default();
        if number != 0 && earlier.iter().any(|other| other.number == partition.number) {
            findings.error(format_args!("{at}.number"), format_args!("number {number} is in the list twice"));
        }
        if let Some(label) = &partition.label
            && earlier.iter().any(|other| other.label.as_ref() == Some(label))
        {
            findings.error(format_args!("{at}.label"), format_args!("`{label}` is in the list twice"));
        }
        if let Some(other) = earlier.iter().position(|other| overlap(partition, other)) {
            findings.error(&at, format_args!("overlaps `partitions[{other}]`"));
        }
    }
}

/// The first and last MiB, where start and size are set; a start of zero means the first free space.
fn extent(partition: &v3_3::Partition) -> Option<(i64, i64)> {
    let (start, size) = (partition.start_mib?, partition.size_mib?);
    (start != 0).then(|| (start, start.saturating_add((size - 1).max(0))))
}

fn overlap(one: &v3_3::Partition, other: &v3_3::Partition) -> bool {
    matches!((extent(one), extent(other)), (Some(one), Some(other)) if one.0 <= other.1 && other.0 <= one.1)
}

fn partition(partition: &v3_3::Partition, at: &str, findings: &mut Findings) {
    let number = partition.number.unwrap_or_default();
    if number == 0 && partition.label.is_none() {
        findings.error(at, "a partition needs a `number` of 1 or more, or a `label`");
    }
    if number < 0 || partition.size_mib.is_some_and(|n| n < 0) || partition.start_mib.is_some_and(|n| n < 0) {
        findings.error(at, "the number, start or size is negative");
    }
    let guids = [("guid", &partition.guid), ("typeGuid", &partition.type_guid)];
    for (name, guid) in guids.iter().filter_map(|(name, guid)| Some((name, guid.as_deref()?))) {
        let groups = guid.split('-').map(str::len).collect::<Vec<_>>();
        let is_hexadecimal = guid.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        if !guid.is_empty() && (groups != [8, 4, 4, 4, 12] || !is_hexadecimal) {
            findings.error(format_args!("{at}.{name}"), format_args!("`{guid}` is not a GUID"));
        }
    }
    let has_more = partition.label.is_some()
        || partition.start_mib.is_some()
        || partition.size_mib.is_some()
        || guids.iter().any(|(_, guid)| guid.as_deref().is_some_and(|guid| !guid.is_empty()));
    if partition.should_exist == Some(false) && has_more {
        findings.error(
            format_args!("{at}.shouldExist"),
            "a partition that should not exist can only have a number",
        );
    }
    if let Some(label) = &partition.label {
        if label.len() > 36 {
            findings.error(format_args!("{at}.label"), "a label has at most 36 characters");
        }
        if label.contains(':') {
            findings.error(format_args!("{at}.label"), "sgdisk truncates a label at a colon");
        }
    }
}

fn raid(raid: &v3_3::Raid, at: &str, findings: &mut Findings) {
    if raid.devices.is_none() {
        findings.error(format_args!("{at}.devices"), "`devices` is missing");
    }
    let is_striped = match raid.level.as_deref().unwrap_or_default() {
        "linear" | "raid0" | "0" | "stripe" => true,
        "raid1" | "1" | "mirror" | "raid4" | "4" | "raid5" | "5" | "raid6" | "6" | "raid10" | "10" => false,
        other => return findings.error(format_args!("{at}.level"), format_args!("unknown level `{other}`")),
    };
    if is_striped && raid.spares.is_some_and(|spares| spares != 0) {
        findings.error(format_args!("{at}.spares"), "linear and striped arrays have no spares");
    }
}

fn luks(luks: &v3_3::Luks, at: &str, findings: &mut Findings) {
    if luks.name.is_empty() || luks.name.contains('/') {
        findings.error(format_args!("{at}.name"), format_args!("`{}` is not a valid device name", luks.name));
    }
    path(luks.device.as_deref().unwrap_or_default(), &format!("{at}.device"), findings);
    if luks.label.as_ref().is_some_and(|label| label.len() > 47) {
        findings.error(format_args!("{at}.label"), "a label has at most 47 characters");
    }
    if let Some(key) = &luks.key_file {
        resource::optional(key, &format!("{at}.keyFile"), findings);
    }
    let Some(clevis) = &luks.clevis else { return };
    let tang = clevis.tang.as_deref().unwrap_or_default();
    for (index, tang) in tang.iter().enumerate() {
        let at = format!("{at}.clevis.tang[{index}]");
        resource::http_only(tang.url.as_deref().unwrap_or_default(), &format!("{at}.url"), findings);
        if tang.thumbprint.as_deref().unwrap_or_default().is_empty() {
            findings.error(format_args!("{at}.thumbprint"), "the thumbprint is missing");
        }
    }
    let Some(custom) = &clevis.custom else { return };
    let others = !tang.is_empty() || clevis.tpm2 == Some(true) || clevis.threshold.is_some_and(|n| n != 0);
    if others {
        findings.error(format_args!("{at}.clevis"), "`custom` excludes `tang`, `tpm2` and `threshold`");
    }
    if !matches!(custom.pin.as_deref(), Some("tpm2" | "tang" | "sss")) {
        findings.error(format_args!("{at}.clevis.custom.pin"), "expected `tpm2`, `tang` or `sss`");
    }
    if custom.config.as_deref().unwrap_or_default().is_empty() {
        findings.error(format_args!("{at}.clevis.custom.config"), "the config of the pin is missing");
    }
}

fn filesystem(filesystem: &v3_3::Filesystem, at: &str, findings: &mut Findings) {
    path(&filesystem.device, &format!("{at}.device"), findings);
    if let Some(mount) = filesystem.path.as_deref().filter(|mount| !mount.is_empty()) {
        path(mount, &format!("{at}.path"), findings);
    }
    let is_set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let format = filesystem.format.as_deref().unwrap_or_default();
    if format.is_empty() {
        let has_more = is_set(&filesystem.path)
            || is_set(&filesystem.label)
            || is_set(&filesystem.uuid)
            || filesystem.wipe_filesystem == Some(true)
            || filesystem.options.is_some()
            || filesystem.mount_options.is_some();
        if has_more {
            findings.error(format_args!("{at}.format"), "`format` is missing, which the other keys need");
        }
        return;
    }
    let Some((_, longest)) = FORMATS.iter().find(|(name, _)| *name == format) else {
        let known = FORMATS.map(|(name, _)| name).join("`, `");
        let hint = format!("use one of `{known}`");
        return findings.error_with_hint(
            format_args!("{at}.format"),
            format_args!("unknown format `{format}`"),
            hint,
        );
    };
    if filesystem.label.as_ref().is_some_and(|label| label.len() > *longest) {
        findings.error(
            format_args!("{at}.label"),
            format_args!("a label of {format} has at most {longest} bytes"),
        );
    }
}
