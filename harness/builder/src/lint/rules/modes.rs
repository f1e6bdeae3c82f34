// SPDX-License-Identifier: Apache-2.0
//! Modes and owners.
use camino::Utf8Path;

use super::and_more;
use super::hierarchy::DIRECTORIES;
use crate::lint::base::Base;
use crate::lint::content::{Content, Entry, Kind};
use crate::lint::finding::Fault;

/// Others may read and search.
const OTHERS: u32 = 0o005;
/// The first number of a person's account on Linux distributions. On Flatcar `core` has 500.
const FIRST_PERSON: u32 = 1000;

/// A directory of the overlay has mode and owner of the topmost layer with it, so that an extension changes
/// those of the image's directories (siderolabs/talos#6890: /usr/bin with mode 0700).
pub(super) fn directory_mode(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    for (path, entry) in content.entries.iter().filter(|(_, entry)| entry.kind == Kind::Directory) {
        let there = base.tree.directory(path).map(|directory| directory.mode);
        let is_known = DIRECTORIES.contains(&path.as_str()) || matches!(path.as_str(), "usr/sbin" | "opt");
        let Some(expected) = there.or(is_known.then_some(0o755)) else { continue };
        let mode = entry.mode;
        let change =
            format!("has mode {mode:04o}, and replaces mode {expected:04o} of the image's directory");
        let fault = if mode & OTHERS != OTHERS && expected & OTHERS == OTHERS {
            Fault::error(path, format!("{change}: only its owner and group reach the files in it"))
        } else if mode != expected {
            Fault::warning(path, change)
        } else {
            continue;
        };
        found.push(fault.with_hint(format!("use mode {expected:04o}")));
    }
    found
}

/// Files of a person's account, as an image has them that was packed by an ordinary user
/// (flatcar/Flatcar#1525), and directories that change the owner of the image's.
pub(super) fn owner(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let is_wrong = |path: &Utf8Path, entry: &Entry| {
        let Some((user, group)) = entry.owner else { return false };
        let shared = base.tree.directory(path).and_then(|directory| directory.owner);
        let shared = shared.or(DIRECTORIES.contains(&path.as_str()).then_some((0, 0)));
        let changes = entry.kind == Kind::Directory && shared.is_some_and(|owner| owner != (user, group));
        user >= FIRST_PERSON || group >= FIRST_PERSON || changes
    };
    let mut wrong = content.entries.iter().filter(|(path, entry)| is_wrong(path, entry));
    let Some((path, entry)) = wrong.next() else { return Vec::new() };
    let (user, group) = entry.owner.unwrap_or_default();
    let more = and_more(wrong.count());
    let message = format!("is owned by user {user} and group {group}, not by root{more}");
    vec![Fault::warning(path, message).with_hint("pack the image with --all-root (mksquashfs: -all-root)")]
}

/// Programs that run with the rights of their owner.
pub(super) fn set_id(content: &Content, _: &Base<'_>) -> Vec<Fault> {
    let set =
        content.entries.iter().filter(|(_, entry)| entry.kind == Kind::File && entry.mode & 0o6000 != 0);
    set.map(|(path, entry)| {
        let owner = match entry.owner {
            Some((user, group)) if (user, group) != (0, 0) => format!(", owner {user}:{group}"),
            _ => String::new(),
        };
        Fault::warning(path, format!("is set-user-ID or set-group-ID (mode {:04o}{owner})", entry.mode))
    })
    .collect()
}

/// Files that root alone can read, such as those of a zip archive that was unpacked with a strict umask.
pub(super) fn unreadable(content: &Content, _: &Base<'_>) -> Vec<Fault> {
    let is_closed = |path: &Utf8Path, entry: &Entry| {
        let hierarchy = path.starts_with("usr") || path.starts_with("opt");
        let is_shared = entry.owner.is_none_or(|(user, group)| user == group);
        hierarchy && entry.kind == Kind::File && entry.mode & 0o6004 == 0 && is_shared
    };
    let mut closed = content.entries.iter().filter(|(path, entry)| is_closed(path, entry));
    let Some((path, entry)) = closed.next() else { return Vec::new() };
    let more = and_more(closed.count());
    let message = format!("has mode {:04o}: other users cannot read it{more}", entry.mode);
    vec![Fault::warning(path, message).with_hint("use mode 0644, or 0755 for programs, unless it is secret")]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Image, unknown};
    use super::*;

    #[test]
    fn a_directory_that_closes_the_images_is_an_error() {
        let content =
            Content::of(&["700 0 usr/", "700 0 usr/bin/", "700 0 usr/lib/tool/", "775 0 usr/share/"]);
        assert_eq!(
            unknown().findings(directory_mode, &content),
            [
                "error: /usr has mode 0700, and replaces mode 0755 of the image's directory: only its owner and group \
                 reach the files in it",
                "error: /usr/bin has mode 0700, and replaces mode 0755 of the image's directory: only its owner and \
                 group reach the files in it",
                "warning: /usr/share has mode 0775, and replaces mode 0755 of the image's directory",
            ]
        );
    }

    #[test]
    fn modes_are_compared_with_those_of_the_image() {
        let image =
            Image::new("4593.2.0", 257, "drwx------ 2 root root 0 2025-01-01 00:00 ./usr/lib/secret\n");
        let closed = Content::of(&["700 0 usr/lib/secret/"]);
        assert!(image.findings(directory_mode, &closed).is_empty());
        let open = Content::of(&["755 0 usr/lib/secret/"]);
        assert_eq!(
            image.findings(directory_mode, &open),
            ["warning: /usr/lib/secret has mode 0755, and replaces mode 0700 of the image's directory"]
        );
    }

    #[test]
    fn files_of_an_ordinary_user_are_one_warning() {
        let content = Content::of(&["755 1000 usr/", "755 1000 usr/bin/", "755 1000 usr/bin/tool"]);
        assert_eq!(
            unknown().findings(owner, &content),
            ["warning: /usr is owned by user 1000 and group 1000, not by root (and 2 more files)"]
        );
        assert!(
            unknown().findings(owner, &Content::of(&["4755 6 usr/bin/mandb"])).is_empty(),
            "a system user"
        );
        let directory = Content::of(&["755 6 usr/bin/"]);
        assert_eq!(unknown().findings(owner, &directory).len(), 1, "the image's directory changes its owner");
    }

    #[test]
    fn set_id_programs_are_warned_of() {
        let content = Content::of(&["4755 0 usr/bin/a", "2755 6 usr/bin/b", "755 0 usr/bin/c"]);
        assert_eq!(
            unknown().findings(set_id, &content),
            [
                "warning: /usr/bin/a is set-user-ID or set-group-ID (mode 4755)",
                "warning: /usr/bin/b is set-user-ID or set-group-ID (mode 2755, owner 6:6)",
            ]
        );
    }

    #[test]
    fn files_that_only_root_reads_are_one_warning() {
        let content = Content::of(&["600 0 usr/share/a", "640 0 usr/share/b", "644 0 usr/share/c"]);
        assert_eq!(
            unknown().findings(unreadable, &content),
            ["warning: /usr/share/a has mode 0600: other users cannot read it (and 1 more file)"]
        );
        assert!(unknown().findings(unreadable, &Content::of(&["644 0 usr/share/c"])).is_empty());
    }
}
