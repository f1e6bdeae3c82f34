// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Tool;

use super::finding::Finding;

/// A program, what it is for, and how it tells its version.
struct Program {
    name: &'static str,
    package: &'static str,
    /// what cannot be done without it; nothing where no machine runs without it
    purpose: Option<&'static str>,
    /// the arguments that make it print its version; none where it cannot
    version: &'static [&'static str],
}

const fn needed(name: &'static str, package: &'static str) -> Program {
    Program { name, package, purpose: None, version: &["--version"] }
}

const fn wanted(
    name: &'static str,
    package: &'static str,
    purpose: &'static str,
    version: &'static [&'static str],
) -> Program {
    Program { name, package, purpose: Some(purpose), version }
}

const EXTENSIONS: &str = "build extensions of this format";
const STANDIN: &str = "make the stand-in image";

/// What is called by name, with the Debian packages that bring it.
const PROGRAMS: &[Program] = &[
    needed("qemu-system-x86_64", "qemu-system-x86"),
    needed("qemu-img", "qemu-utils"),
    wanted("qemu-system-aarch64", "qemu-system-arm", "boot images for arm64", &["--version"]),
    wanted("swtpm", "swtpm", "give a machine a TPM", &["--version"]),
    wanted("mksquashfs", "squashfs-tools", EXTENSIONS, &["-version"]),
    wanted("unsquashfs", "squashfs-tools", "look into images and extensions of this format", &["-version"]),
    wanted("mkfs.erofs", "erofs-utils", EXTENSIONS, &["-V"]),
    wanted("fsck.erofs", "erofs-utils", "look into images from release 4628", &["-V"]),
    wanted("mke2fs", "e2fsprogs", EXTENSIONS, &["-V"]),
    wanted("debugfs", "e2fsprogs", "look into images up to release 3760, and build ext4", &["-V"]),
    wanted("mkfs.btrfs", "btrfs-progs", EXTENSIONS, &["--version"]),
    wanted("btrfs", "btrfs-progs", "look into images from release 3794", &["--version"]),
    wanted("mdir", "mtools", "look into images", &["--version"]),
    wanted("systemd-dissect", "systemd-container", "look into images in the tests", &["--version"]),
    wanted("mmdebstrap", "mmdebstrap", STANDIN, &["--version"]),
    wanted("grub-mkimage", "grub-common", STANDIN, &["--version"]),
    wanted("sfdisk", "fdisk", STANDIN, &["--version"]),
    wanted("mcopy", "mtools", STANDIN, &["--version"]),
    wanted("mkfs.vfat", "dosfstools", STANDIN, &[]),
    wanted("newuidmap", "uidmap", "make the stand-in image without being root", &[]),
    wanted("ssh", "openssh-client", "get into a machine that was kept", &["-V"]),
];

/// Looks for every program that may be called.
pub(super) fn findings() -> Vec<Finding> {
    PROGRAMS.iter().map(finding).collect()
}

fn finding(program: &Program) -> Finding {
    let Ok(tool) = Tool::find(program.name) else {
        let install = format!("install it: sudo apt-get install {}", program.package);
        return match program.purpose {
            None => Finding::missing(program.name, "not installed", Some(install)),
            Some(purpose) => {
                Finding::good(program.name, "not installed").noted(format!("needed to {purpose}; {install}"))
            }
        };
    };
    let mut command = tool.command();
    command.args(program.version).stdin(std::process::Stdio::null());
    let words = if program.version.is_empty() {
        None
    } else {
        command.output().ok().map(|output| [output.stdout, output.stderr].concat())
    };
    let version = words.and_then(|words| version(&String::from_utf8_lossy(&words)));
    Finding::good(program.name, version.unwrap_or_else(|| tool.path().to_string()))
}

/// The first word that begins with a digit and has a dot in it, or else with a digit: there is no
/// common form.
fn version(words: &str) -> Option<String> {
    let plain = |character: char| !character.is_ascii_alphanumeric() && character != '.';
    let candidates = || {
        let words = words.lines().take(3).flat_map(str::split_whitespace);
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
        for (words, expected) in printed {
            assert_eq!(version(words).as_deref(), Some(expected), "{words}");
        }
        assert_eq!(version("usage: what"), None);
    }

    #[test]
    fn what_is_missing_says_what_for_and_how_to_get_it() {
        let program = wanted("no-such-program", "a-package", "do wonders", &[]);
        let advice = finding(&program).advice.expect("advice");
        assert_eq!(advice, "needed to do wonders; install it: sudo apt-get install a-package");
        assert_eq!(finding(&needed("no-such-program", "p")).state, super::super::State::Missing);
    }
}
