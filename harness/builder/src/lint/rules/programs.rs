// SPDX-License-Identifier: Apache-2.0
//! Programs in the directories of programs.
use camino::Utf8Path;
use loadgauge_images::Architecture;

use super::may_exist;
use crate::lint::base::Base;
use crate::lint::content::{Content, PROGRAMS};
use crate::lint::finding::Fault;

/// The first bytes of an ELF file.
const ELF: &[u8] = b"\x7fELF";

/// ELF files and scripts that nobody may execute, as a zip archive or a download leaves them.
pub(super) fn not_executable(content: &Content, _: &Base<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    for (path, head) in &content.heads {
        let kind = if head.starts_with(ELF) {
            "an ELF file"
        } else if head.starts_with(b"#!") {
            "a script"
        } else {
            continue;
        };
        let mode = content.get(path).map_or(0, |entry| entry.mode);
        // A shared library needs no such bit, but is not a program.
        let message = match mode & 0o111 {
            0 => format!("is {kind} that cannot be executed (mode {mode:04o})"),
            bits if bits & 0o001 == 0 && mode & 0o6000 == 0 => {
                format!("is {kind} that only its owner and group can execute (mode {mode:04o})")
            }
            _ => continue,
        };
        found.push(Fault::warning(path, message).with_hint("use mode 0755"));
    }
    found
}

/// Scripts whose interpreter neither the extension nor the image has: the kernel then reports that the script
/// does not exist.
pub(super) fn interpreter(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    for (path, head) in &content.heads {
        let Some(line) = head.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next())
        else {
            continue;
        };
        // A cut line says nothing.
        let Ok(line) = std::str::from_utf8(line) else { continue };
        if line.len() + 3 > head.len() {
            continue;
        }
        if line.ends_with('\r') {
            let message = "is a script with Windows line ends: its interpreter is not found";
            found.push(Fault::warning(path, message).with_hint("convert it with dos2unix"));
            continue;
        }
        let mut words = line.split_whitespace();
        let Some(program) = words.next() else { continue };
        let Some(relative) = program.strip_prefix('/') else { continue };
        let missing = if !may_exist(content, base, Utf8Path::new(relative)) {
            Some(program)
        } else if program == "/usr/bin/env" {
            // Options of env and variables come first.
            let name = words.find(|word| !word.starts_with('-') && !word.contains('='));
            name.filter(|name| {
                !name.contains('/')
                    && !PROGRAMS
                        .iter()
                        .any(|directory| may_exist(content, base, &Utf8Path::new(directory).join(name)))
            })
        } else {
            None
        };
        found.extend(missing.map(|name| {
            let name = name.escape_debug();
            Fault::warning(
                path,
                format!("is a script for {name}, which neither the extension nor the image has"),
            )
            .with_hint("add the interpreter to the extension, or leave the script out")
        }));
    }
    found
}

/// Programs for another processor than the image's.
pub(super) fn architecture(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    for (path, head) in content.heads.iter().filter(|(_, head)| head.starts_with(ELF)) {
        // `e_machine`, see elf(5). Both architectures are little-endian.
        let Some([low, high]) = head.get(18..20) else { continue };
        let machine = match u16::from_le_bytes([*low, *high]) {
            62 => Architecture::Amd64,
            183 => Architecture::Arm64,
            _ => continue,
        };
        if machine != base.architecture {
            let message = format!(
                "is a program for {machine}, which an image for {} cannot execute",
                base.architecture
            );
            found.push(
                Fault::warning(path, message).with_hint("take the program for the image's architecture"),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Image, unknown};
    use super::*;

    #[test]
    fn programs_that_cannot_be_executed_are_warned_of() {
        let content =
            Content::of(&["644 0 usr/bin/a", "750 0 usr/bin/b", "755 0 usr/bin/c", "644 0 usr/bin/d"])
                .with_text("usr/bin/a", "\x7fELF")
                .with_text("usr/bin/b", "#!/bin/sh\n")
                .with_text("usr/bin/c", "#!/bin/sh\n")
                .with_text("usr/bin/d", "data");
        assert_eq!(
            unknown().findings(not_executable, &content),
            [
                "warning: /usr/bin/a is an ELF file that cannot be executed (mode 0644)",
                "warning: /usr/bin/b is a script that only its owner and group can execute (mode 0750)",
            ]
        );
    }

    #[test]
    fn programs_for_another_processor_are_warned_of() {
        let program = |machine: u8| {
            let mut content = Content::of(&["755 0 usr/bin/a"]);
            let mut head = [ELF, &[0; 16]].concat();
            head[18] = machine;
            content.heads.insert("usr/bin/a".into(), head);
            unknown().findings(architecture, &content)
        };
        assert_eq!(
            program(183),
            ["warning: /usr/bin/a is a program for arm64, which an image for amd64 cannot execute"]
        );
        assert!(program(62).is_empty());
    }

    #[test]
    fn an_interpreter_is_in_the_extension_or_in_the_image() {
        let image =
            Image::new("4593.2.0", 257, "lrwx ./bin -> usr/bin\n-rwx ./usr/bin/sh\n-rwx ./usr/bin/env\n");
        let content = Content::of(&["755 0 usr/bin/own"])
            .with_text("usr/bin/a", "#!/bin/sh -e\n")
            .with_text("usr/bin/b", "#!/usr/bin/python3\n")
            .with_text("usr/bin/c", "#!/usr/bin/env -S X=1 perl -w\n")
            .with_text("usr/bin/d", "#!/usr/bin/env own\n")
            .with_text("usr/bin/e", "#!/bin/sh\r\n");
        assert_eq!(
            image.findings(interpreter, &content),
            [
                "warning: /usr/bin/b is a script for /usr/bin/python3, which neither the extension nor the image has",
                "warning: /usr/bin/c is a script for perl, which neither the extension nor the image has",
                "warning: /usr/bin/e is a script with Windows line ends: its interpreter is not found",
            ]
        );
        assert_eq!(unknown().findings(interpreter, &content).len(), 1, "the image's files are not known");
    }
}
