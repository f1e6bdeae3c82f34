// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint as _;
use std::cell::RefCell;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Store;
use loadgauge_ignition::delivery::INLINE_LIMIT;
use loadgauge_images::base::{Archive, Base};
use loadgauge_images::image::{DiskFormat, Era};
use loadgauge_images::{Architecture, Facts, Image, OsRelease};
use sha2::{Digest as _, Sha512};

use super::*;
use crate::machine::{Acceleration, Accelerator, MachinePlan, StartMethod};
use loadgauge_builder::{Extension, Format};

fn image() -> Image {
    let os_release = "PRETTY_NAME=\"Flatcar 4593.2.5\"\nVERSION_ID=4593.2.5\nID=flatcar\n";
    Image {
        disk: "/images/disk.qcow2".into(),
        format: DiskFormat::Qcow2,
        digest: "ab".repeat(32),
        facts: Facts {
            os_release: OsRelease::parse(os_release).expect("an os-release"),
            architecture: Architecture::Amd64,
            era: Era::Sysext,
            systemd: 257,
            vendor_extensions: vec!["docker-flatcar".to_owned()],
        },
        base: None,
        release_directory: None,
    }
}

fn sha512(path: &Utf8Path) -> std::io::Result<String> {
    Ok(hex::encode(Sha512::digest(std::fs::read(path)?)))
}

fn acceleration() -> Acceleration {
    Acceleration { accelerator: Accelerator::Tcg, factor: 4.0, reason: "no /dev/kvm".to_owned() }
}

/// A directory with scenarios, and a builder that writes small files.
struct Fixture {
    directory: tempfile::TempDir,
    built: RefCell<Vec<String>>,
}

impl Fixture {
    fn new(files: &[(&str, &str)]) -> Self {
        let fixture =
            Self { directory: tempfile::tempdir().expect("a directory"), built: RefCell::default() };
        std::fs::create_dir(fixture.root().join("recipes")).expect("made");
        for (name, text) in files.iter().chain(&[("recipes/hello.toml", ""), ("recipes/big.toml", "")]) {
            std::fs::write(fixture.root().join(name), text).expect("written");
        }
        fixture
    }

    fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.directory.path()).expect("UTF-8")
    }

    fn build(&self, request: &BuildRequest<'_>) -> Result<Extension, BuildFailure> {
        let stem = request.recipe.file_stem().unwrap_or_default();
        let name = request.name.unwrap_or(stem).to_owned();
        self.built.borrow_mut().push(format!("{name} as {}", request.format.unwrap_or(Format::Squashfs)));
        if name == "unbuildable" {
            return Err(BuildFailure {
                error: "`mksquashfs` is not installed".into(),
                hint: Some("install it".to_owned()),
                host: true,
            });
        }
        let contents = vec![b'x'; if stem == "big" { 300_000 } else { 30 }];
        let path = self.root().join(format!("built-{name}"));
        if request.format == Some(Format::Directory) {
            std::fs::create_dir_all(path.join("usr")).expect("made");
            std::fs::write(path.join("usr/file"), &contents).expect("written");
        } else {
            std::fs::write(&path, &contents).expect("written");
        }
        Ok(Extension {
            name,
            format: request.format.unwrap_or(Format::Squashfs),
            path,
            size: contents.len() as u64,
            sha512: hex::encode(sha2::Sha512::digest(&contents)),
            release: OsRelease::parse("ID=flatcar\n").expect("a release"),
        })
    }

    fn plan(&self) -> Result<Plan, PlanError> {
        self.plan_with(&start_cold)
    }

    fn plan_with(&self, choose_starts: &ChooseStarts<'_>) -> Result<Plan, PlanError> {
        self.plan_all(&Catalogue::at(self.root()).expect("a catalogue"), &image(), choose_starts)
    }

    fn plan_all(
        &self,
        catalogue: &Catalogue,
        image: &Image,
        choose_starts: &ChooseStarts<'_>,
    ) -> Result<Plan, PlanError> {
        let scenarios = select(catalogue, &[]).unwrap_or_else(|error| panic!("{error}"));
        self.plan_scenarios(scenarios, image, choose_starts)
    }

    fn plan_scenarios(
        &self,
        scenarios: Vec<Scenario>,
        image: &Image,
        choose_starts: &ChooseStarts<'_>,
    ) -> Result<Plan, PlanError> {
        let build = |request: &BuildRequest<'_>| self.build(request);
        let planner = Planner {
            image,
            acceleration: &acceleration(),
            build: &build,
            digest: &sha512,
            origin: "http://10.0.2.100",
            firmware: None,
            inline_limit: 1000,
            keep: &|bytes| keep_file(&Store::at(self.root().join("store")), bytes),
            choose_starts,
        };
        planner.plan(scenarios)
    }

    fn refusal(&self) -> PlanError {
        match self.plan() {
            Ok(plan) => panic!("planned: {plan:?}"),
            Err(error) => error,
        }
    }

    /// Without the directory of the test.
    fn clean(&self, text: &str) -> String {
        text.replace(self.root().as_str(), "/scenarios")
    }
}

