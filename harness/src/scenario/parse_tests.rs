// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use camino::Utf8PathBuf;
use proptest::prelude::*;

use super::*;
use crate::check::{Check, Expectation};
use crate::machine::{DiskSpec, FirmwareChoice, Network};

/// A directory with the files that the scenarios of these tests name.
pub(super) fn context() -> (tempfile::TempDir, ParseContext) {
    let directory = tempfile::tempdir().expect("a directory");
    let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
    std::fs::create_dir(root.join("recipes")).expect("made");
    for file in ["recipes/hello.toml", "recipes/docker.toml", "beside.toml", "own.raw", "own.ign", "own.bu"] {
        std::fs::write(root.join(file), "").expect("written");
    }
    let context = ParseContext {
        name: "test".to_owned(),
        file: root.join("test.toml"),
        recipes: vec![root.join("recipes")],
    };
    (directory, context)
}

pub(super) fn parse(text: &str) -> Result<Scenario, ParseError> {
    let (_directory, context) = context();
    Scenario::parse(text, &context)
}

/// The report of a file with errors, without the directory of the test.
pub(super) fn report(text: &str) -> String {
    let (directory, context) = context();
    let error = Scenario::parse(text, &context).expect_err("a broken scenario");
    error.report().replace(&format!("{}/", directory.path().display()), "")
}

const CHECK: &str = "[[step]]\noverlay = {}\n";

#[test]
fn reads_what_the_file_says() {
    let text = r#"
summary = "all of it"
tags = ["docker"]
timeout = "10min"
requires = { era = ["sysext", "initrd"], version = ">=3794, <4700", architecture = ["amd64"], base = true }

[machine]
memory = "2GiB"
cpus = 4
network = "internet"

[[sysext]]
recipe = "hello"
name = "hello-ext4"
format = "ext4"
delivery = "http"

[[sysext]]
path = "own.raw"

[ignition]
butane = "own.bu"

[[ignition.link]]
path = "/etc/extensions/docker-flatcar.raw"
target = "/dev/null"
overwrite = true

[[ignition.file]]
path = "/etc/probe"
contents = "probe\n"
mode = "0755"

[[hold]]
summary = "it is merged"
merged = { present = ["hello-ext4"] }

[[step]]
run = "true"
exit = 0
within = "30s"

[[step]]
reboot = {}
"#;
    let (_directory, context) = context();
    let scenario = Scenario::parse(text, &context).expect("a sound scenario");
    assert_eq!(scenario.name, "test");
    assert_eq!(scenario.timeout, Some(Duration::from_mins(10)));
    assert!(scenario.requires.base);
    assert_eq!(scenario.machines[0].spec.memory_mib, 2048);
    assert_eq!(
        (scenario.machines[0].spec.cpus, scenario.machines[0].spec.network),
        (Some(4), Network::Internet)
    );
    let [hello, own] = scenario.machines[0].sysexts.as_slice() else { panic!("two extensions") };
    assert_eq!(hello.source, Source::Recipe(context.recipes[0].join("hello.toml")));
    assert_eq!((hello.name.as_deref(), hello.line), (Some("hello-ext4"), 12));
    assert_eq!(own.source, Source::Image(context.file.with_file_name("own.raw")));
    assert_eq!(scenario.machines[0].ignition.files[0].mode, 0o755);
    assert!(scenario.machines[0].ignition.links[0].overwrite);
    assert_eq!(
        scenario.machines[0].ignition.config,
        Some(AuthorConfig::Butane(context.file.with_file_name("own.bu")))
    );
    assert_eq!(scenario.hold[0].title(), "it is merged");
    let [run, reboot] = scenario.steps.as_slice() else { panic!("two steps") };
    let StepKind::Check(check) = &run.kind else { panic!("a check") };
    assert!(matches!(**check, Check::Run(_)));
    assert_eq!((run.within, run.line), (Some(Duration::from_secs(30)), 38));
    assert_eq!(reboot.kind, StepKind::Reboot);
}

