// SPDX-License-Identifier: Apache-2.0
//! Checks over a real SSH session to this host, with scripts in place of the programs of a guest.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use common::Sshd;
use loadgauge::check::{Check, Finding, Outcome, Sweep, check_within, sweep};
use loadgauge::guest::{Command, Guest};
use loadgauge_images::image::Era;
use loadgauge_images::{Architecture, Facts, OsRelease};

fn facts() -> Facts {
    Facts {
        os_release: OsRelease::parse("ID=flatcar\nVERSION_ID=4593.0.0\n").expect("fields"),
        architecture: Architecture::Amd64,
        era: Era::Sysext,
        systemd: 257,
        vendor_extensions: Vec::new(),
    }
}

/// Installs programs that come first in PATH. `sudo` runs its arguments as the current user.
fn programs(sshd: &Sshd, programs: &[(&str, &str)]) {
    let sudo = ("sudo", "while [ \"${1#-}\" != \"$1\" ]; do shift; done; exec \"$@\"");
    for (name, script) in programs.iter().chain([&sudo]) {
        let path = sshd.directory.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a mode");
    }
}

fn check<T: serde::de::DeserializeOwned>(kind: fn(T) -> Check, toml: &str) -> Check {
    kind(toml::from_str(toml).expect("a check"))
}

async fn run_check(guest: &Guest, check: Check) -> Finding {
    check.run(guest, &facts()).await
}

#[tokio::test]
async fn a_skipped_extension_is_explained() {
    let sshd = Sshd::start();
    let script = r#"
[ "$1" = status ] && echo '[{"hierarchy":"/usr","extensions":["docker-flatcar"],"since":1}]'
[ "$1" = list ] && echo '[{"name":"hello","type":"raw","path":"/opt/extensions/hello.raw","time":1}]'
true"#;
    let journal = "echo 'No suitable extensions found (1 ignored due to incompatible image(s)).'";
    programs(&sshd, &[("systemd-sysext", script), ("journalctl", journal)]);
    let guest = sshd.guest().await;
    let finding = run_check(&guest, check(Check::Merged, "present = [\"docker-flatcar\"]")).await;
    assert_eq!((finding.outcome, finding.commands.len()), (Outcome::Passed, 1));
    let finding =
        run_check(&guest, check(Check::Merged, "present = [\"hello\"]\nabsent = [\"docker\"]")).await;
    assert_eq!(finding.outcome, Outcome::Failed);
    insta::assert_snapshot!(format!("{}\n--\n{}", finding.expected, finding.found), @r"
    extension `hello` is merged into /usr
    --
    `hello` was found at `/opt/extensions/hello.raw` and skipped
    journal of systemd-sysext: No suitable extensions found (1 ignored due to incompatible image(s)).
    ");
    assert_eq!(finding.commands.len(), 3, "status, list and journal are kept");
}

#[tokio::test]
async fn the_finding_of_a_unit_contains_the_lines_that_say_why() {
    let sshd = Sshd::start();
    let systemctl = r#"
case "$*" in
*--value*) echo a.service ;;
*b.service) exit 1 ;;
*) printf 'Id=a.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\n' ;;
esac"#;
    let journalctl = r#"
case "$*" in
*' UNIT=a.service') echo '{"MESSAGE":"a.service: Failed at step EXEC spawning /usr/bin/a","PRIORITY":"3","UNIT":"a.service"}' ;;
esac"#;
    programs(&sshd, &[("systemctl", systemctl), ("journalctl", journalctl)]);
    let guest = sshd.guest().await;
    let finding = run_check(&guest, check(Check::Unit, "\"a.service\" = \"failed\"")).await;
    assert_eq!(finding.outcome, Outcome::Passed);
    let finding = run_check(&guest, check(Check::Unit, "\"a.service\" = \"active\"")).await;
    assert_eq!(finding.outcome, Outcome::Failed);
    assert!(finding.found.contains("`failed`") && finding.found.contains("step EXEC"), "{}", finding.found);
    let finding =
        run_check(&guest, check(Check::Unit, "\"a.service\" = \"active\"\n\"b.service\" = \"active\"")).await;
    assert_eq!(finding.outcome, Outcome::Broken, "no properties of the second unit: {finding:?}");
}

