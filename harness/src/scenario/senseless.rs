// SPDX-License-Identifier: Apache-2.0
//! Checks that cannot fail, or cannot pass.
use crate::check::{Check, DockerCheck, MergedCheck, OneOrMany, OverlayCheck, RunCheck, Text, UnitCheck};

/// The cause and the hint.
type Senseless = (String, String);

/// The signals that end a process, signal(7), without `SIG`. Realtime signals are `RTMIN` and `RTMAX`.
const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE", "PROF", "PWR", "QUIT", "SEGV",
    "STKFLT", "SYS", "TERM", "TRAP", "USR1", "USR2", "VTALRM", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Why a check says nothing about a guest: it passes in every guest, or in none.
pub(super) fn senseless(check: &Check) -> Option<Senseless> {
    match check {
        Check::Merged(check) => merged(check),
        Check::Overlay(check) => overlay(check),
        Check::Unit(UnitCheck { units }) if units.is_empty() => Some((
            "the check names no unit".to_owned(),
            "name one with its state: `unit = { \"docker.socket\" = \"active\" }`".to_owned(),
        )),
        Check::Unit(check) => check.units.keys().find_map(|name| unit(name)),
        Check::File(check) => text("contents", check.contents.as_ref()),
        Check::Run(check) => run(check),
        Check::Docker(check) => docker(check),
        Check::Containerd(check) => text("client-version", check.client_version.as_ref())
            .or_else(|| text("server-version", check.server_version.as_ref())),
    }
}

fn merged(check: &MergedCheck) -> Option<Senseless> {
    let both = check.present.iter().find(|name| check.absent.contains(name));
    if check.present.is_empty() && check.absent.is_empty() {
        return Some((
            "the check names no extension".to_owned(),
            "name one that must be merged: `merged = { present = [\"hello\"] }`".to_owned(),
        ));
    }
    if let Some(name) = both {
        let cause = format!("`{name}` is in both `present` and `absent`");
        return Some((cause, "remove it from one of them".to_owned()));
    }
    names(check.present.iter().chain(&check.absent)).or_else(|| hierarchy(&check.hierarchy))
}

fn overlay(check: &OverlayCheck) -> Option<Senseless> {
    if !check.mounted && !check.extensions.is_empty() {
        let cause = "an overlay that is not mounted has no extensions".to_owned();
        return Some((cause, "remove `extensions`, or `mounted = false`".to_owned()));
    }
    names(&check.extensions).or_else(|| hierarchy(&check.hierarchy))
}

/// A name that no extension has.
fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<Senseless> {
    names.into_iter().find_map(|name| {
        if let Some(stem) = name.strip_suffix(".raw") {
            let cause = format!("`{name}` is the name of a file, not of an extension");
            return Some((cause, format!("write `{stem}`")));
        }
        (name.is_empty() || name.contains('/')).then(|| {
            let hint = "write the name of the image file without `.raw`".to_owned();
            (format!("`{name}` is not a name of an extension"), hint)
        })
    })
}

fn hierarchy(path: &str) -> Option<Senseless> {
    (!["/usr", "/opt"].contains(&path)).then(|| {
        let cause = format!("no extension is merged into `{path}`");
        (cause, "write `hierarchy = \"/usr\"` or `hierarchy = \"/opt\"`".to_owned())
    })
}

fn unit(name: &str) -> Option<Senseless> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    (name.is_empty() || !name.chars().all(plain)).then(|| {
        let hint =
            "write the name with its suffix, such as `docker.socket`, without a path or `*`".to_owned();
        (format!("`{name}` is not a name of a unit"), hint)
    })
}

fn run(check: &RunCheck) -> Option<Senseless> {
    let RunCheck { run, exit, signal, .. } = check;
    if run.trim().is_empty() {
        return Some((
            "`run` is empty".to_owned(),
            "write a command: `run = \"hello --version\"`".to_owned(),
        ));
    }
    if let (Some(exit), Some(_)) = (exit, signal) {
        let cause = format!("a command that a signal ends has no exit status {exit}");
        return Some((cause, "remove `exit` or `signal`".to_owned()));
    }
    let known = |signal: &String| SIGNALS.contains(&signal.strip_prefix("SIG").unwrap_or(signal));
    if let Some(signal) = signal.as_ref().filter(|signal| !known(signal)) {
        let cause = format!("`{signal}` is not a signal that ends a process");
        return Some((cause, format!("write one of `{}`", SIGNALS.join("`, `"))));
    }
    text("stdout", check.stdout.as_ref()).or_else(|| text("stderr", check.stderr.as_ref()))
}

