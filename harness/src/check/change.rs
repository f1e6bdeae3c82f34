// SPDX-License-Identifier: Apache-2.0
//! Changes of the merged extensions in a running guest, with the checks of their results.
use std::collections::BTreeSet;
use std::time::Duration;

use camino::Utf8PathBuf;
use loadgauge_builder::Activation;
use loadgauge_builder::lint::Content;
use loadgauge_host::error::on_one_line;
use loadgauge_host::{fs, quote};
use serde::Deserialize;

use crate::guest::{Command, Guest};

use super::merged::merged_anywhere;
use super::recorder::{CheckError, Recorder, describe_failure, listed};
use super::unit_health::settled;
use super::{Assertions, Finding, activate};

/// The directory of swapped images in the guest. Not below /opt, which an extension may make read-only.
const IMAGES: &str = "/var/lib/loadgauge/extensions";
/// Runs after every merge, as in Flatcar's `ensure-sysext.service` at boot.
const RELOAD: &str = "systemctl daemon-reload";
/// Leaves the reload to [`activate::script`]: systemd would start units before their users and files exist.
/// Flatcar's systemd 252 has the option, too.
const REFRESH_WITHOUT_RELOAD: &str = "systemd-sysext refresh \
                                      $(systemd-sysext --help | grep -q -e --no-reload && echo --no-reload)";
/// Bytes per second of a slow connection to a guest under KVM; time-outs are scaled for TCG.
const SLOW: u64 = 4 << 20;

/// A change of the merged extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `systemd-sysext refresh`
    Refresh,
    /// `systemd-sysext unmerge` and `systemd-sysext merge`
    Unmerge,
    /// replaces or adds the image of an extension, then `systemd-sysext refresh`
    Swap(Swap),
}

/// An image to install in a running guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// name of the extension
    pub name: String,
    /// file on the host
    pub file: Utf8PathBuf,
    /// whether systemd-sysext must merge it or refuse it
    pub expect: Expectation,
    /// for how long the units that it starts must be active without a pause; [`SETTLE`](super::SETTLE) unless an author
    /// sets another time
    pub settle: Duration,
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
    /// A description in one line.
    pub fn summary(&self) -> String {
        match self {
            Self::Refresh => "the extensions are refreshed".to_owned(),
            Self::Unmerge => "the extensions are unmerged and merged again".to_owned(),
            Self::Swap(Swap { name, expect: Expectation::Merged, .. }) => {
                format!("a new image of `{name}` is merged")
            }
            Self::Swap(Swap { name, expect: Expectation::Refused, .. }) => {
                format!("a new image of `{name}` is refused")
            }
        }
    }

    /// Applies the change to a guest and checks its result. Exit statuses are not enough: systemd-sysext
    /// skips an incompatible extension and reports success.
    pub async fn apply(&self, guest: &Guest) -> Finding {
        let mut recorder = Recorder::new(guest);
        let result = match self {
            Self::Refresh => refresh(&mut recorder).await,
            Self::Unmerge => unmerge(&mut recorder).await,
            Self::Swap(swap) => swap.apply(&mut recorder).await,
        };
        recorder.into_finding(&self.summary(), result)
    }
}

async fn refresh(recorder: &mut Recorder<'_>) -> Result<Assertions, CheckError> {
    let before = merged(recorder).await?;
    systemd_sysext(recorder, "refresh", &format!("systemd-sysext refresh && {RELOAD}")).await?;
    let after = merged(recorder).await?;
    let mut assertions = Assertions::default();
    assertions.pass("`systemd-sysext refresh` succeeds");
    // A step may have removed the files of extensions on purpose.
    let lost = (after.is_empty() && !before.is_empty()).then(|| format!("before: {}", names(&before)));
    assertions.assert("extensions are still merged after the refresh", lost);
    Ok(assertions)
}