#[tokio::test]
async fn properties_of_files_are_checked() {
    let sshd = Sshd::start();
    programs(&sshd, &[]);
    let guest = sshd.guest().await;
    let path = sshd.directory.path().join("it's a file");
    fs::write(&path, "hello\n").expect("written");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("a mode");
    let link = sshd.directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    let (path, link) = (path.display(), link.display());
    let digest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let cases = [
        (format!("path = \"{path}\"\nkind = \"file\"\nmode = \"0640\"\nsha256 = \"{digest}\""), true),
        (format!("path = \"{path}\"\nsha256 = \"{}\"", digest.replace('5', "6")), false),
        (format!("path = \"{link}\"\ncontents = {{ equals = \"hello\\n\" }}"), true),
        (format!("path = \"{link}\"\ncontents = {{ equals = \"hello\" }}"), false),
        (format!("path = \"{link}\"\ntarget = \"{path}\""), true),
        (format!("path = \"{link}\"\ntarget = \"/dev/null\""), false),
        (format!("path = \"{path}.not\"\nexists = false"), true),
        (format!("path = \"{path}.not\""), false),
        (format!("path = \"{link}\"\nexists = false"), false),
        ("path = \"/proc\"\ncontents = { empty = true }".to_owned(), false),
    ];
    for (rule, holds) in cases {
        let finding = run_check(&guest, check(Check::File, &rule)).await;
        let expected = if holds { Outcome::Passed } else { Outcome::Failed };
        assert_eq!(finding.outcome, expected, "{rule}: {finding:#?}");
    }
}

#[tokio::test]
async fn a_command_that_exceeds_its_limit_fails_with_its_output() {
    let sshd = Sshd::start();
    let guest = sshd.guest().await;
    let finding =
        run_check(&guest, check(Check::Run, "run = \"echo begun; sleep 60\"\ntimeout = \"500ms\"")).await;
    assert_eq!(finding.outcome, Outcome::Failed);
    assert!(finding.found.contains("begun"), "{}", finding.found);
    let finding = run_check(&guest, check(Check::Run, "run = \"kill -TERM $$\"\nsignal = \"SIGTERM\"")).await;
    assert_eq!(finding.outcome, Outcome::Passed);
}

#[tokio::test]
async fn within_repeats_until_it_passes_and_reports_the_last_failure() {
    let sshd = Sshd::start();
    let guest = sshd.guest().await;
    let count = sshd.directory.path().join("count");
    let line = format!("echo x >> {0}; test $(wc -l < {0}) -ge 3", count.display());
    let check = check(Check::Run, &format!("run = \"{line}\""));
    let mut seen = Vec::new();
    let (finding, attempts) =
        check_within(&check, &guest, &facts(), Some(Duration::from_secs(20)), |attempt, finding| {
            seen.push((attempt, finding.outcome));
        })
        .await;
    assert_eq!((finding.outcome, attempts), (Outcome::Passed, 3));
    assert_eq!(seen, [(1, Outcome::Failed), (2, Outcome::Failed), (3, Outcome::Passed)]);

    let check = self::check(Check::Run, "run = \"echo no >&2; exit 4\"");
    let started = Instant::now();
    let (finding, attempts) =
        check_within(&check, &guest, &facts(), Some(Duration::from_millis(700)), |_, _| {}).await;
    assert!(finding.outcome == Outcome::Failed && attempts > 1);
    assert!(finding.found.contains("status 4: no"), "{}", finding.found);
    assert!(started.elapsed() < Duration::from_secs(3));
    let (_, attempts) = check_within(&check, &guest, &facts(), None, |_, _| {}).await;
    assert_eq!(attempts, 1, "without `within` it is tried once");
}

#[tokio::test]
async fn a_lost_guest_is_broken_and_not_tried_again() {
    let mut sshd = Sshd::start();
    let guest = sshd.guest().await;
    sshd.kill();
    let check = check(Check::Run, "run = \"true\"");
    let (finding, attempts) =
        check_within(&check, &guest, &facts(), Some(Duration::from_secs(30)), |_, _| {}).await;
    assert_eq!((finding.outcome, attempts), (Outcome::Broken, 1));
    assert!(finding.found.contains("phase open"), "{}", finding.found);
    let swept = sweep(&guest).await;
    assert!(swept.iter().all(|(_, finding)| finding.outcome == Outcome::Broken), "{swept:#?}");
}

