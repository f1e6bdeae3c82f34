// SPDX-License-Identifier: Apache-2.0
//! The programs and files that units need.
use camino::{Utf8Path, Utf8PathBuf};

use super::may_exist;
use crate::lint::base::Base;
use crate::lint::content::{Content, Kind, PROGRAMS};
use crate::lint::finding::Fault;
use crate::member::merge_usr;
use crate::unit_file::assignments;

/// Units whose programs do not exist or are not executable, so that systemd fails with 203/EXEC
/// (flatcar/sysext-bakery#247: the program was moved, but not its path in the unit).
pub(super) fn missing_program(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    for (path, _, text) in content.units() {
        for program in programs(text) {
            if let Some(message) = check_program(content, base, &program) {
                found.push(Fault::warning(path, message));
            }
        }
    }
    found
}

fn check_program(content: &Content, base: &Base<'_>, program: &str) -> Option<String> {
    let candidates: Vec<Utf8PathBuf> = match program.strip_prefix('/') {
        Some(relative) => vec![merge_usr(Utf8Path::new(relative))],
        None => PROGRAMS.iter().map(|directory| Utf8Path::new(directory).join(program)).collect(),
    };
    let program = program.escape_debug();
    for candidate in &candidates {
        match content.get(candidate).map(|entry| (&entry.kind, entry.mode)) {
            Some((Kind::File, mode)) if mode & 0o111 == 0 => {
                return Some(format!("runs {program}, which is not executable (mode {mode:04o})"));
            }
            Some((Kind::Directory, _)) => return Some(format!("runs {program}, which is a directory")),
            Some(_) => return None,
            None => {}
        }
    }
    // Files elsewhere (/etc, /run) can be created at run time.
    let in_hierarchy = candidates.iter().any(|path| path.starts_with("usr") || path.starts_with("opt"));
    let exists = candidates.iter().any(|path| may_exist(content, base, path));
    (in_hierarchy && !exists)
        .then(|| format!("runs {program}, which is neither in the extension nor in the image"))
}

/// Files that a service reads before it starts, and that nothing writes: systemd fails without a word of the
/// service (flatcar/sysext-bakery#106).
pub(super) fn missing_environment(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    for (path, _, text) in content.units() {
        for one in assignments(text).filter(|one| one.key == "EnvironmentFile") {
            // A dash permits that it does not exist.
            let Some(file) = one.value.strip_prefix('/') else { continue };
            let is_pattern = file.contains(['%', '*', '?', '[']);
            // The system writes those of /run and /var when it runs.
            let can_check = ["usr", "opt", "etc"].iter().any(|first| Utf8Path::new(file).starts_with(first));
            let is_made = content
                .texts
                .iter()
                .any(|(other, text)| other.starts_with("usr/lib/tmpfiles.d") && text.contains(&one.value));
            if is_pattern || !can_check || is_made || may_exist(content, base, Utf8Path::new(file)) {
                continue;
            }
            let name = one.value.escape_debug();
            let message = format!(
                "needs the file {name} (line {}), which neither the extension, its tmpfiles.d nor the image has",
                one.line
            );
            found.push(Fault::warning(path, message).with_hint(format!(
                "write `EnvironmentFile=-{name}`, or make the file with tmpfiles.d or Ignition"
            )));
        }
    }
    found
}

/// The programs of all `Exec*=` lines that must succeed, see "Command lines" in systemd.service(5).
fn programs(text: &str) -> Vec<String> {
    assignments(text)
        .filter(|one| one.key.starts_with("Exec") && !matches!(one.key, "ExecSearchPath" | "ExecPaths"))
        .filter_map(|one| {
            let command = one.value.as_str();
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
    use super::super::testing::{Image, unknown};
    use super::*;

    #[test]
    fn the_program_of_a_line_is_found_behind_its_prefixes() {
        let text = "[Service]\nExecStart=/usr/bin/a --b\nExecStartPre=-/usr/bin/may-fail\nExecStop = @/opt/c d\n\
                    ExecStart=\nExecReload=+\"/usr/bin/d e\" f\nExecStartPost=%h/bin/g\nExecSearchPath=/x\n\
                    #ExecStart=/usr/bin/no\nExecStartPre=name\n";
        assert_eq!(programs(text), ["/usr/bin/a", "/opt/c", "/usr/bin/d e", "name"]);
    }

    #[test]
    fn a_program_is_searched_in_the_extension_and_in_the_image() {
        let unit = "[Service]\nExecStartPre=/bin/sh -c true\nExecStartPre=/usr/bin/plain\n\
                    ExecStartPre=/usr/local/sbin/moved\nExecStartPre=systemctl x\nExecStart=/usr/sbin/tool\n\
                    ExecStop=/run/made-later\nExecStopPost=/usr/bin/docker rm x\n";
        let content = Content::of(&["755 0 usr/sbin/tool", "644 0 usr/bin/plain"])
            .with_text("usr/local/lib/systemd/system/tool.service", unit);
        let plain = "warning: /usr/local/lib/systemd/system/tool.service runs /usr/bin/plain, which is not executable \
                     (mode 0644)";
        let moved = "warning: /usr/local/lib/systemd/system/tool.service runs /usr/local/sbin/moved, which is neither \
                     in the extension nor in the image";
        assert_eq!(unknown().findings(missing_program, &content), [plain]);
        let image = Image::new("4593.2.0", 257, "-rwxr ./usr/bin/sh\n-rwxr ./usr/bin/systemctl\n");
        assert_eq!(image.findings(missing_program, &content), [plain, moved]);
    }

    #[test]
    fn a_file_that_a_service_needs_exists() {
        let image = Image::new("4593.2.0", 257, "-rw ./etc/default/sshd\n");
        let content = |file: &str| {
            let unit = format!("[Service]\nEnvironmentFile={file}\n");
            Content::of(&["644 0 usr/share/a.env"])
                .with_text("usr/lib/systemd/system/a.service", &unit)
                .with_text("usr/lib/tmpfiles.d/a.conf", "C /etc/default/made - - - - /usr/share/a.env\n")
        };
        for file in [
            "-/etc/default/a",
            "/etc/default/sshd",
            "/etc/default/made",
            "/usr/share/a.env",
            "/run/x",
            "/etc/%i",
        ] {
            assert!(image.findings(missing_environment, &content(file)).is_empty(), "{file}");
        }
        assert_eq!(
            image.findings(missing_environment, &content("/etc/default/a")),
            [
                "warning: /usr/lib/systemd/system/a.service needs the file /etc/default/a (line 2), which neither the \
              extension, its tmpfiles.d nor the image has"
            ]
        );
    }
}
