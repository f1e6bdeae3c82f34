// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::{CommandExt as _, Tool};

use super::finding::Finding;

/// A program that loadgauge may execute.
struct Program {
    name: &'static str,
    /// the Debian package that contains it
    package: &'static str,
    /// what needs it; `None` where every machine does
    purpose: Option<&'static str>,
    /// the arguments that make it print its version; empty where it cannot
    version: &'static [&'static str],
}

const fn required(name: &'static str, package: &'static str) -> Program {
    Program { name, package, purpose: None, version: &["--version"] }
}

const fn optional(
    name: &'static str,
    package: &'static str,
    purpose: &'static str,
    version: &'static [&'static str],
) -> Program {
    Program { name, package, purpose: Some(purpose), version }
}

const EXTENSIONS: &str = "build extensions in this format";
const STANDIN: &str = "build the stand-in image";

const PROGRAMS: &[Program] = &[
    required("qemu-system-x86_64", "qemu-system-x86"),
    required("qemu-img", "qemu-utils"),
    optional("qemu-system-aarch64", "qemu-system-arm", "boot arm64 images", &["--version"]),
    optional("swtpm", "swtpm", "give a machine a TPM", &["--version"]),
    optional("mksquashfs", "squashfs-tools", EXTENSIONS, &["-version"]),
    optional("unsquashfs", "squashfs-tools", "inspect images and extensions in this format", &["-version"]),
    optional("mkfs.erofs", "erofs-utils", EXTENSIONS, &["-V"]),
    optional("fsck.erofs", "erofs-utils", "inspect images from release 4628", &["-V"]),
    optional("mke2fs", "e2fsprogs", EXTENSIONS, &["-V"]),
    optional("debugfs", "e2fsprogs", "inspect images up to release 3760 and build ext4 extensions", &["-V"]),
    optional("mkfs.btrfs", "btrfs-progs", EXTENSIONS, &["--version"]),
    optional("btrfs", "btrfs-progs", "inspect images from release 3794", &["--version"]),
    optional("mdir", "mtools", "inspect images", &["--version"]),
    optional("systemd-dissect", "systemd-container", "run the tests", &["--version"]),
    optional("mmdebstrap", "mmdebstrap", STANDIN, &["--version"]),
    optional("grub-mkimage", "grub-common", STANDIN, &["--version"]),
    optional("sfdisk", "fdisk", STANDIN, &["--version"]),
    optional("mcopy", "mtools", STANDIN, &["--version"]),
    optional("mkfs.vfat", "dosfstools", STANDIN, &[]),
    optional("newuidmap", "uidmap", "build the stand-in image without root", &[]),
    optional("ssh", "openssh-client", "log in to a machine that was left running", &["-V"]),
];

/// Checks every program.
pub(super) fn findings() -> Vec<Finding> {
    PROGRAMS.iter().map(finding).collect()
}

fn finding(program: &Program) -> Finding {
    let Ok(tool) = Tool::find(program.name) else {
        let install = format!("install it: sudo apt-get install {}", program.package);
        return match program.purpose {
            None => Finding::missing(program.name, "not installed", Some(install)),
            Some(purpose) => Finding::good(program.name, "not installed")
                .with_note(format!("needed to {purpose}; {install}")),
        };
    };
    let mut command = tool.command();
    command.args(program.version);
    let printed = if program.version.is_empty() {
        None
    } else {
        command.run_to_any_end().ok().map(|output| [output.stdout, output.stderr].concat())
    };
    let version = printed.and_then(|printed| version(&String::from_utf8_lossy(&printed)));
    Finding::good(program.name, version.unwrap_or_else(|| tool.path().to_string()))
}

/// Finds a version in the output of a program: the first word that begins with a digit and has a dot, or
/// else the first that begins with a digit. Programs have no common form.
fn version(output: &str) -> Option<String> {
    let plain = |character: char| !character.is_ascii_alphanumeric() && character != '.';
    let candidates = || {
        let words = output.lines().take(3).flat_map(str::split_whitespace);
        words.map(move |word| {
            let word = word.trim_matches(plain);
            // OpenSSH_10.0p2, btrfs-progs v6.14
            word.rsplit('_').next().unwrap_or(word).trim_start_matches('v')
        })
    };
    let digits = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
    let found = candidates().filter(digits).find(|word| word.contains('.'));
    found.or_else(|| candidates().find(digits)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn versions_are_found_in_many_forms() {
        let printed = [
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c) 2003-2025", "10.0.2"),
            ("mksquashfs version 4.6.1 (2023/03/25)", "4.6.1"),
            ("mke2fs 1.47.2 (1-Jan-2025)\n\tUsing EXT2FS Library version 1.47.2", "1.47.2"),
            ("mkfs.btrfs, part of btrfs-progs v6.14", "6.14"),
            ("mkfs.erofs (erofs-utils) 1.8.6\navailable compressors", "1.8.6"),
            ("systemd 257 (257.9-1~deb13u1)\n+PAM", "257.9-1~deb13u1"),
            ("OpenSSH_10.0p2 Debian-7, OpenSSL 3.5.4", "10.0p2"),
            ("mcopy (GNU mtools) 4.0.48", "4.0.48"),
            ("TPM emulator version 0.7.1, Copyright (c) 2014-2022 IBM Corp.", "0.7.1"),
        ];
        for (output, expected) in printed {
            assert_eq!(version(output).as_deref(), Some(expected), "{output}");
        }
        assert_eq!(version("usage: what"), None);
    }

    #[test]
    fn a_missing_program_is_reported_with_its_purpose_and_package() {
        let program = optional("no-such-program", "a-package", "test this", &[]);
        let advice = finding(&program).advice.expect("advice");
        assert_eq!(advice, "needed to test this; install it: sudo apt-get install a-package");
        assert_eq!(finding(&required("no-such-program", "p")).state, State::Missing);
    }
}
