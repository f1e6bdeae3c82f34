// SPDX-License-Identifier: Apache-2.0
//! The mount units of filesystems with `with_mount_unit`.

use std::fmt::Write as _;

use super::{
    error::{ButaneCause, ButaneError},
    schema::{Filesystem, Storage, Systemd, Unit},
};

/// The mount or swap units of all filesystems that have `with_mount_unit`.
pub(super) fn units(storage: &Storage) -> Result<Vec<Unit>, ButaneError> {
    let has_unit =
        |filesystem: &&Filesystem| filesystem.with_mount_unit.as_ref().is_some_and(|with| with.value);
    storage.filesystems.iter().flatten().filter(has_unit).map(|f| unit(f, is_remote(f, storage))).collect()
}

/// Adds the units before the config's own, whose keys replace those of a generated unit.
pub(super) fn add(generated: Vec<Unit>, systemd: &mut Option<Systemd>) {
    if generated.is_empty() {
        return;
    }
    let units = &mut systemd.get_or_insert(Systemd { units: None }).units;
    let own = units.take().unwrap_or_default();
    let mut all = generated;
    for unit in own {
        match all.iter_mut().find(|generated| generated.name == unit.name) {
            Some(generated) => {
                generated.contents = unit.contents.or(generated.contents.take());
                generated.enabled = unit.enabled.or(generated.enabled);
                generated.mask = unit.mask;
                generated.dropins = unit.dropins;
            }
            None => all.push(unit),
        }
    }
    *units = Some(all);
}

/// Whether the device is behind a LUKS volume that is unlocked over the network.
fn is_remote(filesystem: &Filesystem, storage: &Storage) -> bool {
    let names = ["/dev/mapper/", "/dev/disk/by-id/dm-name-"];
    let name = names.iter().find_map(|prefix| filesystem.device.strip_prefix(prefix));
    storage.luks.iter().flatten().any(|luks| {
        Some(luks.name.as_str()) == name && luks.clevis.as_ref().is_some_and(|clevis| clevis.tang.is_some())
    })
}

fn unit(filesystem: &Filesystem, is_remote: bool) -> Result<Unit, ButaneError> {
    let missing = |key| {
        let unknown = serde_saphyr::Location::UNKNOWN;
        let location = filesystem.with_mount_unit.as_ref().map_or(unknown, |with| with.referenced);
        ButaneError::at(&location, ButaneCause::MountUnit(key))
    };
    let format = filesystem.format.as_deref().ok_or_else(|| missing("format"))?;
    let device = &filesystem.device;
    let mut options = filesystem.mount_options.clone().unwrap_or_default();
    if is_remote {
        options.push("_netdev".to_owned());
    }
    let mut text = String::new();
    let (name, wanted_by) = if format == "swap" {
        let _ = write!(text, "[Swap]\nWhat={device}\n");
        (format!("{}.swap", escape(device)), "swap.target")
    } else {
        let path = filesystem.path.as_deref().ok_or_else(|| missing("path"))?;
        let check = format!("systemd-fsck@{}.service", escape(device));
        let _ = write!(text, "[Unit]\nRequires={check}\nAfter={check}\n\n");
        let _ = write!(text, "[Mount]\nWhere={path}\nWhat={device}\nType={format}\n");
        (format!("{}.mount", escape(path)), if is_remote { "remote-fs.target" } else { "local-fs.target" })
    };
    if !options.is_empty() {
        let _ = writeln!(text, "Options={}", options.join(","));
    }
    let _ = write!(text, "\n[Install]\nRequiredBy={wanted_by}\n");
    Ok(Unit {
        name,
        enabled: Some(true),
        contents: Some(text),
        contents_local: None,
        dropins: None,
        mask: None,
    })
}

/// A path as part of a unit's name: systemd-escape(1) with `--path`.
fn escape(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    if parts.is_empty() {
        return "-".to_owned();
    }
    let mut escaped = String::new();
    for (index, byte) in parts.bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if index == 0 => escaped.push_str("\\x2e"),
            b':' | b'_' | b'.' => escaped.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            _ => {
                let _ = write!(escaped, "\\x{byte:02x}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn paths_are_escaped_as_by_systemd_escape() {
        assert_eq!(escape("/"), "-");
        assert_eq!(escape("/var/lib/docker"), "var-lib-docker");
        assert_eq!(escape("/dev/disk/by-label/data"), "dev-disk-by\\x2dlabel-data");
        assert_eq!(escape("//.cache/ü"), "\\x2ecache-\\xc3\\xbc");
    }
}
