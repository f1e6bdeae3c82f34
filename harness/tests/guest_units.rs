// SPDX-License-Identifier: Apache-2.0
//! Extensions whose units start, fail or loop, merged into a running guest and at a boot: both ways have the
//! same outcome, and the finding says why.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod guest_run;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use guest_run::GuestRun;
use loadgauge::check::Outcome;
use loadgauge::runner::EventKind;

/// An extension: name, unit file, further parts of the recipe, and what a finding says if the unit does not
/// stay active.
struct Case {
    name: &'static str,
    service: &'static str,
    more: &'static str,
    said: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case { name: "steady", service: "ExecStart=/bin/sleep infinity", more: "", said: &[] },
    Case {
        name: "looping",
        service: "ExecStart=/bin/sh -c 'cat /etc/looping.conf && exec sleep infinity'",
        more: "",
        said: &["cat: /etc/looping.conf: No such file or directory", "status 1", "failed"],
    },
    Case {
        name: "unconfigured",
        service: "EnvironmentFile=/etc/default/unconfigured\nExecStart=/bin/sleep infinity",
        more: "",
        said: &["Failed to load environment files", "(resources)"],
    },
    Case {
        name: "userless",
        service: "User=nobody-made-it\nExecStart=/bin/sleep infinity",
        more: "",
        said: &["217/USER"],
    },
    Case {
        name: "programless",
        service: "ExecStart=/usr/bin/not-in-the-extension",
        more: "",
        said: &["203/EXEC"],
    },
    Case {
        name: "conditional",
        service: "ExecStart=/bin/sleep infinity\n[Unit]\nConditionPathExists=/etc/not-there",
        more: "",
        said: &["ConditionPathExists=/etc/not-there"],
    },
    Case {
        name: "prepared",
        service: "ExecStart=/bin/sh -c 'cat /var/lib/prepared/file && exec sleep infinity'",
        more: "[[file]]\npath = \"/usr/lib/tmpfiles.d/prepared.conf\"\n\
               contents = \"d /var/lib/prepared\\nf /var/lib/prepared/file 0644 root root - text\\n\"\n",
        said: &[],
    },
];

/// A recipe of an extension with one unit, which `multi-user.target` upholds.
fn recipe(name: &str, service: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\n[[file]]\npath = \"/usr/lib/systemd/system/{name}.service\"\n\
         contents = \"\"\"\n[Service]\n{service}\n\"\"\"\n{more}\
         [finish]\nupholds = {{ \"multi-user.target\" = [\"{name}.service\"] }}\n"
    )
}

/// The services of two images of one extension.
const STEADY: &str = "ExecStart=/bin/sleep infinity";
const LOOPING: &str = "ExecStart=/bin/false";

const HEAD: &str = "[waive]\nfailed-units = \"some fail on purpose\"\nrestart-loops = \"one does\"\n";

/// A scenario that swaps an extension in.
fn swapped(Case { name, .. }: &Case) -> String {
    format!(
        "summary = \"the unit of a swapped extension\"\n{HEAD}\
         [[step]]\nsummary = \"{name}\"\nswap = {{ recipe = \"{name}.toml\", settle = \"5s\" }}\n"
    )
}

/// A scenario that boots with all extensions.
fn booted() -> String {
    let mut text = format!("summary = \"units of booted extensions\"\n{HEAD}");
    for Case { name, .. } in CASES {
        write!(text, "[[sysext]]\nrecipe = \"{name}.toml\"\n").expect("a string");
    }
    for Case { name, .. } in CASES {
        write!(
            text,
            "[[step]]\nsummary = \"{name}\"\nunit.\"{name}.service\" = {{ active = \"active\", settle = \"5s\" }}\n"
        )
        .expect("a string");
    }
    text
}

#[test]
fn units_have_the_same_outcome_both_ways_and_the_finding_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    for case in CASES {
        fs::write(path(&format!("{}.toml", case.name)), recipe(case.name, case.service, case.more))
            .expect("written");
    }
    for case in CASES {
        fs::write(path(&format!("swapped-{}.toml", case.name)), swapped(case)).expect("written");
    }
    fs::write(path("booted.toml"), booted()).expect("written");
    let swapped = CASES.iter().map(|case| path(&format!("swapped-{}.toml", case.name)));
    let scenarios: Vec<String> = swapped.chain([path("booted.toml")]).collect();
    let scenarios: Vec<&str> = scenarios.iter().map(String::as_str).collect();
    let run = GuestRun::of(&scenarios).finish();
    run.assert(1, &["verdict: failed"]);
    let mut found: BTreeMap<(String, String), (Outcome, String)> = BTreeMap::new();
    for event in run.events() {
        if let EventKind::StepFinished { scenario, summary, outcome, finding, .. } = event.kind {
            found.insert(
                (scenario.name.clone(), summary),
                (outcome, finding.map(|finding| finding.found).unwrap_or_default()),
            );
        }
    }
    for case in CASES {
        for scenario in [format!("swapped-{}", case.name), "booted".to_owned()] {
            let (outcome, text) = &found[&(scenario.clone(), case.name.to_owned())];
            let expected = if case.said.is_empty() { Outcome::Passed } else { Outcome::Failed };
            assert_eq!(*outcome, expected, "{scenario}, {}: {text}", case.name);
            for word in case.said {
                assert!(text.contains(word), "{scenario}, {}: {text}", case.name);
            }
        }
    }
}

/// What runs after a swap is what the new image contains: neither the old process nor the old failures count.
#[test]
fn a_second_image_is_judged_by_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let write = |name: &str, text: String| fs::write(path(name), text).expect("written");
    write("steady.toml", recipe("tool", STEADY, ""));
    write("looping.toml", recipe("tool", LOOPING, ""));
    let swap = |recipe: &str| {
        format!(
            "[[step]]\nsummary = \"{recipe}\"\nswap = {{ recipe = \"{recipe}.toml\", settle = \"5s\" }}\n"
        )
    };
    let broken = format!("summary = \"a good unit breaks\"\n{HEAD}{}{}", swap("steady"), swap("looping"));
    write("breaks.toml", broken);
    let mended = format!(
        "summary = \"a broken unit is mended\"\n{HEAD}[[sysext]]\nrecipe = \"looping.toml\"\n\
         [[step]]\nsummary = \"it fails\"\nwithin = \"30s\"\nunit.\"tool.service\" = {{ active = \"failed\" }}\n{}",
        swap("steady")
    );
    write("mends.toml", mended);
    let run = GuestRun::of(&[&path("breaks.toml"), &path("mends.toml")]).finish();
    run.assert(1, &["verdict: failed"]);
    let mut outcomes = BTreeMap::new();
    for event in run.events() {
        if let EventKind::StepFinished { scenario, summary, outcome, .. } = event.kind {
            outcomes.insert((scenario.name.clone(), summary), outcome);
        }
    }
    let outcome = |scenario: &str, step: &str| outcomes[&(scenario.to_owned(), step.to_owned())];
    assert_eq!(outcome("breaks", "steady"), Outcome::Passed);
    assert_eq!(outcome("breaks", "looping"), Outcome::Failed, "the old process still ran");
    assert_eq!(outcome("mends", "it fails"), Outcome::Passed);
    assert_eq!(outcome("mends", "steady"), Outcome::Passed, "the old failures counted: {}", run.words());
}
