// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::quote;
use serde::Deserialize;

use crate::guest::{Command, Output};

use super::Assertions;
use super::recorder::{CheckError, Recorder, describe_failure, listed};
use super::system::{Mount, mounts, topmost, usr};

/// The file that the check tries to create.
const PROBE: &str = ".loadgauge-probe";

/// The overlay that a merge mounts: `overlay = { mounted = true, extensions = ["docker"] }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayCheck {
    /// `/usr` or `/opt`
    #[serde(default = "usr")]
    pub hierarchy: String,
    /// whether an overlay must be mounted
    #[serde(default = "mounted")]
    pub mounted: bool,
    /// names, without `.raw`, of extensions that must be layers of it
    #[serde(default)]
    pub extensions: Vec<String>,
}

fn mounted() -> bool {
    true
}

impl OverlayCheck {
    /// A description in one line.
    pub fn summary(&self) -> String {
        if !self.mounted {
            return format!("no overlay of extensions is mounted on {}", self.hierarchy);
        }
        if self.extensions.is_empty() {
            return format!("a read-only overlay is mounted on {}", self.hierarchy);
        }
        format!("{} in the read-only overlay on {}", listed(&self.extensions), self.hierarchy)
    }

    pub(super) async fn execute(&self, recorder: &mut Recorder<'_>) -> Result<Assertions, CheckError> {
        let output = recorder.require(Command::new("cat /proc/self/mountinfo")).await?;
        let mounts = mounts(&output.text()).map_err(CheckError::Unreadable)?;
        let mut assertions = self.evaluate(topmost(&mounts, &self.hierarchy));
        if self.mounted {
            let path = quote(&format!("{}/{PROBE}", self.hierarchy));
            let touch = format!("touch {path} && rm -f {path}");
            let output = recorder.run(Command::as_root(&format!("LC_ALL=C; export LC_ALL; {touch}"))).await?;
            assertions.extend(self.evaluate_write(&output));
        }
        Ok(assertions)
    }

    /// Evaluates the topmost mount of the hierarchy.
    fn evaluate(&self, mount: Option<&Mount>) -> Assertions {
        let hierarchy = &self.hierarchy;
        let merged = mount.filter(|mount| mount.kind == "overlay" && mount.source == "sysext");
        let claim = format!(
            "{hierarchy} is {}a mount of type `overlay` from `sysext`",
            if self.mounted { "" } else { "not " }
        );
        let found = match mount {
            None => format!("nothing is mounted on {hierarchy}"),
            Some(mount) => format!("`{}` from `{}` is mounted on {hierarchy}", mount.kind, mount.source),
        };
        if !self.mounted {
            let mut assertions = Assertions::default();
            assertions.assert(
                claim,
                merged.map(|mount| format!("{found}, with the layers {}", listed(&layers(mount)))),
            );
            return assertions;
        }
        let Some(mount) = merged else {
            let mut assertions = Assertions::failed(claim, found);
            assertions
                .suggest("check with a `merged` step which extensions are merged, and why others are not");
            return assertions;
        };
        let mut assertions = Assertions::default();
        assertions.pass(claim);
        let read_only = mount.options.split(',').any(|option| option == "ro");
        assertions.assert(
            format!("the overlay on {hierarchy} is mounted read-only"),
            (!read_only).then(|| format!("its options are `{}`", mount.options)),
        );
        let layers = layers(mount);
        for name in &self.extensions {
            assertions.assert(
                format!("`{name}` is a layer of {hierarchy}"),
                (!layers.contains(name)).then(|| format!("the layers are: {}", listed(&layers))),
            );
        }
        assertions
    }

    /// Evaluates the attempt to create a file.
    fn evaluate_write(&self, output: &Output) -> Assertions {
        let claim = format!("`root` cannot create a file in {}", self.hierarchy);
        let refused = !output.exit.success() && output.error_text().contains("Read-only file system");
        let found = || {
            if output.exit.success() {
                format!("`root` created `{}/{PROBE}`", self.hierarchy)
            } else {
                format!("the error is not a read-only file system: {}", describe_failure(output))
            }
        };
        let mut assertions = Assertions::default();
        assertions.assert(claim, (!refused).then(found));
        assertions
    }
}