fn docker(check: &DockerCheck) -> Option<Senseless> {
    if check
        .driver
        .as_ref()
        .is_some_and(|driver| matches!(driver, OneOrMany::Many(names) if names.is_empty()))
    {
        let hint = "write `driver = [\"overlay2\", \"overlayfs\"]`".to_owned();
        return Some(("`driver` allows no storage driver".to_owned(), hint));
    }
    let allowed = |name: &str, value: Option<&String>, all: [&str; 2]| {
        let value = value.filter(|value| !all.contains(&value.as_str()))?;
        let hint = format!("write `{name} = \"{}\"` or `{name} = \"{}\"`", all[0], all[1]);
        Some((format!("Docker has no {name} `{value}`"), hint))
    };
    allowed("cgroup-version", check.cgroup_version.as_ref(), ["1", "2"])
        .or_else(|| allowed("cgroup-driver", check.cgroup_driver.as_ref(), ["systemd", "cgroupfs"]))
        .or_else(|| text("version", check.version.as_ref()))
}

fn text(key: &str, rules: Option<&Text>) -> Option<Senseless> {
    let cause = rules?.senseless()?;
    Some((format!("`{key}`: {cause}"), "remove or correct one of the conditions".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::parse_tests::report;

    #[test]
    fn a_check_that_cannot_fail_or_cannot_pass_is_refused() {
        for (check, cause) in [
            ("unit = {}", "the check names no unit"),
            ("unit = { \"docker.*\" = \"active\" }", "`docker.*` is not a name of a unit"),
            ("merged = {}", "the check names no extension"),
            (
                "merged = { present = [\"a\", \"b\"], absent = [\"b\"] }",
                "`b` is in both `present` and `absent`",
            ),
            ("merged = { absent = [\"a.raw\"] }", "`a.raw` is the name of a file, not of an extension"),
            ("merged = { present = [\"\"] }", "`` is not a name of an extension"),
            ("merged = { present = [\"a\"], hierarchy = \"/etc\" }", "no extension is merged into `/etc`"),
            (
                "overlay = { mounted = false, extensions = [\"a\"] }",
                "an overlay that is not mounted has no extensions",
            ),
            ("run = \" \"", "`run` is empty"),
            ("run = \"x\"\nexit = 300", "`exit` must be a whole number from 0 to 255, not 300"),
            ("run = \"x\"\nexit = -1", "`exit` must be a whole number from 0 to 255, not -1"),
            ("run = \"x\"\nsignal = \"FOO\"", "`FOO` is not a signal that ends a process"),
            ("run = \"x\"\nsignal = \"KILL\"\nexit = 0", "a command that a signal ends has no exit status 0"),
            ("run = \"x\"\ntimeout = \"0s\"", "`0s`: the duration must be greater than zero"),
            (
                "run = \"x\"\nstdout = {}",
                "no condition: set `equals`, `contains`, `excludes`, `matches` or `empty`",
            ),
            (
                "run = \"x\"\nstdout.contains = []",
                "no condition: set `equals`, `contains`, `excludes`, `matches` or `empty`",
            ),
            (
                "run = \"x\"\nstdout = { contains = \"ab\", excludes = \"a\" }",
                "`stdout`: no text contains `ab` and excludes `a`",
            ),
            (
                "run = \"x\"\nstdout = { equals = \"ab\", contains = \"c\" }",
                "`stdout`: the other conditions do not hold for the text in `equals`",
            ),
            (
                "run = \"x\"\nstderr = { empty = true, contains = \"c\" }",
                "`stderr`: an empty text contains nothing",
            ),
            ("run = \"x\"\nstdout.matches = \".*\"", "`stdout`: every text matches `.*`"),
            (
                "run = \"x\"\nstdout = { matches = \"a\", empty = true }",
                "`stdout`: an empty text does not match `a`",
            ),
            ("docker = { driver = [] }", "`driver` allows no storage driver"),
            ("docker = { cgroup-version = \"3\" }", "Docker has no cgroup-version `3`"),
            (
                "file = { path = \"/x\", contents = { equals = \"a\", empty = true } }",
                "`contents`: the other conditions do not hold for the text in `equals`",
            ),
        ] {
            let report = report(&format!("summary = \"x\"\n[[step]]\n{check}\n"));
            let first = report.lines().next().unwrap_or_default();
            assert!(first.ends_with(&format!(": {cause}")), "{check}: {report}");
            assert_eq!(report.matches(".toml:").count(), 1, "{check}: one problem: {report}");
        }
    }

    #[test]
    fn a_check_that_can_fail_is_accepted() {
        for check in [
            "unit = { \"systemd-fsck@dev-disk-by\\\\x2dlabel-ROOT.service\" = \"active\" }",
            "run = \"x\"\nsignal = \"SIGTERM\"",
            "run = \"x\"\nexit = 255",
            "run = \"x\"\nstdout.matches = '^[^\\x1b]*$'",
            "run = \"x\"\nstdout.matches = '(?s)^.{0,80}$'",
            "run = \"x\"\nstdout = { equals = \"ab\", excludes = \"c\", empty = false }",
            "run = \"x\"\nstdout = { contains = \"a\", excludes = \"ab\" }",
        ] {
            let text = format!("summary = \"x\"\n[[step]]\n{check}\n");
            assert!(super::super::parse_tests::parse(&text).is_ok(), "{check}");
        }
    }
}