/// Programs that unpack the image and run its entry point, like the engines.
const UNPACK: &str = r"
store=${0%/*}/../store
unpack() {
  mkdir -p $store; tar -x -C $store
  for blob in $store/blobs/sha256/*; do tar -xf $blob -C $store 2>/dev/null; done
}
";

#[tokio::test]
async fn the_engines_run_the_image_and_print_a_nonce() {
    let sshd = Sshd::start();
    let docker = r#"
case "$1" in
info) echo '{"Driver":"overlay2","CgroupVersion":"2","CgroupDriver":"systemd","ServerVersion":"28.0.4"}' ;;
load) unpack ;;
run) while [ "$1" != loadgauge/probe:latest ]; do shift; done; shift; exec $store/probe "$@" ;;
image) rm -r $store ;;
esac"#;
    let ctr = r#"
case "$*" in
version) printf 'Client:\n  Version: 2.1.5\nServer:\n  Version: 2.1.5\n' ;;
*import*) unpack ;;
*' run '*) while [ "$1" != /probe ]; do shift; done; shift; exec $store/probe "$@" ;;
*images\ rm*) rm -r $store ;;
esac"#;
    let (docker, ctr) = (format!("{UNPACK}{docker}"), format!("{UNPACK}{ctr}"));
    programs(&sshd, &[("docker", &docker), ("ctr", &ctr)]);
    let guest = sshd.guest().await;
    let rule = "driver = [\"overlay2\", \"overlayfs\"]\ncgroup-version = \"2\"\nrun = true";
    let finding = run_check(&guest, check(Check::Docker, rule)).await;
    assert_eq!(finding.outcome, Outcome::Passed, "{finding:#?}");
    let finding = run_check(&guest, check(Check::Containerd, "run = true")).await;
    assert_eq!(finding.outcome, Outcome::Passed, "{finding:#?}");
    assert!(!sshd.directory.path().join("store").exists(), "nothing is left behind");

    programs(&sshd, &[("docker", &docker.replace("exec $store/probe", "echo")), ("ctr", "exit 1")]);
    let finding = run_check(&guest, check(Check::Docker, "user = \"root\"\nrun = true")).await;
    assert_eq!(finding.outcome, Outcome::Passed, "{finding:#?}");
    programs(&sshd, &[("docker", &docker.replace("exec $store/probe", "echo not"))]);
    let finding = run_check(&guest, check(Check::Docker, "run = true")).await;
    assert_eq!(finding.outcome, Outcome::Failed, "{finding:#?}");
    let finding = run_check(&guest, check(Check::Containerd, "run = true")).await;
    assert_eq!(finding.outcome, Outcome::Failed, "{finding:#?}");
}

#[tokio::test]
async fn this_host_has_no_overlay() {
    let sshd = Sshd::start();
    programs(&sshd, &[]);
    let guest = sshd.guest().await;
    let finding = run_check(&guest, check(Check::Overlay, "mounted = false")).await;
    assert_eq!(finding.outcome, Outcome::Passed, "{finding:#?}");
    let finding = run_check(&guest, check(Check::Overlay, "hierarchy = \"/tmp\"")).await;
    assert_eq!(finding.outcome, Outcome::Failed, "{finding:#?}");
    let left = guest.run(Command::new("ls -d /tmp/.loadgauge-probe")).await.expect("it ran");
    assert!(!left.exit.success(), "the probe was removed");
}

#[tokio::test]
async fn a_sweep_finds_problems() {
    let sshd = Sshd::start();
    let systemctl = r#"
case "$*" in
list-units*) echo 'x.service loaded failed failed X' ;;
*--value*) echo x.service ;;
*'*.service') printf 'Id=a.service\nNRestarts=0\nActiveState=active\nSubState=running\nResult=success\n' ;;
show*) printf 'Id=x.service\nLoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainCode=1\nExecMainStatus=203\n' ;;
esac"#;
    let journalctl = r#"
case "$*" in
*MESSAGE_ID=fc2e*) echo 'Process 7 (crasher) of user 0 dumped core.' ;;
*' UNIT=x.service') echo '{"MESSAGE":"x.service: Failed at step EXEC","PRIORITY":"3","UNIT":"x.service"}' ;;
esac"#;
    programs(&sshd, &[("systemctl", systemctl), ("journalctl", journalctl)]);
    let guest = sshd.guest().await;
    let before = sshd.commands();
    let found: Vec<(Sweep, Finding)> = sweep(&guest).await;
    assert_eq!(sshd.commands() - before, 1, "one command for all sweeps");
    let of = |sweep: Sweep| &found.iter().find(|(name, _)| *name == sweep).expect("each is there").1;
    let failed = of(Sweep::FailedUnits);
    assert_eq!(failed.outcome, Outcome::Failed);
    assert_eq!(
        failed.found,
        "`x.service` is failed (exit-code): its main process ended with status 203/EXEC\n\
         its last lines:\n  x.service: Failed at step EXEC"
    );
    assert!(of(Sweep::Coredumps).found.contains("(crasher)"));
    assert_eq!(of(Sweep::RestartLoops).outcome, Outcome::Passed);
    for sweep in [Sweep::KernelTaint, Sweep::UsrReadOnly] {
        assert_ne!(of(sweep).outcome, Outcome::Broken, "the host's own files are read: {:?}", of(sweep));
    }
}
