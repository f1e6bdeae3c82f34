// SPDX-License-Identifier: Apache-2.0
use serde::Deserialize;

use crate::guest::{Command, Output, quote};

use super::Judgement;
use super::inquiry::{Halt, Inquiry, complaint, listed};
use super::merged::usr;

/// What is created to see whether it can be.
const PROBE: &str = ".loadgauge-probe";

/// The overlay that a merge mounts: `overlay = { mounted = true, extensions = ["docker"] }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayCheck {
    /// `/usr` or `/opt`
    #[serde(default = "usr")]
    pub hierarchy: String,
    /// whether there must be an overlay, or must not
    #[serde(default = "yes")]
    pub mounted: bool,
    /// names, without `.raw`, that must be layers of it
    #[serde(default)]
    pub extensions: Vec<String>,
}

fn yes() -> bool {
    true
}

/// A line of /proc/self/mountinfo, proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) point: String,
    pub(super) options: String,
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) super_options: String,
}

impl OverlayCheck {
    /// One line that says what it claims.
    pub fn summary(&self) -> String {
        if !self.mounted {
            return format!("no extension is laid over {}", self.hierarchy);
        }
        if self.extensions.is_empty() {
            return format!("a read-only overlay is mounted on {}", self.hierarchy);
        }
        format!("{} laid over {}, read-only", listed(&self.extensions), self.hierarchy)
    }

    pub(super) async fn examine(&self, inquiry: &mut Inquiry<'_>) -> Result<Judgement, Halt> {
        let output = inquiry.demand(Command::new("cat /proc/self/mountinfo")).await?;
        let mounts = mounts(&output.text()).map_err(Halt::Unreadable)?;
        let mut judgement = self.judge(topmost(&mounts, &self.hierarchy));
        if self.mounted {
            let path = quote(&format!("{}/{PROBE}", self.hierarchy));
            let touch = format!("touch {path} && rm -f {path}");
            let output = inquiry.ask(Command::as_root(&format!("LC_ALL=C; export LC_ALL; {touch}"))).await?;
            judgement.join(self.judge_write(&output));
        }
        Ok(judgement)
    }

    /// Judges the mount on top of the hierarchy.
    fn judge(&self, mount: Option<&Mount>) -> Judgement {
        let hierarchy = &self.hierarchy;
        let merged = mount.filter(|mount| mount.kind == "overlay" && mount.source == "sysext");
        let claim = format!(
            "{hierarchy} is {} of kind `overlay` from `sysext`",
            if self.mounted { "a mount" } else { "no mount" }
        );
        let found = match mount {
            None => format!("nothing is mounted on {hierarchy}"),
            Some(mount) => format!("on {hierarchy} is mounted `{}` from `{}`", mount.kind, mount.source),
        };
        if !self.mounted {
            let mut judgement = Judgement::default();
            judgement.claim(claim, merged.map(|mount| format!("{found} of {}", listed(&layers(mount)))));
            return judgement;
        }
        let Some(mount) = merged else {
            let mut judgement = Judgement::failure(claim, found);
            judgement.advise("nothing is merged: a `merged` step says which extensions, and why not");
            return judgement;
        };
        let mut judgement = Judgement::default();
        judgement.hold(claim);
        let read_only = mount.options.split(',').any(|option| option == "ro");
        judgement.claim(
            format!("the overlay on {hierarchy} is mounted read-only"),
            (!read_only).then(|| format!("its options are `{}`", mount.options)),
        );
        let layers = layers(mount);
        for name in &self.extensions {
            judgement.claim(
                format!("`{name}` is a layer of {hierarchy}"),
                (!layers.contains(name)).then(|| format!("the layers are: {}", listed(&layers))),
            );
        }
        judgement
    }

    /// Judges an attempt to create a file.
    fn judge_write(&self, output: &Output) -> Judgement {
        let claim = format!("root cannot create a file in {}", self.hierarchy);
        let refused = !output.exit.success() && output.error_text().contains("Read-only file system");
        let found = || {
            if output.exit.success() {
                format!("root created `{}/{PROBE}`", self.hierarchy)
            } else {
                format!("another error than a read-only file system: {}", complaint(output))
            }
        };
        let mut judgement = Judgement::default();
        judgement.claim(claim, (!refused).then(found));
        judgement
    }
}

