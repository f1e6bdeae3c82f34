// SPDX-License-Identifier: Apache-2.0
//! The keys of a scenario file, with their types and examples.
use loadgauge_host::toml_keys::{Key, Kind, TEXT_OR_TEXTS, TEXTS};

use super::parse_machine::MOST_CPUS;

/// The keys of the file.
pub(super) const SCENARIO: &[Key] = &[
    Key::new("summary", &Kind::Text, "summary = \"hello is merged\""),
    Key::new("tags", &TEXTS, "tags = [\"quick\"]"),
    Key::new("timeout", &Kind::Text, "timeout = \"5min\""),
    Key::new("requires", &Kind::Table(REQUIRES), "requires = { version = \">=3794\" }"),
    Key::new("waive", &Kind::ByName(&Kind::Text), "waive = { coredumps = \"the reason\" }"),
    Key::new("machine", &Kind::Table(MACHINE), "[machine]"),
    Key::new("machines", &Kind::ByName(&Kind::Table(NAMED_MACHINE)), "[machines.NAME]"),
    Key::new("sysext", &Kind::List(&Kind::Table(SYSEXT)), "[[sysext]]"),
    Key::new("ignition", &Kind::Table(IGNITION), "[ignition]"),
    Key::new("step", &Kind::List(&Kind::Table(STEP)), "[[step]]"),
    Key::new("hold", &Kind::List(&Kind::Table(STEP)), "[[hold]]"),
];

const REQUIRES: &[Key] = &[
    Key::new("era", &TEXTS, "era = [\"sysext\", \"initrd\"]"),
    Key::new("version", &Kind::Text, "version = \">=3794\""),
    Key::new("systemd", &Kind::Text, "systemd = \">=252\""),
    Key::new("architecture", &TEXTS, "architecture = [\"amd64\"]"),
    Key::new("base", &Kind::Boolean, "base = true"),
];

const MEMORY: Key = Key::new("memory", &Kind::Text, "memory = \"2GiB\"");
const CPUS: Key = Key::new("cpus", &Kind::Number(1, MOST_CPUS as i64), "cpus = 2");
const NETWORK: Key = Key::new("network", &Kind::Text, "network = \"internet\"");
const FIRMWARE: Key = Key::new("firmware", &Kind::Text, "firmware = \"uefi\"");
const START: Key = Key::new("start", &Kind::Text, "start = \"cold\"");
const TPM: Key = Key::new("tpm", &Kind::Boolean, "tpm = true");
const KERNEL_ARGUMENTS: Key = Key::new("kernel-arguments", &TEXTS, "kernel-arguments = [\"quiet\"]");
const DISKS: Key =
    Key::new("disk", &Kind::List(&Kind::Table(DISK)), "disk = [{ size = \"512MiB\", serial = \"data\" }]");

const MACHINE: &[Key] = &[MEMORY, CPUS, NETWORK, FIRMWARE, START, TPM, KERNEL_ARGUMENTS, DISKS];

const NAMED_MACHINE: &[Key] = &[
    MEMORY,
    CPUS,
    NETWORK,
    FIRMWARE,
    START,
    TPM,
    KERNEL_ARGUMENTS,
    DISKS,
    Key::new("sysext", &Kind::List(&Kind::Table(SYSEXT)), "[[machines.NAME.sysext]]"),
    Key::new("ignition", &Kind::Table(IGNITION), "[machines.NAME.ignition]"),
];

const DISK: &[Key] = &[
    Key::new("size", &Kind::Text, "size = \"512MiB\""),
    Key::new("serial", &Kind::Text, "serial = \"data\""),
];

const RECIPE: Key = Key::new("recipe", &Kind::Text, "recipe = \"hello\"");
const IMAGE: Key = Key::new("path", &Kind::Text, "path = \"mine.raw\"");
const NAME: Key = Key::new("name", &Kind::Text, "name = \"hello\"");
const FORMAT: Key = Key::new("format", &Kind::Text, "format = \"erofs\"");

const SYSEXT: &[Key] =
    &[RECIPE, IMAGE, NAME, FORMAT, Key::new("delivery", &Kind::Text, "delivery = \"http\"")];

const SWAP: &[Key] = &[
    RECIPE,
    IMAGE,
    NAME,
    FORMAT,
    Key::new("expect", &Kind::Text, "expect = \"refused\""),
    Key::new("settle", &Kind::Text, "settle = \"30s\""),
];

const IGNITION: &[Key] = &[
    Key::new("butane", &Kind::Text, "butane = \"mine.bu\""),
    Key::new("config", &Kind::Text, "config = \"mine.ign\""),
    Key::new("link", &Kind::List(&Kind::Table(LINK)), "[[ignition.link]]"),
    Key::new("file", &Kind::List(&Kind::Table(WRITTEN_FILE)), "[[ignition.file]]"),
    Key::new("unit", &Kind::List(&Kind::Table(WRITTEN_UNIT)), "[[ignition.unit]]"),
];

const LINK: &[Key] = &[
    Key::new("path", &Kind::Text, "path = \"/etc/extensions/hello.raw\""),
    Key::new("target", &Kind::Text, "target = \"/opt/extensions/hello.raw\""),
    Key::new("overwrite", &Kind::Boolean, "overwrite = true"),
];

const MODE: Key = Key::new("mode", &Kind::Text, "mode = \"0644\"");

const WRITTEN_FILE: &[Key] = &[
    Key::new("path", &Kind::Text, "path = \"/etc/probe.conf\""),
    Key::new("contents", &Kind::Text, "contents = \"probe = true\\n\""),
    MODE,
    Key::new("overwrite", &Kind::Boolean, "overwrite = true"),
];

