// SPDX-License-Identifier: Apache-2.0
//! Readers for output that several checks use: /proc/self/mountinfo and `systemctl show`.
use std::collections::BTreeMap;

/// The default hierarchy of systemd-sysext.
pub(super) fn usr() -> String {
    "/usr".to_owned()
}

/// A line of /proc/self/mountinfo, proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) point: String,
    pub(super) options: String,
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) super_options: String,
}

/// The visible mount at a path: the last of several.
pub(super) fn topmost<'a>(mounts: &'a [Mount], point: &str) -> Option<&'a Mount> {
    mounts.iter().rev().find(|mount| mount.point == point)
}

/// Reads /proc/self/mountinfo.
pub(super) fn mounts(text: &str) -> Result<Vec<Mount>, String> {
    let parse = |line: &str| {
        let (fields, rest) = line.split_once(" - ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let mut rest = rest.splitn(3, ' ');
        Some(Mount {
            point: unescape(fields.get(4)?),
            options: (*fields.get(5)?).to_owned(),
            kind: rest.next()?.to_owned(),
            source: unescape(rest.next()?),
            super_options: rest.next()?.to_owned(),
        })
    };
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| parse(line).ok_or_else(|| format!("`{line}` is not a line of mountinfo")))
        .collect()
}

/// Replaces the octal escapes of space, tab, newline and backslash.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

/// The properties of a unit by name.
pub(super) type Properties = BTreeMap<String, String>;

/// Reads the output of `systemctl show`: lines `Name=value`, with an empty line between units.
pub(super) fn unit_properties(text: &str) -> Result<Vec<Properties>, String> {
    let mut units = Vec::new();
    let mut unit = Properties::new();
    for line in text.lines().chain([""]) {
        if line.is_empty() {
            if !unit.is_empty() {
                units.push(std::mem::take(&mut unit));
            }
            continue;
        }
        let (name, value) =
            line.split_once('=').ok_or_else(|| format!("`{line}` is not a property of a unit"))?;
        unit.insert(name.to_owned(), value.to_owned());
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mount_comes_back_as_it_was(point in "/[a-z \\\\]{0,9}", shared in "( shared:[0-9]| master:[0-9]){0,2}") {
            let escaped = point.replace('\\', "\\134").replace(' ', "\\040");
            let text = format!("1 2 0:3 / {escaped} ro{shared} - overlay sysext rw,a=b c\n");
            let mounts = mounts(&text).expect("a mount");
            prop_assert_eq!(&mounts[0].point, &point);
            prop_assert_eq!((&*mounts[0].source, &*mounts[0].super_options), ("sysext", "rw,a=b c"));
        }

        #[test]
        fn properties_come_back_as_they_were(
            units in proptest::collection::vec(
                proptest::collection::btree_map("[A-Z][a-zA-Z]{0,8}", "[ -~]{0,12}", 1..4), 0..4)
        ) {
            let text: Vec<String> = units
                .iter()
                .map(|unit| unit.iter().map(|(name, value)| [name, "=", value, "\n"].concat()).collect())
                .collect();
            prop_assert_eq!(unit_properties(&text.join("\n")).expect("properties"), units);
        }

        #[test]
        fn any_output_is_read(text in "[ -~\\n]{0,80}") {
            let _ = mounts(&text);
            let _ = unit_properties(&text);
        }
    }
}
