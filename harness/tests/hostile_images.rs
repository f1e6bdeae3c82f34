// SPDX-License-Identifier: Apache-2.0
//! Images whose names lead out of them are refused by every command that opens them, and write nothing.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
#[path = "../../images/tests/disk/mod.rs"]
mod disk;

use std::fs;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

/// Command lines that pack a tree `T` as an image `I` whose names are stored as they are.
const PACKERS: [(&str, &str); 3] = [
    ("erofs", "mkfs.erofs --quiet I T"),
    ("ext4", "truncate -s 4M I && mke2fs -q -F -t ext4 -O ^metadata_csum -d T I"),
    ("squashfs", "mksquashfs T I -quiet -no-progress -noI >/dev/null"),
];

/// Packs an extension with a file that is then called `name`.
fn pack(directory: &Utf8Path, format: &str, line: &str, name: &str) -> Utf8PathBuf {
    let tree = directory.join(format!("tree-{format}"));
    let releases = tree.join("usr/lib/extension-release.d");
    fs::create_dir_all(&releases).expect("created");
    let placeholder = "A".repeat(name.len());
    fs::write(releases.join(&placeholder), "owned").expect("written");
    fs::write(releases.join(format!("extension-release.evil-{format}")), "ID=flatcar\nSYSEXT_LEVEL=1.0\n")
        .expect("written");
    let image = directory.join(format!("evil-{format}.raw"));
    let line = line.replace(" I", &format!(" {image}")).replace(" T", &format!(" {tree}"));
    let status = Command::new("sh").args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {line}")]).status();
    assert!(status.expect("sh runs").success(), "{line}");
    let mut bytes = fs::read(&image).expect("read");
    let at = bytes.windows(placeholder.len()).position(|part| part == placeholder.as_bytes());
    let at = at.expect("the name is stored as it is");
    bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
    fs::write(&image, bytes).expect("written");
    image
}

#[test]
fn every_command_refuses_an_image_that_writes_outside() {
    let scratch = tempfile::tempdir().expect("a directory");
    let root = Utf8PathBuf::from_path_buf(scratch.path().canonicalize().expect("there")).expect("UTF-8");
    let (work, release, outside) = (root.join("work"), root.join("release"), root.join("outside"));
    for directory in [&work, &release, &outside] {
        fs::create_dir(directory).expect("created");
    }
    disk::make(&release.join("flatcar_production_qemu_image.img"), "4593.2.5");
    let name = format!("{}{}", "../".repeat(12), outside.join("file").as_str().trim_start_matches('/'));
    for (format, line) in PACKERS {
        let image = pack(&work, format, line, &name);
        let recipe = work.join(format!("{format}-recipe.toml"));
        fs::write(&recipe, format!("name = \"again\"\n[[image]]\nsource = \"{image}\"\n")).expect("written");
        let scenario = work.join(format!("{format}.toml"));
        let text = format!(
            "summary = \"It is refused\"\n[[sysext]]\npath = \"{image}\"\n\
             [[step]]\nmerged = {{ present = [\"evil-{format}\"] }}\n"
        );
        fs::write(&scenario, text).expect("written");
        for (arguments, needs_image) in [
            (vec!["image", "inspect", image.as_str()], false),
            (vec!["build", recipe.as_str()], true),
            (vec!["plan", "--accel", "tcg", scenario.as_str()], true),
            (vec!["try", image.as_str()], true),
        ] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
            command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
            command.env("HOME", &root).env("LOADGAUGE_CACHE", root.join("cache")).current_dir(&work);
            command.args(&arguments);
            if needs_image {
                command.args(["--image", release.as_str()]);
            }
            let output = command.output().expect("it runs");
            let message = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(2 | 3)), "{arguments:?}: {message}");
            assert!(message.contains(&format!("evil-{format}.raw")), "{arguments:?}: {message}");
            if needs_image {
                assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
            }
            if needs_image && format != "squashfs" {
                assert!(message.contains("leads out of the directory"), "{arguments:?}: {message}");
                assert!(message.contains(&name), "{arguments:?}: {message}");
            }
            assert_eq!(fs::read_dir(&outside).expect("listed").count(), 0, "{arguments:?}");
        }
    }
}