const HELLO: &str = r#"
summary = "hello says hello"
tags = ["quick"]

[machine]
memory = "2GiB"

[[sysext]]
recipe = "hello"

[[sysext]]
recipe = "big"
format = "ext4"

[[sysext]]
path = "own.raw"

[ignition]
config = "own.ign"

[[ignition.link]]
path = "/etc/extensions/docker-flatcar.raw"
target = "/dev/null"
overwrite = true

[[hold]]
summary = "the extensions are merged"
merged = { present = ["hello", "big", "own"] }
within = "30s"

[[step]]
summary = "hello runs"
run = "hello"

[[step]]
reboot = {}
"#;

const OWN: &str = r#"{ "ignition": { "version": "3.3.0" },
  "storage": { "files": [ { "path": "/etc/probe", "mode": 420, "contents": { "source": "data:,probe" } } ] } }"#;

const LATER: &str = r#"
summary = "for later releases"
requires = { era = ["initrd"], version = ">=4628", systemd = ">=258", architecture = ["arm64"], base = true }

[[step]]
overlay = {}
"#;

fn fixture() -> Fixture {
    Fixture::new(&[("hello.toml", HELLO), ("later.toml", LATER), ("own.raw", "an image"), ("own.ign", OWN)])
}

fn start_cold(machines: &[(&MachinePlan, bool)]) -> Vec<StartMethod> {
    vec![StartMethod::cold("no other scenario has its machine"); machines.len()]
}

#[test]
fn the_plan_as_json() {
    let fixture = fixture();
    let plan = fixture.plan().unwrap_or_else(|error| panic!("{error}"));
    let command = |machine: &MachinePlan| vec!["qemu-system-x86_64".to_owned(), machine.name.clone()];
    let view = plan.view(&command);
    let json = serde_json::to_string_pretty(&view).expect("JSON");
    insta::assert_snapshot!(fixture.clean(&json));
}

#[test]
fn the_plan_as_text() {
    let fixture = fixture();
    let plan = fixture.plan().unwrap_or_else(|error| panic!("{error}"));
    insta::assert_snapshot!(fixture.clean(&plan.text()));
}

#[test]
fn extensions_of_skipped_scenarios_are_not_built() {
    let later = LATER.replace("[[step]]", "[[sysext]]\nrecipe = \"hello\"\n[[step]]");
    let fixture = Fixture::new(&[("later.toml", &later)]);
    let plan = fixture.plan().unwrap_or_else(|error| panic!("{error}"));
    assert!(plan.scenarios.is_empty());
    assert_eq!(plan.skipped[0].name, "later");
    assert!(fixture.built.borrow().is_empty());
}

#[test]
fn a_name_given_by_the_scenario_reaches_the_builder() {
    let text = "summary = \"x\"\n[[sysext]]\nrecipe = \"hello\"\nname = \"hello-btrfs\"\nformat = \"btrfs\"\n\
                [[step]]\noverlay = {}\n";
    let fixture = Fixture::new(&[("a.toml", text)]);
    fixture.plan().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(*fixture.built.borrow(), ["hello-btrfs as btrfs"]);
}

#[test]
fn two_extensions_of_one_name_are_refused() {
    let twice = "[[sysext]]\nrecipe = \"hello\"\n".repeat(2);
    let fixture = Fixture::new(&[("a.toml", &format!("summary = \"x\"\n{twice}[[step]]\noverlay = {{}}\n"))]);
    let error = fixture.refusal();
    assert_eq!(
        fixture.clean(&error.to_string()),
        "/scenarios/a.toml:4: two extensions have the name `hello`"
    );
    assert!(error.hint().is_some());
}

#[test]
fn a_host_that_lacks_something_is_told_from_a_wrong_scenario() {
    let text =
        "summary = \"x\"\n[[sysext]]\nrecipe = \"hello\"\nname = \"unbuildable\"\n[[step]]\noverlay = {}\n";
    let fixture = Fixture::new(&[("a.toml", text)]);
    let error = fixture.refusal();
    assert!(error.is_host());
    assert_eq!(error.hint().as_deref(), Some("install it"));
}