#[test]
fn every_problem_of_a_file_is_reported_at_once() {
    insta::assert_snapshot!(report(
        r#"
summary = 3
requires = { era = ["sysxt"], vershion = ">=1", systemd = "252" }

[machine]
memory = "2 gigs"

[[sysext]]
recipe = "helo"

[[sysext]]
recipe = "hello"
path = "own.raw"

[[sysext]]
recipe = "hello"
format = "squash"

[[sysext]]
name = "x"

[ignition]
config = "owm.ign"

[[step]]
merge = { present = ["hello"] }

[[step]]
merged = { present = ["hello"], abesnt = ["docker"], unknown = 1 }
summary = 3

[[step]]
overlay = {}
docker = {}

[[step]]
overlay = {}
stdout = { equals = "" }

[[step]]
run = "true"
within = "soon"

[[step]]
reboot = {}
within = "1s"

[[steps]]
overlay = {}
"#
    ));
}

#[test]
fn errors_of_toml_are_reported() {
    insta::assert_snapshot!(report("summary = \"x\n\n[[step]\noverlay = {}\n"));
}

/// Mistakes of first attempts: the table, the text in it, its place, the cause and the hint.
const FIRST_ATTEMPTS: &[[&str; 5]] = &[
    [
        "step",
        "merged = \"hello\"",
        "3:10",
        "`merged` must be a table, not a text",
        "write `merged = { present = [\"hello\"] }`",
    ],
    [
        "step",
        "merged = [\"hello\"]",
        "3:10",
        "`merged` must be a table, not a list",
        "write `merged = { present = [\"hello\"] }`",
    ],
    [
        "step",
        "merged = [[\"hello\"]]",
        "3:10",
        "`merged` must be a table, not a list",
        "write `merged = { present = [\"hello\"] }`",
    ],
    [
        "step",
        "run = \"x\"\nstdout = \"active\"",
        "4:10",
        "`stdout` must be a table, not a text",
        "write `stdout = { contains = \"active\" }`",
    ],
    [
        "step",
        "run = \"x\"\nstdout = { contains = 3 }",
        "4:23",
        "`contains` must be a text or a list of texts, not a number",
        "write `contains = \"active\"`",
    ],
    [
        "step",
        "run = \"x\"\nstdout.matches = \"([\"",
        "4:18",
        "`([` is not a regular expression: unclosed character class",
        "",
    ],
    [
        "step",
        "run = \"x\"\nstdout.matches = \"\\d+\"",
        "4:20",
        "a backslash in double quotes must be written twice",
        "use single quotes for texts with backslashes: `'\\d+'`",
    ],
    [
        "step",
        "file = \"/usr/bin/x\"",
        "3:8",
        "`file` must be a table, not a text",
        "write `file = { path = \"/usr/bin/hello\", mode = \"0755\" }`",
    ],
    [
        "step",
        "file = { path = \"/x\", mode = 0644 }",
        "3:30",
        "a number cannot begin with 0",
        "write a file mode as a text: `mode = \"0644\"`",
    ],
    [
        "step",
        "file = { path = \"/x\", mode = 0o755 }",
        "3:30",
        "`mode` must be a text, not a number",
        "write `mode = \"0644\"`",
    ],
    ["step", "file = { exists = false }", "3:8", "the key `path` is missing", ""],
    ["step", "reboot = true", "3:10", "`reboot` must be a table, not `true`", "write `reboot = {}`"],
    [
        "step",
        "unit = \"docker.socket\"",
        "3:8",
        "`unit` must be a table, not a text",
        "write `unit = { \"docker.socket\" = \"active\" }`",
    ],
    [
        "step",
        "overlay = {}\nwithin = 30",
        "4:10",
        "`within` must be a text, not a number",
        "write `within = \"30s\"`",
    ],
    [
        "step",
        "swap = { recipe = \"hello\", expect = false }",
        "3:37",
        "`expect` must be a text, not `false`",
        "write `expect = \"refused\"`",
    ],
    [
        "machine",
        "network = true",
        "5:11",
        "`network` must be a text, not `true`",
        "write `network = \"internet\"`",
    ],
    [
        "machine",
        "memory = 2048",
        "5:10",
        "`memory` must be a text, not a number",
        "write `memory = \"2GiB\"`",
    ],
    [
        "machine",
        "cpus = \"2\"",
        "5:8",
        "`cpus` must be a whole number from 1 to 288, not a text",
        "write `cpus = 2`",
    ],
    ["machine", "cpus = 0", "5:8", "`cpus` must be a whole number from 1 to 288, not 0", "write `cpus = 2`"],
    [
        "sysext",
        "recipe = \"hello\"\nformat = 3",
        "6:10",
        "`format` must be a text, not a number",
        "write `format = \"erofs\"`",
    ],
    [
        "sysext",
        "path = \"recipes\"",
        "5:8",
        "`recipes` is a directory, not a file",
        "name an image file; build one from a directory with a recipe that has it as `[[tree]]`",
    ],
    [
        "sysext",
        "recipe = \"beside\"",
        "5:10",
        "there is no recipe `beside`",
        "write `recipe = \"beside.toml\"` for the file beside the scenario",
    ],
    [
        "sysext",
        "recipe = \"./nope.toml\"",
        "5:10",
        "there is no file `./nope.toml`",
        "relative paths start at the directory of the scenario file",
    ],
    [
        "ignition",
        "butane = \"\"\"\nvariant: flatcar\n\"\"\"",
        "5:10",
        "this is not the path of a file, but its content",
        "write the content to a file beside the scenario, and its name here",
    ],
    [
        "top",
        "tags = \"x\"",
        "2:8",
        "`tags` must be a list of texts, not a text",
        "write `tags = [\"quick\"]`",
    ],
    ["top", "timeout = 90", "2:11", "`timeout` must be a text, not a number", "write `timeout = \"5min\"`"],
    [
        "top",
        "requires = { architecture = \"amd64\" }",
        "2:29",
        "`architecture` must be a list of texts, not a text",
        "write `architecture = [\"amd64\"]`",
    ],
    [
        "top",
        "step = { run = \"x\" }",
        "2:8",
        "`step` must be a list of tables, not a table",
        "write `[[step]]`",
    ],
];

