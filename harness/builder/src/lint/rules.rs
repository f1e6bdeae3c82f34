// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use super::base_tree::{BaseNode, BaseTree};
use super::units::programs_that_are_not_there;
use crate::stage::{NodeKind, Staged, is_kept};

/// Something about an extension that breaks it, or that its author should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// whether the extension cannot be used like this
    pub fatal: bool,
    /// where, relative to the root
    pub path: Utf8PathBuf,
    /// what is the matter
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{} {}", self.path, self.message)
    }
}

/// Directories that are links on some systems and real on others. A real one in an extension
/// hides the link (flatcar/sysext-bakery#105: after that sshd and update-engine were gone).
const SOMETIMES_LINKS: [&str; 3] = ["usr/sbin", "usr/lib64", "usr/local/sbin"];

/// Looks a finished tree over. What the type of [`Staged`] already rules out (foreign owners,
/// devices, whiteouts, names that are not text) is not looked for again.
///
/// `base` is what the extension is laid over; empty where that is not known.
pub fn check(staged: &Staged, base: &BaseTree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, node) in staged.nodes() {
        let mut find =
            |fatal, message: String| findings.push(Finding { fatal, path: path.to_owned(), message });
        if !is_kept(path) {
            find(true, "is outside /usr and /opt, and would not be merged".to_owned());
        }
        if path == "usr/lib/os-release" {
            find(true, "makes systemd-sysext take the extension for a whole system and refuse it".to_owned());
        }
        if let Some((fatal, message)) = clash(path, &node.kind, base) {
            find(fatal, message);
        }
        match &node.kind {
            NodeKind::Directory => {}
            NodeKind::File { .. } => {
                if node.mode & 0o6000 != 0 {
                    find(
                        false,
                        format!("gives its caller the rights of its owner or group (mode {:04o})", node.mode),
                    );
                }
                if is_module_index(path) {
                    find(
                        false,
                        "hides the index of the base's kernel modules and of any other extension's"
                            .to_owned(),
                    );
                }
            }
            NodeKind::Link { target } => {
                if leads_out(path, target) {
                    find(false, format!("is a link to {target}, which the extension cannot hold"));
                }
            }
        }
    }
    findings.extend(units_that_nothing_starts(staged));
    findings.extend(programs_that_are_not_there(staged, base));
    findings
}

/// What is of one kind here and of another in the base hides it (systemd/systemd#26947: "Too many
/// levels of symbolic links").
fn clash(path: &Utf8Path, kind: &NodeKind, base: &BaseTree) -> Option<(bool, String)> {
    match (kind, base.get(path)) {
        (NodeKind::Directory, Some(BaseNode::Link(target))) => {
            return Some((
                true,
                format!("is a directory, and hides the base's link to {target} with all behind it"),
            ));
        }
        (NodeKind::Directory, Some(BaseNode::File)) => {
            return Some((true, "is a directory, and hides the base's file".to_owned()));
        }
        (NodeKind::Link { target }, Some(BaseNode::Directory)) => {
            let message = format!("is a link to {target}, and hides the base's directory with all in it");
            return Some((true, message));
        }
        (NodeKind::File { .. }, Some(BaseNode::Directory)) => {
            return Some((true, "is a file, and hides the base's directory with all in it".to_owned()));
        }
        _ => {}
    }
    if *kind == NodeKind::Directory && base.is_empty() && SOMETIMES_LINKS.contains(&path.as_str()) {
        return Some((
            false,
            "is a directory; where the image has a link, it hides all behind it".to_owned(),
        ));
    }
    None
}

/// `modules.dep` and its like, which depmod writes for all modules of a kernel together.
fn is_module_index(path: &Utf8Path) -> bool {
    path.starts_with("usr/lib/modules")
        && path.file_name().is_some_and(|name| name.starts_with("modules."))
        && path.components().count() == 5
}

/// Whether a link points to something that is neither under /usr nor under /opt, the file systems
/// that only a running system has aside.
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

/// Units that expect to be enabled: their `[Install]` section says so and is not evaluated for
/// what an extension brings (flatcar/sysext-bakery#8).
fn units_that_nothing_starts(staged: &Staged) -> Vec<Finding> {
    let units = Utf8Path::new("usr/lib/systemd/system");
    let read = |path: &Utf8Path| std::fs::read_to_string(staged.root().join(path)).unwrap_or_default();
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
        // A service that goes with a socket of its own name is started by it.
        let socket =
            staged.get(&path.with_extension("socket")).is_some() && path.extension() == Some("service");
        if text.contains("[Install]")
            && !name.contains('@')
            && !socket
            && !drop_ins.contains(name)
            && !linked(name)
        {
            let message = "has an [Install] section, which is not evaluated for extensions: let a target uphold it \
                           ([finish] upholds)";
            found.push(Finding { fatal: false, path: path.to_owned(), message: message.to_owned() });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn told(base: &BaseTree, fill: impl Fn(&mut Staged, &Arc<str>)) -> String {
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        fill(&mut staged, &Arc::from("a test"));
        let findings: Vec<String> = check(&staged, base)
            .iter()
            .map(|finding| format!("{}: {finding}", if finding.fatal { "fatal" } else { "warning" }))
            .collect();
        findings.join("\n")
    }

    fn file(staged: &mut Staged, origin: &Arc<str>, path: &str, mode: u32, text: &str) {
        staged.put_file(Utf8Path::new(path), mode, &mut text.as_bytes(), origin).expect("a file");
    }

    #[test]
    fn every_rule_can_find_something() {
        let text = told(&BaseTree::new(), |staged, origin| {
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
    fn a_sound_tree_gives_nothing_to_say() {
        let text = told(&BaseTree::new(), |staged, origin| {
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
        let text = told(&base, |staged, origin| file(staged, origin, "usr/sbin/tool", 0o755, "x"));
        assert_eq!(
            text,
            "fatal: /usr/sbin is a directory, and hides the base's link to bin with all behind it"
        );
    }

    #[test]
    fn other_clashes_of_kind_are_fatal_too() {
        let base =
            BaseTree::parse("drwxr ./usr\ndrwxr ./usr/lib/tool\n-rwxr ./usr/lib/file\n-rw ./usr/lib/same\n");
        let text = told(&base, |staged, origin| {
            file(staged, origin, "usr/lib/file/inside", 0o644, "x");
            file(staged, origin, "usr/lib/same", 0o644, "x");
            staged.put_link(Utf8Path::new("usr/lib/tool"), "other", origin).expect("a link");
        });
        assert_eq!(
            text,
            "fatal: /usr/lib/file is a directory, and hides the base's file\n\
             fatal: /usr/lib/tool is a link to other, and hides the base's directory with all in it"
        );
    }
}
