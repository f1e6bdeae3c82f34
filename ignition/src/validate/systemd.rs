// SPDX-License-Identifier: Apache-2.0
//! Units and drop-ins.

use ignition_config::v3_3;

use super::problem::Findings;

/// The types of units that Ignition accepts.
const SUFFIXES: [&str; 12] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "snapshot",
    "slice",
    "scope",
];

/// The limit of a line in systemd, in bytes.
const LINE_MAX: usize = 2048;

/// Validates the section `systemd`, and files of `storage` that it writes too.
pub(super) fn systemd(systemd: &v3_3::Systemd, storage: Option<&v3_3::Storage>, findings: &mut Findings) {
    let units = systemd.units.as_deref().unwrap_or_default();
    for (index, unit) in units.iter().enumerate() {
        self::unit(unit, &format!("systemd.units[{index}]"), findings);
    }
    findings.duplicates("systemd.units", units.iter().map(|unit| unit.name.as_str()));
    if let Some(storage) = storage {
        written_twice(units, storage, findings);
    }
}

fn unit(unit: &v3_3::Unit, at: &str, findings: &mut Findings) {
    name(&unit.name, &format!("{at}.name"), findings);
    let contents = unit.contents.as_deref().filter(|contents| !contents.is_empty());
    let sections = contents.map(self::sections);
    match &sections {
        Some(Err(cause)) => findings.error(format_args!("{at}.contents"), cause),
        Some(Ok(sections)) if unit.enabled == Some(true) && !sections.contains(&"Install") => findings
            .warning(
                format_args!("{at}.enabled"),
                format_args!("`{}` has no section `[Install]`, so enabling it does nothing", unit.name),
                "add `[Install]` with `WantedBy=multi-user.target`",
            ),
        _ => {}
    }
    if unit.mask == Some(true) && (contents.is_some() || unit.enabled == Some(true)) {
        findings.error_with_hint(
            format_args!("{at}.mask"),
            format_args!("`{}` is masked, but enabled or written too", unit.name),
            "remove one of them: a mask replaces the unit by a link to /dev/null",
        );
    }
    let dropins = unit.dropins.as_deref().unwrap_or_default();
    for (index, dropin) in dropins.iter().enumerate() {
        self::dropin(dropin, &format!("{at}.dropins[{index}]"), findings);
    }
    findings.duplicates(&format!("{at}.dropins"), dropins.iter().map(|dropin| dropin.name.as_str()));
}

fn dropin(dropin: &v3_3::Dropin, at: &str, findings: &mut Findings) {
    let stem = dropin.name.strip_suffix(".conf");
    if stem.is_none_or(str::is_empty) || dropin.name.contains('/') {
        findings.error(format_args!("{at}.name"), format_args!("`{}` is not named `NAME.conf`", dropin.name));
    }
    if let Some(Err(cause)) = dropin.contents.as_deref().map(sections) {
        findings.error(format_args!("{at}.contents"), cause);
    }
}

/// Validates the name of a unit (systemd.unit(5)): at most 255 characters of a small set, with a suffix.
fn name(name: &str, at: &str, findings: &mut Findings) {
    let stem = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)?.strip_suffix('.'));
    let Some(stem) = stem else {
        let hint = format!("end it with one of `.{}`", SUFFIXES.join("`, `."));
        return findings.error_with_hint(at, format_args!("`{name}` has no unit suffix"), hint);
    };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if stem.is_empty() || stem.starts_with('@') || name.len() > 255 || !stem.chars().all(is_allowed) {
        let hint = "use at most 255 letters, digits and `:-_.\\@`; see systemd-escape(1) for paths";
        findings.error_with_hint(at, format_args!("`{name}` is not a valid unit name"), hint);
    }
}

/// The names of a unit file's sections, or the reason why it is not valid. systemd would only log it.
fn sections(text: &str) -> Result<Vec<&str>, String> {
    let mut sections = Vec::new();
    let mut continues = false;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let trimmed = line.trim();
        if line.len() >= LINE_MAX {
            return Err(format!("line {number} is longer than the {LINE_MAX} bytes that systemd reads"));
        }
        let is_continuation = std::mem::replace(&mut continues, trimmed.ends_with('\\'));
        let is_comment = trimmed.starts_with(['#', ';']);
        if is_comment {
            // A comment neither ends a continued line nor continues itself.
            continues = is_continuation;
        } else if is_continuation || trimmed.is_empty() {
        } else if let Some(header) = trimmed.strip_prefix('[') {
            let section = header.strip_suffix(']').filter(|section| !section.contains(']'));
            sections.push(
                section.ok_or_else(|| format!("line {number}: `{trimmed}` is not a section `[Name]`"))?,
            );
        } else if sections.is_empty() {
            return Err(format!("line {number}: `{trimmed}` is before the first section"));
        } else if !trimmed.contains('=') {
            return Err(format!("line {number}: `{trimmed}` is not `Name=value`"));
        }
    }
    Ok(sections)
}

/// Finds files that are units too: one would replace the other.
fn written_twice(units: &[v3_3::Unit], storage: &v3_3::Storage, findings: &mut Findings) {
    let nodes = (storage.directories.iter().flatten().enumerate())
        .map(|(index, node)| ("directories", index, &node.path))
        .chain(storage.files.iter().flatten().enumerate().map(|(index, node)| ("files", index, &node.path)))
        .chain(storage.links.iter().flatten().enumerate().map(|(index, node)| ("links", index, &node.path)));
    for (list, index, path) in nodes {
        let Some(below) = path.strip_prefix("/etc/systemd/system/") else { continue };
        let is_written = units.iter().any(|unit| {
            let is_unit = unit.name == below && (unit.contents.is_some() || unit.mask == Some(true));
            let dropin = below.strip_prefix(&unit.name).and_then(|rest| rest.strip_prefix(".d/"));
            is_unit || unit.dropins.iter().flatten().any(|d| Some(d.name.as_str()) == dropin)
        });
        if is_written {
            let at = format!("storage.{list}[{index}].path");
            findings.error_with_hint(
                at,
                format_args!("`{path}` is written by `systemd.units` too"),
                "keep one",
            );
        }
    }
}
