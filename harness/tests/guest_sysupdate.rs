// SPDX-License-Identifier: Apache-2.0
//! systemd-sysupdate installs what `build` publishes. It runs in the root of a stand-in image, with an
//! extension that contains it; nothing is booted.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
use std::fs;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{CommandExt as _, Tool};
use loadgauge_images::signature::SigningKey;

const SQUASHFS: &str = "flatcar_production_image_sysext.squashfs";

/// The script that runs systemd-sysupdate with further arguments in the root `$1`.
const IN_ROOT: &str = "\
root=$1; shift
mount -t proc proc \"$root/proc\"
mount --rbind /dev \"$root/dev\"
exec chroot \"$root\" /usr/lib/systemd/systemd-sysupdate --component=tool --no-pager \"$@\"";

/// A root file system with systemd-sysupdate.
struct Root(tempfile::TempDir);

impl Root {
    /// A root with systemd-sysupdate and gpg, and with version 1.2 of an extension in `/srv`.
    fn new() -> Self {
        let root = Self(tempfile::tempdir().expect("a directory"));
        let updater = root.build(
            "updater",
            "[[debian]]\npackages = [\"systemd-container\", \"gpg\"]\nexclude = [\"/usr/share/{doc,man}/**\"]\n",
            &["--format", "directory"],
        );
        let squashfs = standin_image().join(SQUASHFS);
        let mut command = Tool::find("unsquashfs").expect("installed").command();
        command.args(["-quiet", "-no-progress", "-no-xattrs", "-dest"]).args([root.directory(), squashfs]);
        command.run().unwrap_or_else(|error| panic!("{error}"));
        let mut command = Tool::find("cp").expect("installed").command();
        command.args(["--archive", "--force"]).arg(updater.join("usr")).arg(root.directory());
        command.run().unwrap_or_else(|error| panic!("{error}"));
        for directory in ["etc/sysupdate.tool.d", "etc/extensions", "proc", "dev", "srv"] {
            fs::create_dir_all(root.directory().join(directory)).expect("made");
        }
        root.publish("1.2");
        // systemd reads `*.conf` up to version 256 and `*.transfer` later; newer versions still read both.
        fs::rename(
            root.directory().join("srv/tool.conf"),
            root.directory().join("etc/sysupdate.tool.d/tool.conf"),
        )
        .expect("moved");
        root
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).expect("UTF-8").join(name)
    }

    fn directory(&self) -> Utf8PathBuf {
        self.path("root")
    }

    fn build(&self, name: &str, text: &str, arguments: &[&str]) -> Utf8PathBuf {
        let recipe = self.path(&format!("{name}.toml"));
        fs::write(&recipe, format!("name = \"{name}\"\n{text}")).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
        command.arg("build").arg(&recipe).args(arguments);
        let output = command.run().unwrap_or_else(|error| panic!("{error}"));
        String::from_utf8(output.stdout).expect("UTF-8").trim().into()
    }

    fn publish(&self, version: &str) {
        let text = format!(
            "version = \"{version}\"\n[[file]]\npath = \"/usr/share/tool\"\ncontents = \"{version}\"\n\
             [publish]\nurl = \"file:///srv\"\n"
        );
        self.build("tool", &text, &["--output", self.directory().join("srv").as_str()]);
    }

    /// Whether systemd-sysupdate succeeded, and its output. It runs without a network in its own namespaces.
    fn sysupdate(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Tool::find("unshare").expect("installed").command();
        command.args([
            "--map-root-user",
            "--user",
            "--mount",
            "--pid",
            "--fork",
            "--net",
            "sh",
            "-euc",
            IN_ROOT,
            "sh",
        ]);
        let output = command.arg(self.directory()).args(arguments).output().expect("unshare runs");
        let output_text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), output_text)
    }

    fn sign(&self, key: &SigningKey) {
        let sums = self.directory().join("srv/SHA256SUMS");
        let signature = key.sign_detached(&fs::read(&sums).expect("read")).expect("signed");
        fs::write(self.directory().join("srv/SHA256SUMS.gpg"), signature).expect("written");
    }
}

/// The directory of a stand-in of the sysext era.
fn standin_image() -> Utf8PathBuf {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
    let output = command.args(["image", "list"]).run().unwrap_or_else(|error| panic!("{error}"));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let line = text.lines().find(|line| line.starts_with("4593.")).expect("an image of the sysext era");
    line.split_whitespace().last().expect("a directory").into()
}

#[test]
fn systemd_sysupdate_verifies_and_installs_published_extensions() {
    let root = Root::new();
    let (success, output) = root.sysupdate(&["--verify=no", "list"]);
    assert!(success && output.contains("1.2") && output.contains("candidate"), "{output}");
    // The transfer file requires a signature.
    let (success, output) = root.sysupdate(&["list"]);
    assert!(!success && output.contains("cannot verify"), "{output}");

    let key = SigningKey::generate("Test <test@example.org>").expect("a key");
    let armoured = root.path("key.asc");
    fs::write(&armoured, key.public_key().expect("written")).expect("written");
    let mut gpg = Tool::find("gpg").expect("installed").command();
    gpg.arg("--homedir").arg(root.0.path()).args(["--batch", "--yes", "--output"]);
    gpg.arg(root.directory().join("etc/systemd/import-pubring.gpg")).arg("--dearmor").arg(&armoured);
    gpg.run().unwrap_or_else(|error| panic!("{error}"));
    root.sign(&key);
    let (success, output) = root.sysupdate(&["update"]);
    assert!(success, "{output}");
    let link = root.directory().join("etc/extensions/tool.raw");
    let target = link.read_link_utf8().expect("linked");
    assert_eq!(target, "../../opt/extensions/tool/tool-1.2-x86-64.raw");
    let published = fs::read(root.directory().join("srv/tool-1.2-x86-64.raw")).expect("read");
    let installed = root.directory().join("opt/extensions/tool/tool-1.2-x86-64.raw");
    assert_eq!(fs::read(installed).expect("installed"), published);

    // A newer version is refused with an unknown key, and offered with the right one.
    root.publish("1.10");
    root.sign(&SigningKey::generate("Stranger <stranger@example.org>").expect("a key"));
    let (success, output) = root.sysupdate(&["update"]);
    assert!(!success, "{output}");
    root.sign(&key);
    let (success, output) = root.sysupdate(&["check-new"]);
    assert!(success && output.contains("1.10"), "{output}");
}
