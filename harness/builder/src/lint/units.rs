// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::fs;

use super::base_tree::BaseTree;
use super::finding::Finding;
use crate::member::merge_usr;
use crate::stage::{NodeKind, Staged};

/// The directories in which systemd searches for a program without a path (systemd.service(5)).
const SEARCH_PATH: [&str; 4] = ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin"];

/// Units whose programs do not exist or are not executable, so that systemd fails with 203/EXEC
/// (flatcar/sysext-bakery#247: the program was moved, but not its path in the unit).
pub(super) fn missing_programs(staged: &Staged, base: &BaseTree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, node) in staged.nodes() {
        let unit = path.starts_with("usr/lib/systemd/system")
            && matches!(path.extension(), Some("service" | "socket" | "mount" | "swap" | "conf"));
        if !unit || !matches!(node.kind, NodeKind::File { .. }) {
            continue;
        }
        let text = fs::read_to_string(staged.root().join(path)).unwrap_or_default();
        for program in programs(&text) {
            if let Some(message) = check_program(staged, base, &program) {
                found.push(Finding { fatal: false, path: path.to_owned(), message });
            }
        }
    }
    found
}

fn check_program(staged: &Staged, base: &BaseTree, program: &str) -> Option<String> {
    let candidates: Vec<Utf8PathBuf> = match program.strip_prefix('/') {
        Some(relative) => vec![merge_usr(Utf8Path::new(relative))],
        None => SEARCH_PATH.iter().map(|directory| Utf8Path::new(directory).join(program)).collect(),
    };
    for candidate in &candidates {
        match staged.get(candidate).map(|node| (&node.kind, node.mode)) {
            Some((NodeKind::File { .. }, mode)) if mode & 0o111 == 0 => {
                return Some(format!("runs {program}, which is not executable (mode {mode:04o})"));
            }
            Some((NodeKind::Directory, _)) => return Some(format!("runs {program}, which is a directory")),
            Some(_) => return None,
            None => {}
        }
    }
    // Files elsewhere (/etc, /run) can be created at run time; links of the extension are not followed.
    let in_hierarchy = candidates.iter().any(|path| path.starts_with("usr") || path.starts_with("opt"));
    let behind_link = candidates
        .iter()
        .flat_map(|path| path.ancestors().skip(1))
        .any(|parent| staged.get(parent).is_some_and(|node| matches!(node.kind, NodeKind::Link { .. })));
    let may_exist = candidates.iter().any(|path| base.may_have(path));
    (in_hierarchy && !behind_link && !may_exist)
        .then(|| format!("runs {program}, which is neither in the extension nor in the base"))
}

/// The programs of all `Exec*=` lines that must succeed, see "Command lines" in systemd.service(5).
fn programs(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter_map(|line| line.split_once('='));
    lines
        .filter(|(key, _)| {
            let key = key.trim();
            key.starts_with("Exec") && !matches!(key, "ExecSearchPath" | "ExecPaths")
        })
        .filter_map(|(_, command)| {
            let command = command.trim();
            let start = command.find(|c: char| !"@-:+!|".contains(c))?;
            if command[..start].contains('-') {
                return None;
            }
            let program = match command[start..].strip_prefix('"') {
                Some(quoted) => quoted.split('"').next()?,
                None => command[start..].split_whitespace().next()?,
            };
            // Only the running system can expand specifiers and variables.
            (!program.contains(['%', '$', '\\'])).then(|| program.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_program_of_a_line_is_found_behind_its_prefixes() {
        let text = "[Service]\nExecStart=/usr/bin/a --b\nExecStartPre=-/usr/bin/may-fail\nExecStop = @/opt/c d\n\
                    ExecStart=\nExecReload=+\"/usr/bin/d e\" f\nExecStartPost=%h/bin/g\nExecSearchPath=/x\n\
                    #ExecStart=/usr/bin/no\nExecStartPre=name\n";
        assert_eq!(programs(text), ["/usr/bin/a", "/opt/c", "/usr/bin/d e", "name"]);
    }

    #[test]
    fn a_program_is_searched_in_the_extension_and_in_the_base() {
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let origin: Arc<str> = Arc::from("a test");
        let unit = "[Service]\nExecStartPre=/bin/sh -c true\nExecStartPre=/usr/bin/plain\n\
                    ExecStartPre=/usr/local/sbin/moved\nExecStartPre=systemctl x\nExecStart=/usr/sbin/tool\n\
                    ExecStop=/run/made-later\n";
        let mut file = |path: &str, mode, text: &str| {
            staged.put_file(Utf8Path::new(path), mode, &mut text.as_bytes(), &origin).expect("a file");
        };
        file("usr/lib/systemd/system/tool.service", 0o644, unit);
        file("usr/sbin/tool", 0o755, "x");
        file("usr/bin/plain", 0o644, "x");
        let messages = |base: &BaseTree| -> Vec<String> {
            missing_programs(&staged, base).into_iter().map(|finding| finding.message).collect()
        };
        let plain = "runs /usr/bin/plain, which is not executable (mode 0644)".to_owned();
        let moved =
            "runs /usr/local/sbin/moved, which is neither in the extension nor in the base".to_owned();
        assert_eq!(messages(&BaseTree::new()), std::slice::from_ref(&plain));
        let base = BaseTree::parse("-rwxr ./usr/bin/sh\n-rwxr ./usr/bin/systemctl\n");
        assert_eq!(messages(&base), [plain, moved]);
    }
}