#[test]
fn a_config_that_is_wrong_is_refused() {
    let cases = [
        ("own.ign", "{ \"ignition\": { \"version\": \"3.3.0\" }, \"storge\": {} }"),
        ("own.ign", "{"),
        ("own.bu", "variant: fcos\nversion: 1.0.0\n"),
    ];
    for (file, config) in cases {
        let key = if file == "own.bu" { "butane" } else { "config" };
        let text = format!("summary = \"x\"\n[ignition]\n{key} = \"{file}\"\n[[step]]\noverlay = {{}}\n");
        let fixture = Fixture::new(&[("a.toml", &text), (file, config)]);
        assert!(matches!(fixture.refusal(), PlanError::Compose { .. }), "{config}");
    }
}

#[test]
fn a_link_in_the_way_of_an_extension_is_a_conflict() {
    let text = "summary = \"x\"\n[[sysext]]\nrecipe = \"hello\"\n[[ignition.link]]\n\
                path = \"/etc/extensions/hello.raw\"\ntarget = \"/dev/null\"\n[[step]]\noverlay = {}\n";
    let fixture = Fixture::new(&[("a.toml", text)]);
    let error = fixture.refusal();
    let PlanError::Compose { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, ComposeError::Conflict(_)), "{source}");
}

/// The link of a Butane config for the real release, whose image comes from a URL.
#[test]
fn an_extension_takes_the_place_that_the_authors_link_leads_to() {
    const TARGET: &str = "/opt/extensions/hello/hello-1.0-x86-64.raw";
    let config = format!(
        r#"{{ "ignition": {{ "version": "3.3.0" }}, "storage": {{
        "files": [ {{ "path": "{TARGET}", "contents": {{ "source": "https://example.org/hello.raw" }} }} ],
        "links": [ {{ "path": "/etc/extensions/hello.raw", "target": "{TARGET}", "hard": false }} ] }} }}"#
    );
    let text = "summary = \"x\"\n[[sysext]]\nrecipe = \"hello\"\n[ignition]\nconfig = \"own.ign\"\n[[step]]\noverlay = {}\n";
    let fixture = Fixture::new(&[("a.toml", text), ("own.ign", &config)]);
    let plan = fixture.plan().unwrap_or_else(|error| panic!("{error:?}"));
    let machine = &plan.scenarios[0].machines[0];
    let config: serde_json::Value = serde_json::from_str(&machine.plan.config.to_json()).expect("JSON");
    let (files, links) = (&config["storage"]["files"], &config["storage"]["links"]);
    assert_eq!(
        (files.as_array().map(Vec::len), links.as_array().map(Vec::len)),
        (Some(1), Some(1)),
        "{config}"
    );
    assert_eq!(files[0]["path"], TARGET);
    assert!(files[0]["contents"]["source"].as_str().expect("a URL").starts_with("data:"), "{config}");
    assert_eq!(links[0]["target"], TARGET);
    assert_eq!(machine.warnings, [""; 0]);
}

#[test]
fn a_large_file_of_the_author_is_served() {
    let text = "summary = \"x\"\n[ignition]\nbutane = \"own.bu\"\n[[step]]\noverlay = {}\n";
    let butane = "variant: flatcar\nversion: 1.0.0\nstorage:\n  files:\n    - path: /opt/big.raw\n      contents:\n        local: big.raw\n";
    let big = "x".repeat(5000);
    let fixture = Fixture::new(&[("a.toml", text), ("own.bu", butane), ("big.raw", &big)]);
    let plan = fixture.plan().unwrap_or_else(|error| panic!("{error:?}"));
    let machine = &plan.scenarios[0].machines[0].plan;
    assert!(machine.config.to_json().len() < 1500, "{}", machine.config.to_json());
    let [served] = machine.served.as_slice() else { panic!("{:?}", machine.served) };
    assert_eq!(std::fs::read_to_string(&served.file).expect("kept"), big);
    assert_eq!(served.sha512, hex::encode(Sha512::digest(&big)));
}

