// SPDX-License-Identifier: Apache-2.0
//! Files, directories and links.

use std::collections::HashMap;

use ignition_config::v3_3;

use super::problem::Findings;
use super::resource;

/// A path that the config writes, with its place in the config.
struct Node<'a> {
    path: &'a str,
    at: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Directory,
    File,
    Link,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Directory => "a directory",
            Kind::File => "a file",
            Kind::Link => "a link",
        }
    }
}

/// Validates the files, directories and links of `storage`.
pub(super) fn storage(storage: &v3_3::Storage, findings: &mut Findings) {
    for (index, directory) in storage.directories.iter().flatten().enumerate() {
        let at = format!("storage.directories[{index}]");
        path(&directory.path, &format!("{at}.path"), findings);
        mode(directory.mode, &format!("{at}.mode"), findings);
        owner(directory.user.as_ref(), directory.group.as_ref(), &at, findings);
    }
    for (index, file) in storage.files.iter().flatten().enumerate() {
        self::file(file, &format!("storage.files[{index}]"), findings);
    }
    for (index, link) in storage.links.iter().flatten().enumerate() {
        self::link(link, storage, &format!("storage.links[{index}]"), findings);
    }
    let nodes = nodes(storage);
    same_path(&nodes, findings);
    nesting(&nodes, findings);
}

fn nodes(storage: &v3_3::Storage) -> Vec<Node<'_>> {
    let mut nodes = Vec::new();
    let mut add = |list: &str, index: usize, path, kind| {
        nodes.push(Node { path, at: format!("storage.{list}[{index}].path"), kind });
    };
    for (index, node) in storage.directories.iter().flatten().enumerate() {
        add("directories", index, node.path.as_str(), Kind::Directory);
    }
    for (index, node) in storage.files.iter().flatten().enumerate() {
        add("files", index, node.path.as_str(), Kind::File);
    }
    for (index, node) in storage.links.iter().flatten().enumerate() {
        add("links", index, node.path.as_str(), Kind::Link);
    }
    nodes
}

fn file(file: &v3_3::File, at: &str, findings: &mut Findings) {
    path(&file.path, &format!("{at}.path"), findings);
    mode(file.mode, &format!("{at}.mode"), findings);
    owner(file.user.as_ref(), file.group.as_ref(), at, findings);
    if let Some(contents) = &file.contents {
        resource::optional(contents, &format!("{at}.contents"), findings);
    }
    for (index, fragment) in file.append.iter().flatten().enumerate() {
        resource::optional(fragment, &format!("{at}.append[{index}]"), findings);
    }
    let has_source = file.contents.as_ref().is_some_and(|contents| contents.source.is_some());
    if file.overwrite == Some(true) && !has_source {
        findings.error_with_hint(
            format_args!("{at}.overwrite"),
            "`contents` is missing, by which the file is replaced",
            "set the source to `data:,` for an empty file",
        );
    }
}

fn link(link: &v3_3::Link, storage: &v3_3::Storage, at: &str, findings: &mut Findings) {
    path(&link.path, &format!("{at}.path"), findings);
    owner(link.user.as_ref(), link.group.as_ref(), at, findings);
    let target = link.target.as_deref().unwrap_or_default();
    if target.is_empty() {
        findings.error(format_args!("{at}.target"), "`target` is missing");
    } else if target == link.path {
        findings.error(format_args!("{at}.target"), "the link leads to itself");
    } else if link.hard == Some(true) {
        if storage.directories.iter().flatten().any(|directory| directory.path == target) {
            findings.error(format_args!("{at}.target"), "the target of the hard link is a directory");
        }
        if link.user.is_some() || link.group.is_some() {
            findings.warning(at, "a hard link has the owner of its target", "remove `user` and `group`");
        }
    }
}

/// Validates a path in the guest, which must be absolute and in normal form.
pub(super) fn path(path: &str, at: &str, findings: &mut Findings) {
    if path.is_empty() {
        return findings.error(at, "the path is empty");
    }
    let Some(rest) = path.strip_prefix('/') else {
        return findings.error(at, format_args!("`{path}` is not absolute"));
    };
    let is_normal = rest.is_empty() || rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !is_normal {
        let hint = "remove `.`, `..`, double slashes and a slash at the end";
        findings.error_with_hint(at, format_args!("`{path}` is not in normal form"), hint);
    }
    if path.contains('\0') {
        findings.error(at, "a path cannot contain a NUL byte");
    }
}

fn mode(mode: Option<i64>, at: &str, findings: &mut Findings) {
    let Some(mode) = mode else { return };
    if !(0..=0o7777).contains(&mode) {
        let hint = "write decimal numbers: 420 for 0644, 493 for 0755";
        findings.error_with_hint(at, format_args!("{mode} is not a mode, expected 0 to 4095 (07777)"), hint);
    } else if mode & 0o7000 != 0 {
        // Before specification 3.6.0 Ignition passes these bits to Go, where they have another meaning.
        findings.warning(
            at,
            format_args!("the set-ID and sticky bits of {mode:#o} have no effect before specification 3.6.0"),
            "set them with a unit, or move the file to an extension",
        );
    }
}

fn owner(user: Option<&v3_3::NodeUser>, group: Option<&v3_3::NodeGroup>, at: &str, findings: &mut Findings) {
    let both =
        |id: Option<i64>, name: Option<&str>| id.is_some() && name.is_some_and(|name| !name.is_empty());
    if user.is_some_and(|user| both(user.id, user.name.as_deref())) {
        findings.error(format_args!("{at}.user"), "`id` and `name` exclude each other");
    }
    if group.is_some_and(|group| both(group.id, group.name.as_deref())) {
        findings.error(format_args!("{at}.group"), "`id` and `name` exclude each other");
    }
}

fn same_path(nodes: &[Node<'_>], findings: &mut Findings) {
    let mut seen = HashMap::<&str, &Node<'_>>::new();
    for node in nodes {
        if let Some(first) = seen.get(node.path) {
            let (path, at, kind) = (node.path, &first.at, first.kind.name());
            findings.error(&node.at, format_args!("`{path}` is already {kind} at `{at}`"));
        } else {
            seen.insert(node.path, node);
        }
    }
}

/// Finds paths below a file, or below a link, through which Ignition refuses to write.
fn nesting(nodes: &[Node<'_>], findings: &mut Findings) {
    let above = nodes.iter().filter(|node| node.kind != Kind::Directory);
    let above = above.map(|node| (node.path, node)).collect::<HashMap<_, _>>();
    for node in nodes {
        let parents = node.path.match_indices('/').skip(1).map(|(end, _)| &node.path[..end]);
        for parent in parents.filter_map(|parent| above.get(parent)) {
            let (path, at, kind) = (parent.path, &parent.at, parent.kind.name());
            findings.error(&node.at, format_args!("`{path}` above it is {kind} (`{at}`)"));
        }
    }
}