/// The extensions of an overlay, the topmost first. Layers are paths such as
/// `/run/systemd/sysext/extensions/NAME/usr`, in a single `lowerdir=` or, with the newer mount interface,
/// in a `lowerdir+=` each.
fn layers(mount: &Mount) -> Vec<String> {
    let lower = mount
        .super_options
        .split(',')
        .filter_map(|option| option.strip_prefix("lowerdir=").or_else(|| option.strip_prefix("lowerdir+=")));
    let names = lower
        .flat_map(|paths| paths.split(':'))
        .filter_map(|path| path.split_once("/sysext/extensions/")?.1.split('/').next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::guest::Exit;

    const MERGED: &str = "28 1 254:0 / /usr ro,relatime shared:1 - btrfs /dev/mapper/usr ro,space_cache=v2\n\
        93 43 0:41 / /usr ro,nodev,relatime shared:22 - overlay sysext ro,lowerdir=/run/systemd/sysext/meta/usr:\
        /run/systemd/sysext/extensions/docker-flatcar/usr:/run/systemd/sysext/extensions/containerd-flatcar/usr:/usr,\
        redirect_dir=on\n";

    fn check(toml: &str) -> OverlayCheck {
        toml::from_str(toml).expect("a check")
    }

    fn evaluate(check: &OverlayCheck, text: &str) -> Assertions {
        check.evaluate(topmost(&mounts(text).expect("mounts"), &check.hierarchy))
    }

    #[test]
    fn the_last_mount_counts_and_shows_its_layers() {
        let good = check("extensions = [\"docker-flatcar\", \"containerd-flatcar\"]");
        assert!(evaluate(&good, MERGED).all_hold());
        let wrong = evaluate(&check("extensions = [\"docker\"]"), MERGED);
        assert_eq!(wrong.found(), "the layers are: `docker-flatcar`, `containerd-flatcar`");
        assert!(!evaluate(&check("mounted = false"), MERGED).all_hold());
    }

    #[test]
    fn an_unmerged_hierarchy_has_no_overlay() {
        let unmerged = MERGED.lines().next().expect("a line");
        assert!(evaluate(&check("mounted = false"), unmerged).all_hold());
        let wrong = evaluate(&check(""), unmerged);
        assert_eq!(wrong.found(), "`btrfs` from `/dev/mapper/usr` is mounted on /usr");
        assert_eq!(evaluate(&check("hierarchy = \"/opt\""), MERGED).found(), "nothing is mounted on /opt");
        assert!(!evaluate(&check(""), &MERGED.replace("ro,nodev", "rw,nodev")).all_hold());
    }

    #[test]
    fn layers_of_the_newer_mount_interface_are_read_too() {
        let text = "93 43 0:41 / /usr ro - overlay sysext ro,lowerdir+=/run/systemd/sysext/meta/usr,\
                    lowerdir+=/run/systemd/sysext/extensions/b/usr,lowerdir+=/run/systemd/sysext/extensions/a/usr";
        assert!(evaluate(&check("extensions = [\"a\", \"b\"]"), text).all_hold());
    }

    #[test]
    fn only_the_error_of_a_read_only_file_system_counts() {
        let output = |exit, stderr: &str| Output {
            exit,
            stdout: Vec::new(),
            stderr: stderr.into(),
            duration: Duration::ZERO,
        };
        let error = "touch: cannot touch '/usr/.loadgauge-probe': Read-only file system";
        assert!(check("").evaluate_write(&output(Exit::Status(1), error)).all_hold());
        assert!(!check("").evaluate_write(&output(Exit::Status(0), "")).all_hold());
        let other = check("").evaluate_write(&output(Exit::Status(1), "sudo: a password is required"));
        assert!(other.found().contains("a password is required"));
    }

    proptest! {
        #[test]
        fn any_output_is_read(text in "[ -~\\n]{0,80}") {
            if let Ok(mounts) = mounts(&text) {
                for mount in &mounts {
                    layers(mount);
                }
            }
        }
    }
}
