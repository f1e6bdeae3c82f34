// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;
use std::io::Read;

use crate::release::Release;

/// Returns `version.txt`: shell assignments that identify a release.
pub(super) fn version_text(release: Release, build: &str) -> String {
    let Release { major, minor, patch } = release;
    format!(
        "FLATCAR_BUILD={major}\nFLATCAR_BRANCH={minor}\nFLATCAR_PATCH={patch}\nFLATCAR_VERSION={release}\n\
         FLATCAR_VERSION_ID={release}\nFLATCAR_BUILD_ID=\"{build}\"\nFLATCAR_SDK_VERSION={release}\n"
    )
}

/// Lists a tar as find(1) prints a tree for Flatcar's `.._contents.txt`, sorted by path.
///
/// A line consists of mode, links, owner, group, size, time, path and the target of a symbolic link.
pub(super) fn contents(archive: impl Read) -> std::io::Result<String> {
    let mut lines = Vec::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let entry = entry?;
        let header = entry.header();
        let path = String::from_utf8_lossy(&entry.path_bytes())
            .trim_start_matches("./")
            .trim_end_matches('/')
            .to_owned();
        let kind = header.entry_type();
        // A hard link is another name of a file and has no target in the listing.
        let target = entry.link_name_bytes().filter(|_| kind.is_symlink());
        let target = target.map(|target| format!(" -> {}", String::from_utf8_lossy(&target)));
        let owner = |name: Option<&[u8]>, id: u64| match name {
            Some(name) if !name.is_empty() => String::from_utf8_lossy(name).into_owned(),
            _ => id.to_string(),
        };
        let user = owner(header.username_bytes(), header.uid()?);
        let group = owner(header.groupname_bytes(), header.gid()?);
        let (mode, time) = (mode_text(kind, header.mode()?), time_text(header.mtime()?));
        let size = entry.size();
        let target = target.unwrap_or_default();
        lines.push((
            path.clone(),
            format!("{mode}  1 {user:<7} {group:<7} {size:>7} {time} ./{path}{target}"),
        ));
    }
    lines.sort();
    Ok(lines.into_iter().fold(String::new(), |mut text, (_, line)| {
        let _ = writeln!(text, "{line}");
        text
    }))
}

/// Returns a mode in the form of ls(1): `drwxr-xr-x`.
fn mode_text(kind: tar::EntryType, mode: u32) -> String {
    let kind = match kind {
        tar::EntryType::Directory => 'd',
        tar::EntryType::Symlink => 'l',
        tar::EntryType::Char => 'c',
        tar::EntryType::Block => 'b',
        tar::EntryType::Fifo => 'p',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special == 0, bits & 1 == 0) {
            (true, true) => '-',
            (true, false) => 'x',
            (false, true) => letter.to_ascii_uppercase(),
            (false, false) => letter,
        });
    }
    text
}

/// Returns seconds since 1970 as `2024-01-31 13:45`, in UTC.
///
/// Days count in the proleptic Gregorian calendar, whose eras of 400 years have 146,097 days.
fn time_text(seconds: u64) -> String {
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    // A year that begins in March has the leap day at its end; days count from 0000-03-01.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + next;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", seconds / 3_600, seconds / 60 % 60)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn find_prints_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let tree = directory.path().join("tree");
        std::fs::create_dir_all(tree.join("usr/bin")).expect("made");
        std::fs::write(tree.join("usr/bin/tool"), "hello").expect("written");
        std::os::unix::fs::symlink("tool", tree.join("usr/bin/link")).expect("made");
        std::fs::set_permissions(
            tree.join("usr/bin/tool"),
            std::os::unix::fs::PermissionsExt::from_mode(0o4755),
        )
        .expect("set");
        let run = |command: &mut Command| {
            let output = command.env("TZ", "UTC").env("LC_ALL", "C").output().expect("it runs");
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        let tar = run(Command::new("tar").args(["--create", "--file=-", "--directory"]).arg(&tree).arg("."));
        let listed = contents(tar.as_slice()).expect("a listing");
        let format = "%M %2n %-7u %-7g %7s %TY-%Tm-%Td %TH:%TM ./%P -> %l\n";
        let found = run(Command::new("find").arg(&tree).args(["-printf", format]));
        let mut found: Vec<String> = String::from_utf8(found)
            .expect("UTF-8")
            .lines()
            .map(|line| line.trim_end_matches(" -> ").to_owned())
            .collect();
        found.sort_by_key(|line| line.split("./").nth(1).map(str::to_owned));
        // A tar contains neither the number of a directory's links nor the size of a symbolic link.
        let comparable = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let size = if line.starts_with('-') { words[4] } else { "" };
            format!("{} {} {} {size} {}", words[0], words[2], words[3], words[5..].join(" "))
        };
        let mine: Vec<String> = listed.lines().map(comparable).collect();
        assert_eq!(mine, found.iter().map(|line| comparable(line)).collect::<Vec<_>>());
    }

    #[test]
    fn times_are_those_of_date() {
        for seconds in [0, 951_782_399, 951_782_400, 1_709_210_000, 4_102_444_800] {
            let output =
                Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%d %H:%M"]).output();
            let expected = String::from_utf8(output.expect("date runs").stdout).expect("UTF-8");
            assert_eq!(time_text(seconds), expected.trim());
        }
    }

    #[test]
    fn a_version_is_read_back() {
        let release: Release = "4593.2.0".parse().expect("a version");
        let text = version_text(release, "");
        let fields = crate::OsRelease::parse(&text).expect("assignments");
        assert_eq!(fields.get("FLATCAR_VERSION"), Some("4593.2.0"));
    }
}