const WRITTEN_UNIT: &[Key] = &[
    Key::new("name", &Kind::Text, "name = \"probe.service\""),
    Key::new("enabled", &Kind::Boolean, "enabled = true"),
    Key::new("mask", &Kind::Boolean, "mask = true"),
    Key::new("contents", &Kind::Text, "contents = \"[Service]\\nExecStart=/usr/bin/true\\n\""),
];

/// The keys of a step of any kind.
pub(super) const STEP: &[Key] = &[
    Key::new("summary", &Kind::Text, "summary = \"hello is merged\""),
    Key::new("within", &Kind::Text, "within = \"30s\""),
    Key::new("on", &Kind::Text, "on = \"server\""),
    Key::new("merged", &Kind::Table(MERGED), "merged = { present = [\"hello\"] }"),
    Key::new("overlay", &Kind::Table(OVERLAY), "overlay = { extensions = [\"hello\"] }"),
    Key::new("unit", UNITS, "unit = { \"docker.socket\" = \"active\" }"),
    Key::new("file", &Kind::Table(FILE), "file = { path = \"/usr/bin/hello\", mode = \"0755\" }"),
    Key::new("run", &Kind::Text, "run = \"hello --version\""),
    Key::new("exit", &Kind::Number(0, 255), "exit = 1"),
    Key::new("signal", &Kind::Text, "signal = \"KILL\""),
    Key::new("stdout", TEXT_RULES, "stdout = { contains = \"active\" }"),
    Key::new("stderr", TEXT_RULES, "stderr = { empty = true }"),
    Key::new("user", &Kind::Text, "user = \"root\""),
    Key::new("stdin", &Kind::Text, "stdin = \"a line\\n\""),
    Key::new("timeout", &Kind::Text, "timeout = \"90s\""),
    Key::new("docker", &Kind::Table(DOCKER), "docker = { run = true }"),
    Key::new("containerd", &Kind::Table(CONTAINERD), "containerd = { run = true }"),
    Key::new("reboot", &Kind::Table(&[]), "reboot = {}"),
    Key::new("refresh", &Kind::Table(&[]), "refresh = {}"),
    Key::new("unmerge", &Kind::Table(&[]), "unmerge = {}"),
    Key::new("swap", &Kind::Table(SWAP), "swap = { recipe = \"hello\" }"),
];

const UNITS: &Kind = &Kind::ByName(&Kind::Either(&Kind::Text, &Kind::Table(UNIT)));

const TEXT_RULES: &Kind = &Kind::Table(&[
    Key::new("equals", &Kind::Text, "equals = \"active\\n\""),
    Key::new("contains", &TEXT_OR_TEXTS, "contains = \"active\""),
    Key::new("excludes", &TEXT_OR_TEXTS, "excludes = \"failed\""),
    Key::new("matches", &Kind::Text, "matches = '^active'"),
    Key::new("empty", &Kind::Boolean, "empty = true"),
]);

const HIERARCHY: Key = Key::new("hierarchy", &Kind::Text, "hierarchy = \"/opt\"");

const MERGED: &[Key] = &[
    Key::new("present", &TEXTS, "present = [\"hello\"]"),
    Key::new("absent", &TEXTS, "absent = [\"docker-flatcar\"]"),
    HIERARCHY,
];

const OVERLAY: &[Key] = &[
    HIERARCHY,
    Key::new("mounted", &Kind::Boolean, "mounted = false"),
    Key::new("extensions", &TEXTS, "extensions = [\"hello\"]"),
];

const UNIT: &[Key] = &[
    Key::new("active", &Kind::Text, "active = \"active\""),
    Key::new("sub", &Kind::Text, "sub = \"running\""),
    Key::new("load", &Kind::Text, "load = \"loaded\""),
    Key::new("result", &Kind::Text, "result = \"success\""),
    Key::new("file-state", &Kind::Text, "file-state = \"enabled\""),
    Key::new("settle", &Kind::Text, "settle = \"10s\""),
];

const FILE: &[Key] = &[
    Key::new("path", &Kind::Text, "path = \"/usr/bin/hello\""),
    Key::new("exists", &Kind::Boolean, "exists = false"),
    Key::new("kind", &Kind::Text, "kind = \"directory\""),
    MODE,
    Key::new("owner", &Kind::Text, "owner = \"root\""),
    Key::new("group", &Kind::Text, "group = \"root\""),
    Key::new("target", &Kind::Text, "target = \"/opt/extensions/hello.raw\""),
    Key::new("contents", TEXT_RULES, "contents = { contains = \"hello\" }"),
    Key::new("sha256", &Kind::Text, "sha256 = \"..\""),
];

const DOCKER: &[Key] = &[
    Key::new("version", TEXT_RULES, "version = { matches = '^28\\.' }"),
    Key::new("driver", &TEXT_OR_TEXTS, "driver = \"overlay2\""),
    Key::new("cgroup-version", &Kind::Text, "cgroup-version = \"2\""),
    Key::new("cgroup-driver", &Kind::Text, "cgroup-driver = \"systemd\""),
    Key::new("run", &Kind::Boolean, "run = true"),
    Key::new("user", &Kind::Text, "user = \"root\""),
];

const CONTAINERD: &[Key] = &[
    Key::new("client-version", TEXT_RULES, "client-version = { matches = '^v?2\\.' }"),
    Key::new("server-version", TEXT_RULES, "server-version = { matches = '^v?2\\.' }"),
    Key::new("run", &Kind::Boolean, "run = true"),
];
