// SPDX-License-Identifier: Apache-2.0
//! Which files are merged, and what they hide.
use std::collections::BTreeMap;

use camino::Utf8Path;

use crate::lint::base::Base;
use crate::lint::base_tree::{BaseNode, normal};
use crate::lint::content::{Content, Kind};
use crate::lint::finding::Fault;

/// Directories that are links on some systems. A directory in an extension hides such a link
/// (flatcar/sysext-bakery#105: sshd and update-engine were hidden).
const SOMETIMES_LINKS: [&str; 3] = ["usr/sbin", "usr/lib64", "usr/local/sbin"];

/// Directories that every image has as directories.
pub(super) const DIRECTORIES: [&str; 8] = [
    "usr",
    "usr/bin",
    "usr/lib",
    "usr/lib/systemd",
    "usr/lib/systemd/system",
    "usr/libexec",
    "usr/local",
    "usr/share",
];

/// systemd takes an extension with an os-release for a complete system. Version 252 then merges nothing
/// with the exit status 0, version 257 fails.
pub(super) fn os_release(content: &Content, _: &Base<'_>) -> Vec<Fault> {
    let path = "usr/lib/os-release";
    let fault = || {
        Fault::error(path, "makes systemd-sysext refuse the extension as a complete system, and merge none")
            .with_hint("remove the file")
    };
    content.get(path).is_some().then(fault).into_iter().collect()
}

/// A path with another type than in the image, which hides the image's files (systemd/systemd#26947: "Too
/// many levels of symbolic links").
pub(super) fn type_clash(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    for (path, entry) in &content.entries {
        let is_directory = DIRECTORIES.contains(&path.as_str());
        let there = base.tree.get(path).or(is_directory.then_some(&BaseNode::Directory));
        let fault = match (&entry.kind, there) {
            (Kind::Directory, Some(BaseNode::Link(target))) => {
                Fault::error(path, format!("is a directory, and hides the image's link to {target}"))
                    .with_hint(format!("install the files into the directory that /{path} leads to"))
            }
            (Kind::Directory, Some(BaseNode::File)) => {
                Fault::error(path, "is a directory, and hides the image's file")
            }
            (Kind::Link(target), Some(BaseNode::Directory)) => Fault::error(
                path,
                format!("is a link to {}, and hides the image's directory", target.escape_debug()),
            )
            .with_hint("make it a directory"),
            (Kind::File | Kind::Special, Some(BaseNode::Directory)) => {
                Fault::error(path, "is a file, and hides the image's directory")
            }
            (Kind::Directory, None) if base.tree.is_empty() && SOMETIMES_LINKS.contains(&path.as_str()) => {
                Fault::warning(path, "is a directory, and hides the link of images that have one")
            }
            _ => continue,
        };
        found.push(fault);
    }
    found
}

/// systemd follows a link of /usr within the image; other tools, and systemd versions to come, may not.
pub(super) fn usr_link(content: &Content, _: &Base<'_>) -> Vec<Fault> {
    let fault = |target| {
        Fault::warning("usr", format!("is a link to {target}, which systemd-sysext follows"))
            .with_hint("make /usr a directory")
    };
    content.usr_target.iter().map(fault).collect()
}

/// systemd-sysext merges /usr and /opt; it ignores other files silently.
pub(super) fn not_merged(content: &Content, _: &Base<'_>) -> Vec<Fault> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, entry) in &content.entries {
        let first = path.components().next().map_or("", |component| component.as_str());
        if entry.kind != Kind::Directory && !matches!(first, "usr" | "opt") {
            *counts.entry(first).or_default() += 1;
        }
    }
    let fault = |(first, count): (&str, usize)| {
        let files = if count == 1 { "file" } else { "files" };
        Fault::warning(first, format!("({count} {files}) is not merged: systemd-sysext merges /usr and /opt"))
            .with_hint("move the files below /usr; tmpfiles.d can copy them elsewhere at boot")
    };
    counts.into_iter().map(fault).collect()
}

/// Links out of /usr and /opt, other than to the file systems of a running system.
pub(super) fn link_target(content: &Content, _: &Base<'_>) -> Vec<Fault> {
    let links = content.entries.iter().filter_map(|(path, entry)| match &entry.kind {
        Kind::Link(target) => Some((path, target)),
        _ => None,
    });
    let out = links.filter(|(path, target)| is_below_hierarchy(path) && leads_out(path, target));
    out.map(|(path, target)| {
        Fault::warning(
            path,
            format!("is a link to {}, which no extension can contain", target.escape_debug()),
        )
    })
    .collect()
}

