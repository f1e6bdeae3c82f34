// SPDX-License-Identifier: Apache-2.0
//! Images whose names lead out of them are refused by every command that opens them, and write nothing. So
//! are images that are cut off, and releases without signatures of a trusted key.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
#[path = "../../images/tests/disk/mod.rs"]
mod disk;

use std::fs;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_images::signature::SigningKey;

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

/// Runs a command in the directory `work`. Returns the status, and what it wrote to both outputs.
fn loadgauge(root: &Utf8Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("HOME", root).env("LOADGAUGE_CACHE", root.join("cache")).current_dir(root.join("work"));
    let output = command.args(arguments).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Returns a directory with `work` in it, and its path.
fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
    let scratch = tempfile::tempdir().expect("a directory");
    let root = Utf8PathBuf::from_path_buf(scratch.path().canonicalize().expect("there")).expect("UTF-8");
    fs::create_dir(root.join("work")).expect("created");
    (scratch, root)
}

#[test]
fn inspect_describes_an_extension_and_refuses_one_that_is_cut_off() {
    let (_scratch, root) = scratch();
    for (format, line) in PACKERS {
        let image = pack(&root.join("work"), format, line, "AAAAA");
        let (status, page, message) = loadgauge(&root, &["image", "inspect", image.as_str()]);
        assert_eq!(status, Some(0), "{message}");
        assert!(page.starts_with(&format!("an image of the extension evil-{format}\n")), "{page}");
        assert!(page.contains("  ID=flatcar\n  SYSEXT_LEVEL=1.0\n"), "{page}");
        let (_, text, _) = loadgauge(&root, &["image", "inspect", "--format", "json", image.as_str()]);
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&json["kind"], &json["files"]), (&"extension".into(), &2.into()), "{text}");
        let length = fs::metadata(&image).expect("there").len();
        let cut = length / 2;
        fs::File::options().write(true).open(&image).expect("opened").set_len(cut).expect("cut");
        let (status, _, message) = loadgauge(&root, &["image", "inspect", image.as_str()]);
        assert_eq!(status, Some(2), "{message}");
        let expected = format!("it is cut off: it has {cut} bytes, and its ");
        assert!(message.contains(image.as_str()) && message.contains(&expected), "{message}");
    }
}

#[test]
fn a_release_without_signatures_of_a_trusted_key_does_not_verify() {
    let (_scratch, root) = scratch();
    let release = root.join("release");
    fs::create_dir(&release).expect("created");
    let key = SigningKey::generate("Somebody <somebody@example.org>").expect("a key");
    let own = release.join("test-signing-key.asc");
    fs::write(&own, key.public_key().expect("written down")).expect("written");
    fs::write(release.join("version.txt"), "FLATCAR_VERSION=1.0.0\n").expect("written");
    let signature = key.sign_detached(b"FLATCAR_VERSION=1.0.0\n").expect("signed");
    fs::write(release.join("version.txt.sig"), signature).expect("written");
    let verify = |arguments: &[&str]| {
        let arguments = [&["image", "verify"], arguments, &[release.as_str()]].concat();
        loadgauge(&root, &arguments)
    };
    let (status, page, message) = verify(&[]);
    assert_eq!(status, Some(1), "{page}{message}");
    assert!(
        page.contains("WRONG  version.txt\n       its signature: the signature is not from a trusted key"),
        "{page}"
    );
    assert!(message.contains(&format!("--key {own}")), "{message}");
    let (status, page, message) = verify(&["--key", own.as_str()]);
    assert_eq!((status, page.as_str()), (Some(0), "ok     version.txt\n"), "{message}");
    fs::write(release.join("flatcar_production_qemu_image.img"), "what a run would boot").expect("written");
    let (status, page, _) = verify(&["--key", own.as_str()]);
    assert_eq!(status, Some(1), "{page}");
    assert!(page.contains("WRONG  flatcar_production_qemu_image.img\n       it is not signed: "), "{page}");
}

#[test]
fn every_command_refuses_an_image_that_writes_outside() {
    let (_scratch, root) = scratch();
    let (work, release, outside) = (root.join("work"), root.join("release"), root.join("outside"));
    for directory in [&release, &outside] {
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
            let mut arguments = arguments;
            if needs_image {
                arguments.extend(["--image", release.as_str()]);
            }
            let (status, _, message) = loadgauge(&root, &arguments);
            assert_eq!(status, Some(2), "{arguments:?}: {message}");
            assert!(message.contains(&format!("evil-{format}.raw")), "{arguments:?}: {message}");
            assert!(message.contains("leads out of the directory"), "{arguments:?}: {message}");
            assert!(message.contains(&name), "{arguments:?}: {message}");
            assert_eq!(fs::read_dir(&outside).expect("listed").count(), 0, "{arguments:?}");
        }
    }
}
