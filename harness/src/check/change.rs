// SPDX-License-Identifier: Apache-2.0
//! Changes of what is merged while the guest runs, and whether each did what it should.
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use loadgauge_host::quote;
use serde::Deserialize;

use crate::guest::{Command, Guest};

use super::inquiry::{Halt, Inquiry, complaint, listed};
use super::merged::merged_anywhere;
use super::{Finding, Judgement};

/// Where an image that is brought in lies in the guest. Not below /opt, which an extension may have
/// made read-only.
const PLACE: &str = "/var/lib/loadgauge/extensions";
/// What any manager is told after a merge, as Flatcar's `ensure-sysext.service` does it at boot.
const RELOAD: &str = "systemctl daemon-reload";
/// Bytes a second of a slow connection to a guest under KVM; under TCG every time-out is longer.
const SLOW: u64 = 4 << 20;

/// For units to become active that an extension upholds, and between two looks at them.
const UPHELD: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(300);

/// A change of what is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `systemd-sysext refresh`
    Refresh,
    /// `systemd-sysext unmerge`, and `merge` again
    Unmerge,
    /// an image takes the place of an extension, or is added, and `systemd-sysext refresh`
    Swap(Swap),
}

/// An image that is brought in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// what systemd-sysext will call it
    pub name: String,
    /// where it lies on the host
    pub file: Utf8PathBuf,
    /// whether systemd-sysext must merge it or refuse it
    pub expect: Expectation,
}

/// What systemd-sysext must do with an extension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expectation {
    /// merge it
    #[default]
    Merged,
    /// leave it out
    Refused,
}

impl Change {
    /// One line that says what it does.
    pub fn summary(&self) -> String {
        match self {
            Self::Refresh => "the extensions are refreshed".to_owned(),
            Self::Unmerge => "the extensions are unmerged, and merged again".to_owned(),
            Self::Swap(Swap { name, expect: Expectation::Merged, .. }) => {
                format!("a new image of `{name}` is merged")
            }
            Self::Swap(Swap { name, expect: Expectation::Refused, .. }) => {
                format!("a new image of `{name}` is refused")
            }
        }
    }

    /// Makes the change on a guest, and judges whether it did what it should. Exit statuses are not
    /// enough: systemd-sysext passes over an extension that does not fit and reports success.
    pub async fn make(&self, guest: &Guest) -> Finding {
        let mut inquiry = Inquiry::new(guest);
        let result = match self {
            Self::Refresh => refresh(&mut inquiry).await,
            Self::Unmerge => unmerge(&mut inquiry).await,
            Self::Swap(swap) => swap.make(&mut inquiry).await,
        };
        inquiry.conclude(&self.summary(), result)
    }
}

async fn refresh(inquiry: &mut Inquiry<'_>) -> Result<Judgement, Halt> {
    let before = merged(inquiry).await?;
    systemd_sysext(inquiry, "refresh").await?;
    let after = merged(inquiry).await?;
    let mut judgement = Judgement::default();
    judgement.hold("`systemd-sysext refresh` succeeds");
    // Those that were taken away in between are the author's business.
    let lost = (after.is_empty() && !before.is_empty()).then(|| format!("before: {}", names(&before)));
    judgement.claim("extensions are merged afterwards as before", lost);
    Ok(judgement)
}

async fn unmerge(inquiry: &mut Inquiry<'_>) -> Result<Judgement, Halt> {
    let before = merged(inquiry).await?;
    systemd_sysext(inquiry, "unmerge").await?;
    let between = merged(inquiry).await?;
    systemd_sysext(inquiry, "merge").await?;
    let after = merged(inquiry).await?;
    Ok(judge_unmerge(&before, &between, &after))
}

fn judge_unmerge(
    before: &BTreeSet<String>,
    between: &BTreeSet<String>,
    after: &BTreeSet<String>,
) -> Judgement {
    let mut judgement = Judgement::default();
    let nothing = before.is_empty().then(|| "none was merged before".to_owned());
    judgement.claim("extensions are merged to begin with", nothing);
    let left = (!between.is_empty()).then(|| format!("merged are: {}", names(between)));
    judgement.claim("after `systemd-sysext unmerge` no extension is merged", left);
    let other = (after != before).then(|| format!("merged are: {}", names(after)));
    judgement.claim(format!("after `systemd-sysext merge` these are merged: {}", names(before)), other);
    judgement
}