async fn unmerge(recorder: &mut Recorder<'_>) -> Result<Assertions, CheckError> {
    let before = merged(recorder).await?;
    systemd_sysext(recorder, "unmerge", "systemd-sysext unmerge").await?;
    let between = merged(recorder).await?;
    systemd_sysext(recorder, "merge", &format!("systemd-sysext merge && {RELOAD}")).await?;
    let after = merged(recorder).await?;
    Ok(evaluate_unmerge(&before, &between, &after))
}

fn evaluate_unmerge(
    before: &BTreeSet<String>,
    between: &BTreeSet<String>,
    after: &BTreeSet<String>,
) -> Assertions {
    let mut assertions = Assertions::default();
    let nothing = before.is_empty().then(|| "no extension was merged".to_owned());
    assertions.assert("extensions are merged before `systemd-sysext unmerge`", nothing);
    let left = (!between.is_empty()).then(|| format!("merged are: {}", names(between)));
    assertions.assert("after `systemd-sysext unmerge` no extension is merged", left);
    let other = (after != before).then(|| format!("merged are: {}", names(after)));
    assertions.assert(format!("after `systemd-sysext merge` these are merged: {}", names(before)), other);
    assertions
}

impl Swap {
    async fn apply(&self, recorder: &mut Recorder<'_>) -> Result<Assertions, CheckError> {
        let image = fs::read(&self.file).map_err(|error| CheckError::Host(on_one_line(&error)))?;
        let timeout = Duration::from_mins(1) + Duration::from_secs(image.len() as u64 / SLOW);
        let command = Command::as_root(&self.script()).with_timeout(timeout);
        recorder.require(command.with_input(image)).await?;
        systemd_sysext(recorder, "refresh", REFRESH_WITHOUT_RELOAD).await?;
        let mut assertions = self.evaluate(&merged(recorder).await?);
        if self.expect == Expectation::Merged && assertions.all_hold() {
            assertions.extend(self.activate(recorder).await?);
        } else {
            recorder.require(Command::as_root(RELOAD)).await?;
        }
        Ok(assertions)
    }

    /// Does what a boot does after the merge, and waits for the units that the extension starts.
    async fn activate(&self, recorder: &mut Recorder<'_>) -> Result<Assertions, CheckError> {
        let (file, name) = (self.file.clone(), self.name.clone());
        let read = tokio::task::spawn_blocking(move || Content::of_extension(&file, &name));
        let content = match read.await {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => return Err(CheckError::Host(on_one_line(&error))),
            Err(panic) => return Err(CheckError::Host(format!("cannot read `{}`: {panic}", self.file))),
        };
        let activation = Activation::of(&content);
        recorder.require(Command::as_root(&activate::script(&activation))).await?;
        let (units, may_end) = activate::started(&activation);
        if units.is_empty() {
            let mut assertions = Assertions::default();
            assertions.pass("the extension starts no unit");
            return Ok(assertions);
        }
        settled(recorder, &units, &may_end, self.settle).await
    }

    /// A script that installs the image from its standard input. The old file is replaced and not
    /// overwritten, since it may be in use. systemd-sysext searches /etc/extensions first; a merged
    /// configuration extension makes /etc read-only, and then /run/extensions takes the link.
    fn script(&self) -> String {
        let (file, name) = (quote(&format!("{IMAGES}/{}.raw", self.name)), quote(&self.name));
        format!(
            "set -e; mkdir -p {IMAGES}; cat >{file}.new; chmod 0644 {file}.new; mv -f {file}.new {file}; \
             links=/etc/extensions; mkdir -p $links 2>/dev/null || :; \
             if [ ! -w $links ]; then links=/run/extensions; mkdir -p $links; fi; \
             if [ -L $links/{name} ]; then rm -f $links/{name}; fi; ln -sfn {file} $links/{name}.raw"
        )
    }