#[test]
fn first_attempts_get_an_example_of_the_right_form() {
    let before = |table: &str| match table {
        "step" => "[[step]]\n".to_owned(),
        "machine" | "ignition" => format!("{CHECK}[{table}]\n"),
        "sysext" => format!("{CHECK}[[sysext]]\n"),
        _ => String::new(),
    };
    let wrong = FIRST_ATTEMPTS.iter().filter_map(|[table, text, place, cause, hint]| {
        let report = report(&format!("summary = \"x\"\n{}{text}\n", before(table)));
        let expected = format!("test.toml:{place}: {cause}|{hint}|1");
        let first = report.lines().next().unwrap_or_default();
        let shown = report.lines().find_map(|line| line.strip_prefix("  hint: ")).unwrap_or_default();
        let found = format!("{first}|{shown}|{}", report.matches("test.toml:").count());
        (found != expected).then(|| format!("{found}\n  instead of {expected}"))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_key_that_is_given_twice_is_reported() {
    insta::assert_snapshot!(report("summary = \"x\"\nsummary = \"y\"\n"));
}

#[test]
fn a_scenario_checks_something() {
    insta::assert_snapshot!("an_empty_file", report(""));
    insta::assert_snapshot!("an_empty_step", report("summary = \"x\"\n[[step]]\nsummary = \"nothing\"\n"));
}

#[test]
fn a_scenario_has_a_summary() {
    insta::assert_snapshot!(report(CHECK));
}

#[test]
fn hold_is_not_an_action() {
    insta::assert_snapshot!(report(&format!("summary = \"x\"\n{CHECK}[[hold]]\nreboot = {{}}\n")));
}

#[test]
fn a_list_of_tables_is_not_a_table() {
    insta::assert_snapshot!(report("summary = \"x\"\n[step]\noverlay = {}\n"));
}

#[test]
fn limits_of_a_machine() {
    for machine in [
        "cpus = 0",
        "cpus = 1000",
        "memory = \"0MiB\"",
        "memory = 512",
        "network = \"on\"",
        "firmware = \"coreboot\"",
        "kernel-arguments = [\"two words\"]",
        "disk = [{ size = \"1GiB\", serial = \"a serial\" }]",
        "disk = [{ size = \"1GiB\", serial = \"primary-disk\" }]",
        "disk = [{ size = \"1GB\", serial = \"data\" }]",
    ] {
        let text = format!("summary = \"x\"\n[machine]\n{machine}\n{CHECK}");
        let error = parse(&text).expect_err(machine);
        assert_eq!((error.problems().len(), error.problems()[0].line), (1, 3), "{machine}");
    }
}

#[test]
fn more_of_a_machine() {
    let machine = "firmware = \"uefi-secure\"\ntpm = true\nkernel-arguments = [\"quiet\"]\n\
                   disk = [{ size = \"1GiB\", serial = \"data\" }]";
    let spec = parse(&format!("summary = \"x\"\n[machine]\n{machine}\n{CHECK}"))
        .expect("sound")
        .machines
        .remove(0)
        .spec;
    assert_eq!((spec.firmware, spec.tpm), (Some(FirmwareChoice::UefiSecure), true));
    assert_eq!(spec.kernel_arguments, ["quiet"]);
    assert_eq!(spec.disks, [DiskSpec { size_mib: 1024, serial: "data".into() }]);
}

#[test]
fn sweeps_are_waived_with_a_reason() {
    let text = |waived| format!("summary = \"x\"\nwaive = {{ {waived} }}\n{CHECK}");
    let scenario = parse(&text("failed-units = \"one fails on purpose\"")).expect("a sound scenario");
    let waived = scenario.waive.get(&crate::check::Sweep::FailedUnits).map(String::as_str);
    assert_eq!(waived, Some("one fails on purpose"));
    insta::assert_snapshot!(report(&text("failed-unit = \"x\", coredumps = \"\"")));
    insta::assert_snapshot!("a_sweep_without_a_reason", report(&text("coredumps = \" \"")));
}

#[test]
fn a_key_of_an_earlier_version_is_an_error_that_names_the_new_key() {
    let reports = [
        format!("[machine]\nkernel-words = [\"quiet\"]\n{CHECK}"),
        format!("[without]\nclock = \"it is set\"\n{CHECK}"),
        "[[step]]\nswap = { recipe = \"hello\", merged = false }\n".to_owned(),
        "[machines.a]\nkernel-words = []\n[machines.b]\n[[step]]\non = \"a\"\noverlay = {}\n".to_owned(),
    ]
    .map(|text| report(&format!("summary = \"x\"\n{text}")));
    insta::assert_snapshot!(reports.join("\n\n"));
}

#[test]
fn a_swap_expects_the_extension_to_be_merged_or_refused() {
    let expectation = |more: &str| {
        let step = format!("[[step]]\nswap = {{ recipe = \"hello\"{more} }}\n");
        let scenario = parse(&format!("summary = \"x\"\n{step}")).expect("sound");
        let StepKind::Swap(request) = &scenario.steps[0].kind else { panic!("a swap") };
        request.expect
    };
    assert_eq!(expectation(""), Expectation::Merged);
    assert_eq!(expectation(", expect = \"merged\""), Expectation::Merged);
    assert_eq!(expectation(", expect = \"refused\""), Expectation::Refused);
    let unknown = "[[step]]\nswap = { recipe = \"hello\", expect = \"refsed\" }\n";
    let unknown = report(&format!("summary = \"x\"\n{unknown}"));
    assert!(unknown.ends_with("hint: did you mean `refused`?"), "{unknown}");
}

#[test]
fn names_of_extensions_are_file_names() {
    for name in ["", "a/b", "..", "x.raw", "a b"] {
        let text = format!("summary = \"x\"\n[[sysext]]\nrecipe = \"hello\"\nname = \"{name}\"\n{CHECK}");
        assert!(parse(&text).is_err(), "{name}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    /// Lines of the format in any order, which get further than arbitrary text does.
    #[test]
    fn no_mixture_of_lines_makes_the_parser_panic(
        lines in prop::collection::vec(prop::sample::select(LINES), 0..12),
        cut in 0_usize..400,
    ) {
        let text = lines.join("\n");
        let cut = (0..=cut.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        for text in [text.as_str(), &text[..cut]] {
            if let Err(error) = parse(text) {
                for problem in error.problems() {
                    let line = text.split('\n').nth(problem.line - 1);
                    prop_assert_eq!(line, Some(problem.text.as_str()));
                }
                prop_assert!(!error.report().is_empty());
            }
        }
    }
}

const LINES: &[&str] = &[
    "summary = \"é\"",
    "summary = 1",
    "[[step]]",
    "[step]",
    "[[hold]]",
    "[[sysext]]",
    "[machine]",
    "[ignition]",
    "[[ignition.file]]",
    "recipe = \"hello\"",
    "recipe = \"\"",
    "path = \"..\"",
    "overlay = {}",
    "overlay = 1",
    "reboot = {}",
    "run = \"true\"",
    "exit = -1",
    "within = \"5s\"",
    "within = \"é\"",
    "memory = \"1GiB\"",
    "cpus = 99999999999999999999",
    "mode = \"9\"",
    "requires = { era = [1] }",
    "merged = { present = [\"é\"], x.y = 1 }",
    "unit = { \"docker.socket\" = \"active\" }",
    "\"\" = [[[]]]",
    "x = 1979-05-27",
    "# é",
];

const PAIR: &str = "summary = \"x\"\n[machines.server]\ncpus = 2\nsysext = [{ recipe = \"hello\" }]\n\
                    [machines.client]\n[[step]]\non = \"client\"\nrun = \"true\"\n";

#[test]
fn reads_several_machines_in_the_order_of_the_file() {
    let scenario = parse(PAIR).expect("sound");
    let names: Vec<&str> = scenario.machines.iter().map(|machine| machine.name.as_str()).collect();
    assert_eq!(names, ["server", "client"]);
    assert_eq!((scenario.machines[0].spec.cpus, scenario.machines[0].sysexts.len()), (Some(2), 1));
    assert_eq!((scenario.machines[1].spec.cpus, scenario.machines[1].sysexts.len()), (None, 0));
    assert_eq!(scenario.steps[0].machine, 1);
}

#[test]
fn machines_have_valid_names_and_steps_name_them() {
    let more = "[[step]]\non = \"servre\"\noverlay = {}\n[[hold]]\noverlay = {}\n\
                [machine]\n[[sysext]]\nrecipe = \"hello\"\n[machines.Two_Words]\ncpu = 1\n";
    insta::assert_snapshot!(report(&format!("{PAIR}{more}")));
}

#[test]
fn one_machine_has_no_name() {
    let one = "summary = \"x\"\n[machines.only]\n[[step]]\noverlay = {}\n";
    insta::assert_snapshot!("one_named", report(one));
    let none = "summary = \"x\"\n[machines]\n[[step]]\noverlay = {}\n";
    insta::assert_snapshot!("none_named", report(none));
    let addressed = "summary = \"x\"\n[[step]]\non = \"server\"\noverlay = {}\n";
    insta::assert_snapshot!("one_addressed", report(addressed));
    let odd = "summary = \"x\"\nmachines = 2\n[[step]]\noverlay = {}\n";
    insta::assert_snapshot!("no_table", report(odd));
}
