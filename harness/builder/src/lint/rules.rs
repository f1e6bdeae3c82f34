// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::fs;

use super::base_tree::{BaseNode, BaseTree};
use super::finding::Finding;
use super::units::missing_programs;
use crate::stage::{NodeKind, Staged, is_kept};

/// Directories that are links on some systems. A directory in an extension hides such a link
/// (flatcar/sysext-bakery#105: sshd and update-engine were hidden).
const SOMETIMES_LINKS: [&str; 3] = ["usr/sbin", "usr/lib64", "usr/local/sbin"];

/// Applies all rules to a complete tree. [`Staged`] excludes other owners, devices, whiteouts and names that
/// are not UTF-8.
///
/// `base` has the files of the base; it is empty where they are not known.
pub fn check(staged: &Staged, base: &BaseTree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, node) in staged.nodes() {
        let mut find =
            |fatal, message: String| findings.push(Finding { fatal, path: path.to_owned(), message });
        if !is_kept(path) {
            find(true, "is outside /usr and /opt, and would not be merged".to_owned());
        }
        if path == "usr/lib/os-release" {
            find(true, "makes systemd-sysext refuse the extension as a complete system".to_owned());
        }
        if let Some((fatal, message)) = clash(path, &node.kind, base) {
            find(fatal, message);
        }
        match &node.kind {
            NodeKind::Directory => {}
            NodeKind::File { .. } => {
                if node.mode & 0o6000 != 0 {
                    find(false, format!("is set-user-ID or set-group-ID (mode {:04o})", node.mode));
                }
                if is_module_index(path) {
                    find(
                        false,
                        "hides the index of the kernel modules of the base and of other extensions"
                            .to_owned(),
                    );
                }
            }
            NodeKind::Link { target } => {
                if leads_out(path, target) {
                    find(false, format!("is a link to {target}, which no extension can contain"));
                }
            }
        }
    }
    findings.extend(units_that_nothing_starts(staged));
    findings.extend(missing_programs(staged, base));
    findings
}

/// A path with another type than in the base, which hides the base's files (systemd/systemd#26947: "Too many
/// levels of symbolic links").
fn clash(path: &Utf8Path, kind: &NodeKind, base: &BaseTree) -> Option<(bool, String)> {
    match (kind, base.get(path)) {
        (NodeKind::Directory, Some(BaseNode::Link(target))) => {
            return Some((true, format!("is a directory, and hides the base's link to {target}")));
        }
        (NodeKind::Directory, Some(BaseNode::File)) => {
            return Some((true, "is a directory, and hides the base's file".to_owned()));
        }
        (NodeKind::Link { target }, Some(BaseNode::Directory)) => {
            let message = format!("is a link to {target}, and hides the base's directory");
            return Some((true, message));
        }
        (NodeKind::File { .. }, Some(BaseNode::Directory)) => {
            return Some((true, "is a file, and hides the base's directory".to_owned()));
        }
        _ => {}
    }
    if *kind == NodeKind::Directory && base.is_empty() && SOMETIMES_LINKS.contains(&path.as_str()) {
        return Some((false, "is a directory, and hides the link of images that have one".to_owned()));
    }
    None
}

/// `modules.dep` and others, which depmod writes for all modules of a kernel together.
fn is_module_index(path: &Utf8Path) -> bool {
    path.starts_with("usr/lib/modules")
        && path.file_name().is_some_and(|name| name.starts_with("modules."))
        && path.components().count() == 5
}

/// Whether a link leads out of /usr and /opt, other than to the file systems of a running system.
fn leads_out(path: &Utf8Path, target: &str) -> bool {
    let target = Utf8Path::new(target);
    let start = path.parent().unwrap_or(Utf8Path::new(""));
    let joined = if target.is_absolute() { target.to_owned() } else { start.join(target) };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.as_str().split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    !matches!(
        parts.first(),
        Some(&("usr" | "opt" | "run" | "dev" | "proc" | "sys" | "bin" | "sbin" | "lib" | "lib64"))
    )
}