/// A device with the number zero is a whiteout, which hides a file of the image; others do not work, since
/// extensions are mounted with `nodev`.
pub(super) fn special_file(content: &Content, _: &Base<'_>) -> Vec<Fault> {
    let special = content.entries.iter().filter(|(_, entry)| entry.kind == Kind::Special);
    special
        .filter(|(path, _)| is_below_hierarchy(path))
        .map(|(path, _)| {
            Fault::warning(path, "is a device, FIFO or socket; a whiteout hides the image's file")
                .with_hint("remove it")
        })
        .collect()
}

fn is_below_hierarchy(path: &Utf8Path) -> bool {
    path.starts_with("usr") || path.starts_with("opt")
}

fn leads_out(path: &Utf8Path, target: &str) -> bool {
    let start = path.parent().unwrap_or(Utf8Path::new(""));
    let target = normal(&start.join(target));
    let first = target.components().next().map(|component| component.as_str());
    !matches!(first, Some("usr" | "opt" | "run" | "dev" | "proc" | "sys" | "bin" | "sbin" | "lib" | "lib64"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Image, unknown};
    use super::*;

    #[test]
    fn an_os_release_is_an_error() {
        let content = Content::of(&["644 0 usr/lib/os-release"]);
        let message = "makes systemd-sysext refuse the extension as a complete system, and merge none";
        assert_eq!(
            unknown().findings(os_release, &content),
            [format!("error: /usr/lib/os-release {message}")]
        );
        assert!(unknown().findings(os_release, &Content::of(&["644 0 usr/lib/os"])).is_empty());
    }

    #[test]
    fn another_type_than_in_the_image_is_an_error() {
        let contents = "drwxr ./usr\nlrwxr ./usr/sbin -> bin\ndrwxr ./usr/lib/tool\n-rwxr ./usr/lib/file\n-rw ./usr/lib/same\n";
        let image = Image::new("4593.2.0", 257, contents);
        let content = Content::of(&[
            "755 0 usr/lib/file/inside",
            "644 0 usr/lib/same",
            "777 0 usr/lib/tool -> other",
            "755 0 usr/sbin/tool",
            "777 0 usr/share -> lib",
        ]);
        assert_eq!(
            image.findings(type_clash, &content),
            [
                "error: /usr/lib/file is a directory, and hides the image's file",
                "error: /usr/lib/tool is a link to other, and hides the image's directory",
                "error: /usr/sbin is a directory, and hides the image's link to bin",
                "error: /usr/share is a link to lib, and hides the image's directory",
            ]
        );
        assert_eq!(
            unknown().findings(type_clash, &content)[0],
            "warning: /usr/sbin is a directory, and hides the link of images that have one"
        );
    }

    #[test]
    fn files_outside_of_usr_and_opt_are_counted() {
        let content = Content::of(&[
            "644 0 etc/a.conf",
            "644 0 var/lib/a/x",
            "644 0 var/lib/a/y",
            "755 0 tmp/",
            "644 0 usr/a",
            "644 0 opt/a",
        ]);
        assert_eq!(
            unknown().findings(not_merged, &content),
            [
                "warning: /etc (1 file) is not merged: systemd-sysext merges /usr and /opt",
                "warning: /var (2 files) is not merged: systemd-sysext merges /usr and /opt",
            ]
        );
    }

    #[test]
    fn links_out_of_the_hierarchies_are_warned_of() {
        let content = Content::of(&[
            "777 0 usr/bin/x -> /etc/alternatives/x",
            "777 0 usr/bin/y -> ../lib/y",
            "777 0 usr/lib/z -> /run/z",
            "777 0 usr/w -> ../../..",
        ]);
        assert_eq!(
            unknown().findings(link_target, &content),
            [
                "warning: /usr/bin/x is a link to /etc/alternatives/x, which no extension can contain",
                "warning: /usr/w is a link to ../../.., which no extension can contain",
            ]
        );
    }

    #[test]
    fn a_whiteout_and_a_link_of_usr_are_warned_of() {
        let mut content = Content::of(&["644 0 usr/bin/x"]);
        assert!(unknown().findings(special_file, &content).is_empty());
        assert!(unknown().findings(usr_link, &content).is_empty());
        if let Some(entry) = content.entries.get_mut(Utf8Path::new("usr/bin/x")) {
            entry.kind = Kind::Special;
        }
        content.usr_target = Some("data".into());
        assert_eq!(unknown().findings(special_file, &content).len(), 1);
        assert_eq!(
            unknown().findings(usr_link, &content),
            ["warning: /usr is a link to data, which systemd-sysext follows"]
        );
    }
}
