// SPDX-License-Identifier: Apache-2.0
//! Files for /etc: stored under /usr, and copied by systemd-tmpfiles.
use std::fmt::Write as _;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::owner::Owner;
use super::stage::{NodeKind, StageError, Staged};

/// Moves the tree's /etc to `/usr/share/NAME/etc`, and writes `/usr/lib/tmpfiles.d/NAME-etc.conf`, with
/// which systemd-tmpfiles copies each file to /etc unless it exists there. See tmpfiles.d(5).
///
/// # Errors
/// See [`StageError`].
pub(super) fn convert(staged: &mut Staged, name: &str) -> Result<(), StageError> {
    let etc = Utf8Path::new("etc");
    if staged.get(etc).is_none() {
        return Ok(());
    }
    let origin: Arc<str> = Arc::from("the builder");
    let lines = lines(staged, name);
    staged.move_contents(etc, &Utf8PathBuf::from(format!("usr/share/{name}/etc")), &origin)?;
    let path = Utf8PathBuf::from(format!("usr/lib/tmpfiles.d/{name}-etc.conf"));
    staged.put_file(&path, 0o644, &mut lines.as_bytes(), &origin)
}

fn lines(staged: &Staged, name: &str) -> String {
    let mut text = String::new();
    let inside = staged.nodes().filter(|(path, _)| path.starts_with("etc") && path.as_str() != "etc");
    for (path, node) in inside {
        let target = field(&format!("/{path}"));
        let _ = match &node.kind {
            // systemd-tmpfiles creates the directories above a file with the mode 0755.
            NodeKind::Directory if node.mode == 0o755 && node.owner.is_root() && !is_empty(staged, path) => {
                Ok(())
            }
            NodeKind::Directory => {
                let Owner { uid, gid } = node.owner;
                writeln!(text, "d {target} {:04o} {uid} {gid} - -", node.mode)
            }
            NodeKind::File { .. } => {
                writeln!(text, "C {target} - - - - {}", specifiers(&format!("/usr/share/{name}/{path}")))
            }
            NodeKind::Link { target: to } => writeln!(text, "L {target} - - - - {}", specifiers(to)),
        };
    }
    text
}

fn is_empty(staged: &Staged, directory: &Utf8Path) -> bool {
    !staged.nodes().any(|(path, _)| path.parent() == Some(directory))
}

/// Escapes specifiers. The last field needs nothing else: it extends to the end of its line.
fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

/// A field that blanks separate from the next one.
fn field(text: &str) -> String {
    let text = specifiers(text);
    if text.chars().any(|c| c == ' ' || c == '"' || c == '\'' || c == '\\') {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use loadgauge_host::{CommandExt as _, Tool};

    use super::*;

    #[test]
    fn systemd_tmpfiles_creates_every_file() {
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let origin: Arc<str> = Arc::from("a test");
        let mut file = |path: &str, mode| {
            staged.put_file(Utf8Path::new(path), mode, &mut path.as_bytes(), &origin).expect("a file");
        };
        file("etc/tool/tool.conf", 0o600);
        file("etc/tool/50% of \"it\".conf", 0o644);
        file("etc/there", 0o644);
        staged.put_directory(Utf8Path::new("etc/private"), 0o700, &origin).expect("a directory");
        staged.put_link(Utf8Path::new("etc/link"), "tool/tool.conf", &origin).expect("a link");
        convert(&mut staged, "it").expect("moved");
        assert!(staged.get(Utf8Path::new("etc")).is_none());
        staged.settle(1_704_067_200).expect("settled");

        let root = staged.root();
        fs::create_dir(root.join("etc")).expect("made");
        fs::write(root.join("etc/there"), "the system's own").expect("written");
        for name in ["passwd", "group"] {
            fs::write(root.join("etc").join(name), "root:x:0:\n").expect("written");
        }
        let configuration = root.join("usr/lib/tmpfiles.d/it-etc.conf");
        let mut tmpfiles = Tool::find("systemd-tmpfiles").expect("a tool of the host").command();
        tmpfiles.arg("--create").arg(format!("--root={root}")).arg(&configuration);
        tmpfiles.run().unwrap_or_else(|error| panic!("{error}"));
        let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
        assert_eq!(read("etc/tool/tool.conf"), "etc/tool/tool.conf");
        assert_eq!(read("etc/link"), "etc/tool/tool.conf");
        assert_eq!(read("etc/tool/50% of \"it\".conf"), "etc/tool/50% of \"it\".conf");
        assert_eq!(read("etc/there"), "the system's own");
        let mode = |path: &str| fs::metadata(root.join(path)).expect(path).permissions().mode() & 0o777;
        assert_eq!((mode("etc/tool/tool.conf"), mode("etc/private")), (0o600, 0o700));
    }
}