#[test]
fn doubts_about_a_config_are_told() {
    for (ignition, machine, expected) in [
        (
            "[[ignition.unit]]\nname = \"a.service\"\nenabled = true\ncontents = \"[Service]\\nExecStart=/usr/bin/true\\n\"\n",
            "",
            "has no section `[Install]`, so enabling it does nothing; add `[Install]`",
        ),
        ("[[ignition.file]]\npath = \"/usr/bin/x\"\ncontents = \"x\"\n", "", "`/usr` is read-only"),
        ("[ignition]\nconfig = \"own.ign\"\n", "", "the guest cannot fetch `https://example.org/x`"),
        ("[ignition]\nconfig = \"own.ign\"\n", "[machine]\nnetwork = \"internet\"\n", ""),
    ] {
        let text = format!("summary = \"x\"\n{ignition}{machine}[[step]]\noverlay = {{}}\n");
        let own = r#"{ "ignition": { "version": "3.3.0" }, "storage": { "files": [
            { "path": "/opt/x", "contents": { "source": "https://example.org/x" } } ] } }"#;
        let fixture = Fixture::new(&[("a.toml", &text), ("own.ign", own)]);
        let plan = fixture.plan().unwrap_or_else(|error| panic!("{error:?}"));
        let warnings = &plan.scenarios[0].machines[0].warnings;
        assert_eq!(warnings.len(), usize::from(!expected.is_empty()), "{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains(expected)), "{warnings:?}");
    }
}

#[test]
fn an_empty_image_is_refused() {
    let text = "summary = \"x\"\n[[sysext]]\npath = \"own.raw\"\n[[step]]\noverlay = {}\n";
    let fixture = Fixture::new(&[("a.toml", text), ("own.raw", "")]);
    let error = fixture.refusal();
    assert!(
        fixture.clean(&error.to_string()).ends_with("a.toml:2: the image `/scenarios/own.raw` has no bytes"),
        "{error}"
    );
    assert!(!error.is_host());
}

#[test]
fn entries_of_the_scenario_file_are_in_the_config() {
    let text = "summary = \"x\"\n[[ignition.file]]\npath = \"/etc/probe\"\ncontents = \"a b\"\nmode = \"0600\"\n\
                [[ignition.unit]]\nname = \"probe.service\"\nenabled = true\ncontents = \"[Service]\"\n\
                [[step]]\noverlay = {}\n";
    let plan = Fixture::new(&[("a.toml", text)]).plan().unwrap_or_else(|error| panic!("{error}"));
    let config: serde_json::Value =
        serde_json::from_str(&plan.scenarios[0].machines[0].plan.config.to_json()).expect("JSON");
    let file = &config["storage"]["files"][0];
    assert_eq!((&file["path"], &file["mode"]), (&"/etc/probe".into(), &0o600.into()), "{config}");
    assert_eq!(file["contents"]["source"], "data:,a%20b");
    let unit = &config["systemd"]["units"][0];
    assert_eq!((&unit["name"], &unit["enabled"]), (&"probe.service".into(), &true.into()), "{config}");
}

const PAIR: &str = r#"
summary = "one serves and the other asks"

[machines.server]
memory = "2GiB"

[[machines.server.sysext]]
recipe = "hello"

[machines.client.ignition]
file = [{ path = "/etc/probe", contents = "probe" }]

[[hold]]
on = "client"
run = "ping -c 1 server"

[[step]]
on = "server"
reboot = {}
"#;

#[test]
fn machines_that_meet_as_text_and_as_json() {
    let fixture = Fixture::new(&[("pair.toml", PAIR)]);
    let plan = fixture.plan().unwrap_or_else(|error| panic!("{error}"));
    insta::assert_snapshot!("pair_as_text", fixture.clean(&plan.text()));
    let command = |machine: &MachinePlan| vec!["qemu-system-x86_64".to_owned(), machine.name.clone()];
    let json = serde_json::to_string_pretty(&plan.view(&command)).expect("JSON");
    insta::assert_snapshot!("pair_as_json", fixture.clean(&json));
}

#[test]
fn a_guest_among_others_has_one_hosts_file() {
    let text = PAIR.replace("/etc/probe", "/etc/hosts");
    let error = Fixture::new(&[("pair.toml", &text)]).refusal();
    let PlanError::Compose { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, ComposeError::Conflict(_)), "{source}");
}

/// Plans all built-in scenarios, which reports every error that does not need a guest.
#[test]
fn the_whole_catalogue_can_be_planned() {
    let fixture = Fixture::new(&[]);
    let store = Store::at(fixture.root().join("store"));
    let catalogue = Catalogue::embedded(&store).expect("written");
    let mut image = image();
    image.base = Some(Base {
        digest: "cd".repeat(32),
        os_release: image.facts.os_release.clone(),
        architecture: Architecture::Amd64,
        dpkg_status: "/base/status".into(),
        archive: Archive {
            mirror: "http://deb.debian.org/debian".to_owned(),
            suite: "trixie".to_owned(),
            components: vec!["main".to_owned()],
            keyring: "/base/keyring.gpg".into(),
            allow_expired: false,
        },
    });
    let plan = fixture.plan_all(&catalogue, &image, &start_cold).unwrap_or_else(|error| panic!("{error:?}"));
    // These need another era.
    let skipped: Vec<&str> = plan.skipped.iter().map(|skipped| skipped.name.as_str()).collect();
    assert_eq!(skipped, ["docker-torcx", "docker-torcx-masked"]);
    assert_eq!(plan.scenarios.len() + skipped.len(), catalogue.names().len());
    for planned in plan.scenarios.iter().filter(|planned| !planned.scenario.hold.is_empty()) {
        let last = planned.steps.last().map(|planned| planned.phase);
        assert!(last >= Some(1), "{} checks `hold` once only", planned.scenario.name);
    }
}

