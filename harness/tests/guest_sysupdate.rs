// SPDX-License-Identifier: Apache-2.0
//! What is written for systemd-sysupdate, read by it: in the root of a stand-in with the extension that
//! brings it, which needs no boot.
use std::fs;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{CommandExt as _, Tool};
use loadgauge_images::signature::SigningKey;

const SQUASHFS: &str = "flatcar_production_image_sysext.squashfs";

/// Runs systemd-sysupdate in the root $1 with the arguments that follow, as root of a namespace of its
/// own and without a network.
const IN_ROOT: &str = "\
root=$1; shift
mount -t proc proc \"$root/proc\"
mount --rbind /dev \"$root/dev\"
exec chroot \"$root\" /usr/lib/systemd/systemd-sysupdate --component=tool --no-pager \"$@\"";

struct Bench(tempfile::TempDir);

impl Bench {
    /// A root with systemd-sysupdate and gpg, and a version of an extension at `/srv`.
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().expect("a directory"));
        let updater = bench.build(
            "updater",
            "[[debian]]\npackages = [\"systemd-container\", \"gpg\"]\nexclude = [\"/usr/share/{doc,man}/**\"]\n",
            &["--format", "directory"],
        );
        let squashfs = newest_image().join(SQUASHFS);
        let mut command = Tool::find("unsquashfs").expect("on the host").command();
        command.args(["-quiet", "-no-progress", "-no-xattrs", "-dest"]).args([bench.root(), squashfs]);
        command.run().unwrap_or_else(|error| panic!("{error}"));
        let mut command = Tool::find("cp").expect("on the host").command();
        command.args(["--archive", "--force"]).arg(updater.join("usr")).arg(bench.root());
        command.run().unwrap_or_else(|error| panic!("{error}"));
        for directory in ["etc/sysupdate.tool.d", "etc/extensions", "proc", "dev", "srv"] {
            fs::create_dir_all(bench.root().join(directory)).expect("made");
        }
        bench.publish("1.2");
        // systemd reads `*.conf` up to version 256 and `*.transfer` from then on, and both for now.
        fs::rename(bench.root().join("srv/tool.conf"), bench.root().join("etc/sysupdate.tool.d/tool.conf"))
            .expect("moved");
        bench
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).expect("UTF-8").join(name)
    }

    fn root(&self) -> Utf8PathBuf {
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
        self.build("tool", &text, &["--output", self.root().join("srv").as_str()]);
    }

    /// Whether it ended well, and all it said.
    fn sysupdate(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Tool::find("unshare").expect("on the host").command();
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
        let output = command.arg(self.root()).args(arguments).output().expect("unshare runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    }

    fn sign(&self, key: &SigningKey) {
        let sums = self.root().join("srv/SHA256SUMS");
        let signature = key.sign_detached(&fs::read(&sums).expect("read")).expect("signed");
        fs::write(self.root().join("srv/SHA256SUMS.gpg"), signature).expect("written");
    }
}

/// The stand-in that was made last.
fn newest_image() -> Utf8PathBuf {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
    let output = command.args(["image", "list"]).run().unwrap_or_else(|error| panic!("{error}"));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let line = text.lines().find(|line| line.starts_with("4593.")).expect("an image of the sysext era");
    line.split_whitespace().last().expect("a directory").into()
}

#[test]
fn systemd_sysupdate_finds_verifies_and_installs_what_is_published() {
    let bench = Bench::new();
    let (ended_well, said) = bench.sysupdate(&["--verify=no", "list"]);
    assert!(ended_well && said.contains("1.2") && said.contains("candidate"), "{said}");
    // The transfer file asks for a signature.
    let (ended_well, said) = bench.sysupdate(&["list"]);
    assert!(!ended_well && said.contains("cannot verify"), "{said}");

    let key = SigningKey::generate("Test <test@example.org>").expect("a key");
    let armoured = bench.path("key.asc");
    fs::write(&armoured, key.public_key().expect("written")).expect("written");
    let mut gpg = Tool::find("gpg").expect("on the host").command();
    gpg.arg("--homedir").arg(bench.0.path()).args(["--batch", "--yes", "--output"]);
    gpg.arg(bench.root().join("etc/systemd/import-pubring.gpg")).arg("--dearmor").arg(&armoured);
    gpg.run().unwrap_or_else(|error| panic!("{error}"));
    bench.sign(&key);
    let (ended_well, said) = bench.sysupdate(&["update"]);
    assert!(ended_well, "{said}");
    let link = bench.root().join("etc/extensions/tool.raw");
    let target = link.read_link_utf8().expect("linked");
    assert_eq!(target, "../../opt/extensions/tool/tool-1.2-x86-64.raw");
    let published = fs::read(bench.root().join("srv/tool-1.2-x86-64.raw")).expect("read");
    let installed = bench.root().join("opt/extensions/tool/tool-1.2-x86-64.raw");
    assert_eq!(fs::read(installed).expect("installed"), published);

    // A newer one is preferred; one that a stranger signed is not taken.
    bench.publish("1.10");
    bench.sign(&SigningKey::generate("Stranger <stranger@example.org>").expect("a key"));
    let (ended_well, said) = bench.sysupdate(&["update"]);
    assert!(!ended_well, "{said}");
    bench.sign(&key);
    let (ended_well, said) = bench.sysupdate(&["check-new"]);
    assert!(ended_well && said.contains("1.10"), "{said}");
}