/// Units with an `[Install]` section, which systemd does not evaluate in extensions
/// (flatcar/sysext-bakery#8).
fn units_that_nothing_starts(staged: &Staged) -> Vec<Finding> {
    let units = Utf8Path::new("usr/lib/systemd/system");
    let read = |path: &Utf8Path| fs::read_to_string(staged.root().join(path)).unwrap_or_default();
    let is_file =
        |path: &Utf8Path| staged.get(path).is_some_and(|node| matches!(node.kind, NodeKind::File { .. }));
    let drop_ins: String = staged
        .nodes()
        .map(|(path, _)| path)
        .filter(|path| path.starts_with(units) && path.extension() == Some("conf") && is_file(path))
        .map(read)
        .collect();
    let linked = |name: &str| {
        staged.nodes().any(|(path, _)| {
            path.file_name() == Some(name)
                && path
                    .parent()
                    .and_then(Utf8Path::extension)
                    .is_some_and(|kind| matches!(kind, "wants" | "requires" | "upholds"))
        })
    };
    let mut found = Vec::new();
    for (path, _) in staged.nodes().filter(|(path, _)| path.parent() == Some(units) && is_file(path)) {
        let name = path.file_name().unwrap_or_default();
        let text = read(path);
        // A socket starts the service of its name.
        let socket =
            staged.get(&path.with_extension("socket")).is_some() && path.extension() == Some("service");
        if text.contains("[Install]")
            && !name.contains('@')
            && !socket
            && !drop_ins.contains(name)
            && !linked(name)
        {
            let message = "has an [Install] section, which systemd does not evaluate in extensions: add it to \
                           [finish] upholds";
            found.push(Finding { fatal: false, path: path.to_owned(), message: message.to_owned() });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn findings(base: &BaseTree, fill: impl Fn(&mut Staged, &Arc<str>)) -> String {
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        fill(&mut staged, &Arc::from("a test"));
        let lines: Vec<String> = check(&staged, base)
            .iter()
            .map(|finding| format!("{}: {finding}", if finding.fatal { "fatal" } else { "warning" }))
            .collect();
        lines.join("\n")
    }

    fn file(staged: &mut Staged, origin: &Arc<str>, path: &str, mode: u32, text: &str) {
        staged.put_file(Utf8Path::new(path), mode, &mut text.as_bytes(), origin).expect("a file");
    }

    #[test]
    fn every_rule_has_a_finding() {
        let text = findings(&BaseTree::new(), |staged, origin| {
            file(staged, origin, "etc/motd", 0o644, "x");
            file(staged, origin, "usr/lib/os-release", 0o644, "ID=x");
            file(staged, origin, "usr/sbin/tool", 0o4755, "x");
            file(staged, origin, "usr/lib/modules/6.12.1/modules.dep", 0o644, "x");
            file(
                staged,
                origin,
                "usr/lib/systemd/system/lone.service",
                0o644,
                "[Install]\nWantedBy=multi-user.target\n",
            );
            staged.put_link(Utf8Path::new("usr/bin/x"), "/etc/alternatives/x", origin).expect("a link");
        });
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_sound_tree_has_no_findings() {
        let text = findings(&BaseTree::new(), |staged, origin| {
            file(staged, origin, "usr/bin/tool", 0o755, "x");
            file(staged, origin, "opt/tool/data", 0o644, "x");
            file(staged, origin, "usr/lib/systemd/system/a.service", 0o644, "[Install]\n");
            file(staged, origin, "usr/lib/systemd/system/a.socket", 0o644, "[Install]\n");
            file(
                staged,
                origin,
                "usr/lib/systemd/system/sockets.target.d/10-a.conf",
                0o644,
                "[Unit]\nUpholds=a.socket\n",
            );
            staged.put_link(Utf8Path::new("usr/bin/y"), "../lib/y", origin).expect("a link");
        });
        assert_eq!(text, "");
    }

    #[test]
    fn a_directory_where_the_base_has_a_link_is_fatal() {
        let base = BaseTree::from([("usr/sbin".into(), "bin".into())]);
        let text = findings(&base, |staged, origin| file(staged, origin, "usr/sbin/tool", 0o755, "x"));
        assert_eq!(text, "fatal: /usr/sbin is a directory, and hides the base's link to bin");
    }

    #[test]
    fn other_clashes_of_type_are_fatal_too() {
        let base =
            BaseTree::parse("drwxr ./usr\ndrwxr ./usr/lib/tool\n-rwxr ./usr/lib/file\n-rw ./usr/lib/same\n");
        let text = findings(&base, |staged, origin| {
            file(staged, origin, "usr/lib/file/inside", 0o644, "x");
            file(staged, origin, "usr/lib/same", 0o644, "x");
            staged.put_link(Utf8Path::new("usr/lib/tool"), "other", origin).expect("a link");
        });
        assert_eq!(
            text,
            "fatal: /usr/lib/file is a directory, and hides the base's file\n\
             fatal: /usr/lib/tool is a link to other, and hides the base's directory"
        );
    }
}