    fn evaluate(&self, merged: &BTreeSet<String>) -> Assertions {
        let must_be_merged = self.expect == Expectation::Merged;
        let found =
            (merged.contains(&self.name) != must_be_merged).then(|| format!("merged are: {}", names(merged)));
        let not = if must_be_merged { "" } else { "not " };
        let mut assertions = Assertions::default();
        assertions.assert(format!("extension `{}` is {not}merged", self.name), found);
        if assertions.all_hold() {
            return assertions;
        }
        if must_be_merged {
            assertions.suggest(
                "see `journalctl -t systemd-sysext` in the guest: an image for another release or architecture, or \
                 without an extension-release file of its name, is skipped",
            );
        } else {
            assertions.suggest("check the extension-release of the image: it is compatible with the guest");
        }
        assertions
    }
}

/// Runs a script for an operation of systemd-sysext, which must succeed.
async fn systemd_sysext(
    recorder: &mut Recorder<'_>,
    operation: &str,
    script: &str,
) -> Result<(), CheckError> {
    let output = recorder.run(Command::as_root(script)).await?;
    if output.exit.success() {
        return Ok(());
    }
    let claim = format!("`systemd-sysext {operation}` succeeds");
    Err(CheckError::Failed(Assertions::failed(claim, describe_failure(&output))))
}

/// The extensions that are merged into any hierarchy.
async fn merged(recorder: &mut Recorder<'_>) -> Result<BTreeSet<String>, CheckError> {
    let status = Command::new("sudo -n systemd-sysext status --json=short --no-pager");
    let output = recorder.require(status).await?;
    merged_anywhere(&output.text()).map_err(CheckError::Unreadable)
}

fn names(extensions: &BTreeSet<String>) -> String {
    listed(&extensions.iter().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::unit_health::SETTLE;
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn swap(expect: Expectation) -> Swap {
        Swap { name: "hello".to_owned(), file: "/x/hello.raw".into(), expect, settle: SETTLE }
    }

    #[test]
    fn an_unmerge_removes_all_and_a_merge_restores_all() {
        let (none, one, two) = (set(&[]), set(&["a"]), set(&["a", "b"]));
        assert!(evaluate_unmerge(&two, &none, &two).all_hold());
        assert!(!evaluate_unmerge(&two, &one, &two).all_hold(), "one remained");
        assert!(
            evaluate_unmerge(&two, &none, &one).found().contains("merged are: `a`"),
            "one was not restored"
        );
        assert!(!evaluate_unmerge(&none, &none, &none).all_hold(), "nothing was proved");
    }

    #[test]
    fn a_swapped_image_is_merged_or_refused_as_expected() {
        assert!(swap(Expectation::Merged).evaluate(&set(&["hello", "b"])).all_hold());
        assert!(swap(Expectation::Merged).evaluate(&set(&["hello-2"])).found().contains("`hello-2`"));
        assert!(swap(Expectation::Refused).evaluate(&set(&["b"])).all_hold());
        assert!(!swap(Expectation::Refused).evaluate(&set(&["hello"])).all_hold());
    }

    /// Runs the script with the shell of the host.
    #[test]
    fn the_script_replaces_a_file_and_not_its_contents() {
        let root = tempfile::tempdir().expect("a directory");
        let base = root.path().to_str().expect("UTF-8");
        let run = |etc: &str, input: &str| {
            use std::io::Write as _;
            let script = swap(Expectation::Merged).script().replace("/var/lib", &format!("{base}/var"));
            let script = script.replace("/etc", etc).replace("/run", &format!("{base}/run"));
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
        run(base, "first");
        let link = root.path().join("extensions/hello.raw");
        let old = std::fs::File::open(&link).expect("there");
        run(base, "second");
        assert_eq!(std::fs::read_to_string(&link).expect("read"), "second");
        assert_eq!(std::io::read_to_string(old).expect("read"), "first");
        assert!(!root.path().join("extensions/hello").is_symlink(), "a directory of this name is gone");
        std::fs::write(root.path().join("file"), "").expect("written");
        run(&format!("{base}/file"), "third");
        let link = root.path().join("run/extensions/hello.raw");
        assert_eq!(std::fs::read_to_string(link).expect("read"), "third", "/etc cannot be written");
    }
}