impl Swap {
    async fn make(&self, inquiry: &mut Inquiry<'_>) -> Result<Judgement, Halt> {
        let image = match std::fs::read(&self.file) {
            Ok(image) => image,
            Err(error) => return Err(Halt::Unreadable(format!("cannot read `{}`: {error}", self.file))),
        };
        let timeout = Duration::from_mins(1) + Duration::from_secs(image.len() as u64 / SLOW);
        let command = Command::as_root(&self.script()).with_timeout(timeout);
        inquiry.demand(command.with_input(image)).await?;
        systemd_sysext(inquiry, "refresh").await?;
        let mut judgement = self.judge(&merged(inquiry).await?);
        if self.expect == Expectation::Merged && judgement.holds() {
            judgement.join(self.examine_units(inquiry).await?);
        }
        Ok(judgement)
    }

    /// Whether the units that the extension has systemd uphold become active: nothing else starts them
    /// after a merge.
    async fn examine_units(&self, inquiry: &mut Inquiry<'_>) -> Result<Judgement, Halt> {
        let list = inquiry.demand(Command::as_root(&self.list_upheld())).await?;
        let text = list.text().into_owned();
        let units: Vec<&str> = text.split_whitespace().collect();
        let deadline = Instant::now() + UPHELD;
        loop {
            let states = match units.as_slice() {
                [] => String::new(),
                units => {
                    let words: Vec<String> = units.iter().map(|unit| quote(unit)).collect();
                    let line = format!("systemctl is-active -- {}", words.join(" "));
                    inquiry.ask(Command::new(line)).await?.text().into_owned()
                }
            };
            let judgement = judge_upheld(&units, &states);
            if judgement.holds() || Instant::now() >= deadline {
                return Ok(judgement);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Prints the names of the units that the image upholds: by links in `UNIT.upholds/` and by
    /// `Upholds=` in drop-ins and units (systemd.unit(5)). The image itself is looked into, because
    /// nothing on /usr tells which extension a file is from.
    fn list_upheld(&self) -> String {
        let file = quote(&format!("{PLACE}/{}.raw", self.name));
        format!(
            "set -e; root=$(mktemp -d /run/loadgauge-XXXXXX)
             mount -o loop,ro {file} $root 2>/dev/null || systemd-dissect --mount --read-only {file} $root
             (cd $root/usr/lib/systemd/system 2>/dev/null || exit 0
              for link in *.upholds/*; do [ ! -L \"$link\" ] || echo \"${{link##*/}}\"; done
              cat /dev/null *.d/*.conf *.service *.target 2>/dev/null | sed -n 's/^Upholds=//p')
             umount $root; rmdir $root"
        )
    }

    /// Takes the image from standard input. Whoever uses the old one keeps it: a file is replaced and
    /// not overwritten. The link in /etc is the first that systemd-sysext finds.
    fn script(&self) -> String {
        let (file, link) = (format!("{PLACE}/{}.raw", self.name), format!("/etc/extensions/{}", self.name));
        let (file, link) = (quote(&file), quote(&link));
        format!(
            "set -e; mkdir -p {PLACE} /etc/extensions; cat >{file}.new; chmod 0644 {file}.new; \
             mv -f {file}.new {file}; if [ -L {link} ]; then rm -f {link}; fi; ln -sfn {file} {link}.raw"
        )
    }

    fn judge(&self, merged: &BTreeSet<String>) -> Judgement {
        let must_be_merged = self.expect == Expectation::Merged;
        let found =
            (merged.contains(&self.name) != must_be_merged).then(|| format!("merged are: {}", names(merged)));
        let not = if must_be_merged { "" } else { "not " };
        let mut judgement = Judgement::default();
        judgement.claim(format!("extension `{}` is {not}merged", self.name), found);
        if must_be_merged {
            judgement.advise(
                "systemd-sysext passes over an image that is for another release or architecture, or whose \
                 extension-release file has another name: `journalctl -t systemd-sysext` says which",
            );
        } else {
            judgement.advise("the image fits after all: what keeps it out?");
        }
        judgement
    }
}

/// Judges the states of units as `systemctl is-active` prints them, one a line.
fn judge_upheld(units: &[&str], states: &str) -> Judgement {
    let mut judgement = Judgement::default();
    if units.is_empty() {
        judgement.hold("it upholds no unit");
    }
    let mut states = states.lines();
    for unit in units {
        let state = states.next().unwrap_or("unknown");
        let found = (state != "active").then(|| format!("`{unit}` is {state}"));
        judgement.claim(format!("`{unit}`, which it upholds, is active"), found);
    }
    judgement.advise("`systemctl status` and the journal of the guest say why the unit does not start");
    judgement
}

/// Runs an operation of systemd-sysext, and has the manager read its units again once something is
/// merged.
async fn systemd_sysext(inquiry: &mut Inquiry<'_>, operation: &str) -> Result<(), Halt> {
    let reload = if operation == "unmerge" { String::new() } else { format!(" && {RELOAD}") };
    let script = format!("systemd-sysext {operation}{reload}");
    let output = inquiry.ask(Command::as_root(&script)).await?;
    if output.exit.success() {
        return Ok(());
    }
    let claim = format!("`systemd-sysext {operation}` succeeds");
    Err(Halt::Judged(Judgement::failure(claim, complaint(&output))))
}

/// What is merged into any hierarchy.
async fn merged(inquiry: &mut Inquiry<'_>) -> Result<BTreeSet<String>, Halt> {
    let status = Command::new("sudo -n systemd-sysext status --json=short --no-pager");
    let output = inquiry.demand(status).await?;
    merged_anywhere(&output.text()).map_err(Halt::Unreadable)
}

fn names(extensions: &BTreeSet<String>) -> String {
    listed(&extensions.iter().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn swap(expect: Expectation) -> Swap {
        Swap { name: "hello".to_owned(), file: "/x/hello.raw".into(), expect }
    }

    #[test]
    fn an_unmerge_leaves_nothing_and_a_merge_brings_all_back() {
        let (none, one, two) = (set(&[]), set(&["a"]), set(&["a", "b"]));
        assert!(judge_unmerge(&two, &none, &two).holds());
        assert!(!judge_unmerge(&two, &one, &two).holds(), "one stayed");
        assert!(
            judge_unmerge(&two, &none, &one).found().contains("merged are: `a`"),
            "one did not come back"
        );
        assert!(!judge_unmerge(&none, &none, &none).holds(), "nothing was shown");
    }

    #[test]
    fn an_image_that_is_brought_in_is_merged_or_left_out_as_it_should() {
        assert!(swap(Expectation::Merged).judge(&set(&["hello", "b"])).holds());
        assert!(swap(Expectation::Merged).judge(&set(&["hello-2"])).found().contains("`hello-2`"));
        assert!(swap(Expectation::Refused).judge(&set(&["b"])).holds());
        assert!(!swap(Expectation::Refused).judge(&set(&["hello"])).holds());
    }

    #[test]
    fn upheld_units_must_be_active() {
        assert!(judge_upheld(&[], "").holds());
        assert!(judge_upheld(&["a.service", "b.socket"], "active\nactive\n").holds());
        let failed = judge_upheld(&["a.service", "b.socket"], "active\nfailed\n");
        assert_eq!(failed.found(), "`b.socket` is failed");
        assert!(!judge_upheld(&["a.service"], "").holds(), "no word of it");
    }

    /// The shell itself is the oracle.
    #[test]
    fn the_script_replaces_a_file_and_not_its_contents() {
        let root = tempfile::tempdir().expect("a directory");
        let base = root.path().to_str().expect("UTF-8");
        let script = swap(Expectation::Merged)
            .script()
            .replace("/var/lib", &format!("{base}/var"))
            .replace("/etc", base);
        let run = |input: &str| {
            use std::io::Write as _;
            let mut shell = std::process::Command::new("sh")
                .args(["-c", &script])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .expect("sh runs");
            shell.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
            assert!(shell.wait().expect("ended").success());
        };
        std::fs::create_dir_all(root.path().join("extensions")).expect("made");
        std::os::unix::fs::symlink("/somewhere", root.path().join("extensions/hello")).expect("linked");
        run("first");
        let link = root.path().join("extensions/hello.raw");
        let old = std::fs::File::open(&link).expect("there");
        run("second");
        assert_eq!(std::fs::read_to_string(&link).expect("read"), "second");
        assert_eq!(std::io::read_to_string(old).expect("read"), "first");
        assert!(!root.path().join("extensions/hello").is_symlink(), "a directory of this name is gone");
    }
}