/// The extensions of an overlay, the topmost first. Layers are paths such as
/// `/run/systemd/sysext/extensions/NAME/usr`, in one `lowerdir=` or, by the newer mount interface,
/// in one `lowerdir+=` each.
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

/// The mount that one sees at a path: of several the last.
pub(super) fn topmost<'a>(mounts: &'a [Mount], point: &str) -> Option<&'a Mount> {
    mounts.iter().rev().find(|mount| mount.point == point)
}

/// Reads a mountinfo.
pub(super) fn mounts(text: &str) -> Result<Vec<Mount>, String> {
    let parse = |line: &str| {
        let (fields, rest) = line.split_once(" - ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let mut rest = rest.splitn(3, ' ');
        Some(Mount {
            point: unescape(fields.get(4)?),
            options: (*fields.get(5)?).to_owned(),
            kind: rest.next()?.to_owned(),
            source: unescape(rest.next()?),
            super_options: rest.next()?.to_owned(),
        })
    };
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| parse(line).ok_or_else(|| format!("`{line}` is not a line of mountinfo")))
        .collect()
}

/// Space, tab, newline and backslash stand as octal numbers.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (escape, character)| text.replace(escape, character))
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

    fn judge(check: &OverlayCheck, text: &str) -> Judgement {
        check.judge(topmost(&mounts(text).expect("mounts"), &check.hierarchy))
    }

    #[test]
    fn the_last_mount_counts_and_shows_its_layers() {
        let good = check("extensions = [\"docker-flatcar\", \"containerd-flatcar\"]");
        assert!(judge(&good, MERGED).holds());
        let wrong = judge(&check("extensions = [\"docker\"]"), MERGED);
        assert_eq!(wrong.found(), "the layers are: `docker-flatcar`, `containerd-flatcar`");
        assert!(!judge(&check("mounted = false"), MERGED).holds());
    }

    #[test]
    fn an_unmerged_hierarchy_is_none() {
        let unmerged = MERGED.lines().next().expect("a line");
        assert!(judge(&check("mounted = false"), unmerged).holds());
        let wrong = judge(&check(""), unmerged);
        assert_eq!(wrong.found(), "on /usr is mounted `btrfs` from `/dev/mapper/usr`");
        assert_eq!(judge(&check("hierarchy = \"/opt\""), MERGED).found(), "nothing is mounted on /opt");
        assert!(!judge(&check(""), &MERGED.replace("ro,nodev", "rw,nodev")).holds());
    }

    #[test]
    fn layers_of_the_newer_mount_interface_are_read_too() {
        let text = "93 43 0:41 / /usr ro - overlay sysext ro,lowerdir+=/run/systemd/sysext/meta/usr,\
                    lowerdir+=/run/systemd/sysext/extensions/b/usr,lowerdir+=/run/systemd/sysext/extensions/a/usr";
        assert!(judge(&check("extensions = [\"a\", \"b\"]"), text).holds());
    }

    #[test]
    fn only_a_read_only_file_system_counts_as_refusal() {
        let output = |exit, stderr: &str| Output {
            exit,
            stdout: Vec::new(),
            stderr: stderr.into(),
            duration: Duration::ZERO,
        };
        let words = "touch: cannot touch '/usr/.loadgauge-probe': Read-only file system";
        assert!(check("").judge_write(&output(Exit::Status(1), words)).holds());
        assert!(!check("").judge_write(&output(Exit::Status(0), "")).holds());
        let other = check("").judge_write(&output(Exit::Status(1), "sudo: a password is required"));
        assert!(other.found().contains("a password is required"));
    }

    proptest! {
        #[test]
        fn a_mount_comes_back_as_it_was(point in "/[a-z \\\\]{0,9}", shared in "( shared:[0-9]| master:[0-9]){0,2}") {
            let escaped = point.replace('\\', "\\134").replace(' ', "\\040");
            let text = format!("1 2 0:3 / {escaped} ro{shared} - overlay sysext rw,a=b c\n");
            let mounts = mounts(&text).expect("a mount");
            prop_assert_eq!(&mounts[0].point, &point);
            prop_assert_eq!((&*mounts[0].source, &*mounts[0].super_options), ("sysext", "rw,a=b c"));
        }

        #[test]
        fn nothing_a_guest_says_upsets_it(text in "[ -~\\n]{0,80}") {
            if let Ok(mounts) = mounts(&text) {
                for mount in &mounts {
                    layers(mount);
                }
            }
        }
    }
}