/// The real builder with the host's packers, for recipes that need no package database.
#[test]
fn the_hello_scenario_is_really_built() {
    let fixture = Fixture::new(&[]);
    let store = Store::at(fixture.root().join("store"));
    let catalogue = Catalogue::embedded(&store).expect("written");
    let names = ["hello".to_owned(), "refused.*".to_owned()];
    let scenarios = select(&catalogue, &names).unwrap_or_else(|error| panic!("{error}"));
    let (image, silent) = (image(), |_: &str| {});
    let planner = Planner {
        image: &image,
        acceleration: &acceleration(),
        build: &builder(&image, &store, &silent),
        digest: &sha512,
        origin: "http://10.0.2.100",
        firmware: None,
        inline_limit: INLINE_LIMIT,
        keep: &|bytes| keep_file(&store, bytes),
        choose_starts: &start_cold,
    };
    let plan = planner.plan(scenarios).unwrap_or_else(|error| panic!("{error:?}"));
    let hello = &plan.scenarios[0];
    let formats: Vec<String> = hello.machines[0]
        .extensions
        .iter()
        .map(|extension| format!("{} {}", extension.name, extension.format.expect("a format")))
        .collect();
    let expected =
        ["squashfs", "erofs", "ext4", "btrfs", "directory", "ddi"].map(|name| format!("hello-{name} {name}"));
    assert_eq!(formats, expected);
    for planned in &plan.scenarios {
        // The guest reads a config over fw_cfg, in a time that is quadratic in its length.
        let length = planned.machines[0].plan.config.to_json().len();
        assert!(length < 200 * 1024, "{}: {length} bytes", planned.scenario.name);
    }
}

#[test]
fn the_machine_has_the_name_of_the_scenario() {
    let plan = fixture().plan().unwrap_or_else(|error| panic!("{error}"));
    let machine = &plan.scenarios[0].machines[0].plan;
    assert_eq!((machine.name.as_str(), machine.spec.memory_mib, machine.peer_address), ("hello", 2048, None));
    let served: Vec<Utf8PathBuf> = machine.served.iter().map(|served| served.file.clone()).collect();
    assert_eq!(served.len(), 1, "{served:?}");
    assert!(served[0].ends_with("built-big"));
}

#[test]
fn the_plan_says_how_machines_start() {
    let text =
        "summary = \"x\"\n[machines.a]\nstart = \"cold\"\n[machines.b]\n[[step]]\non = \"a\"\noverlay = {}\n";
    let fixture =
        Fixture::new(&[("pair.toml", text), ("single.toml", "summary = \"x\"\n[[step]]\noverlay = {}\n")]);
    let choose_starts = |machines: &[(&MachinePlan, bool)]| {
        machines.iter().map(|(plan, cold)| StartMethod::cold(&format!("{} {cold}", plan.name))).collect()
    };
    let plan = fixture.plan_with(&choose_starts).unwrap_or_else(|error| panic!("{error}"));
    let reasons = |planned: &PlannedScenario| -> Vec<String> {
        planned.machines.iter().map(|machine| machine.start.reason()).collect()
    };
    assert_eq!(reasons(&plan.scenarios[0]), ["pair/a true", "pair/b false"]);
    assert_eq!(reasons(&plan.scenarios[1]), ["single false"]);
    let cold = plan.scenarios[0].cold_variant("compared");
    assert_eq!(cold.id.to_string(), "pair@cold");
    assert_eq!(cold.machines[1].plan.name, "pair@cold/b");
    assert_eq!(reasons(&cold), ["compared", "compared"]);
}

#[test]
fn a_scenario_without_a_file_has_errors_without_a_place() {
    let fixture = fixture();
    let sysext = SysextRequest::new(Source::Image("/no/such.raw".into()), None);
    let machine = MachineRequest { sysexts: vec![sysext], ..MachineRequest::default() };
    let scenario = Scenario::new("boot", "a machine", machine, Vec::new());
    let error = fixture.plan_scenarios(vec![scenario], &image(), &start_cold).expect_err("no such image");
    assert_eq!(error.to_string(), "cannot examine `/no/such.raw`");
}
