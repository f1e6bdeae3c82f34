// SPDX-License-Identifier: Apache-2.0
//! The command as a user meets it: exit status, messages, and what is printed. No guest is booted.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::environment;
use loadgauge_images::OsRelease;
use serde_json::{Value, json};

#[path = "../../images/tests/disk/mod.rs"]
mod disk;

/// The disk in the directory of a release.
const DISK: &str = "flatcar_production_image.bin";

/// A user with a home, a cache and a working directory, and an empty environment.
struct User {
    _directory: tempfile::TempDir,
    root: Utf8PathBuf,
}

impl User {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().canonicalize().expect("it is there");
        let root = Utf8PathBuf::from_path_buf(path).expect("UTF-8");
        fs::create_dir(root.join("work")).expect("made");
        Self { _directory: directory, root }
    }

    /// `loadgauge` with arguments, separated by spaces.
    fn loadgauge(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("HOME", &self.root).env(environment::CACHE, self.root.join("cache"));
        command.current_dir(self.root.join("work")).args(arguments.split(' '));
        command
    }

    /// The standard output of a command that passes.
    fn print(&self, arguments: &str) -> String {
        let output = self.loadgauge(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The status and the standard error of a command that fails, prints no data and leaves no file in
    /// its working directory.
    fn fail(&self, command: &mut Command) -> String {
        let Output { status, stdout, stderr } = command.output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&stdout), "");
        let left: Vec<_> = fs::read_dir(self.root.join("work")).expect("it is there").collect();
        assert!(left.is_empty(), "{left:?}");
        let text = String::from_utf8(stderr).expect("UTF-8");
        format!("{}\n{}", status.code().expect("it exits"), text.replace(self.root.as_str(), "HOME"))
    }

    /// The directory of a release with a small disk that cannot boot.
    fn image(&self) -> Utf8PathBuf {
        let directory = self.root.join("image");
        fs::create_dir(&directory).expect("made");
        disk::make(&directory.join(DISK), "4593.2.5");
        directory
    }
}

/// A scenario file of the tests.
fn scenario(name: &str) -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(name)
}

/// A directory of the host's programs without those of QEMU.
fn programs_without_qemu(user: &User) -> Utf8PathBuf {
    let directory = user.root.join("bin");
    fs::create_dir(&directory).expect("made");
    for program in fs::read_dir("/usr/bin").expect("there are programs") {
        let program = program.expect("it can be listed");
        let name = program.file_name().into_string().expect("UTF-8");
        if !name.starts_with("qemu") {
            symlink(program.path(), directory.join(name)).expect("made");
        }
    }
    directory
}

#[test]
fn without_qemu_it_says_how_to_get_it() {
    let user = User::new();
    let image = user.image();
    let mut command = user.loadgauge("run --accel tcg hello --image");
    let message = user.fail(command.arg(image).env("PATH", programs_without_qemu(&user)));
    insta::assert_snapshot!(message);
}

#[test]
fn a_broken_scenario_file_is_reported_with_its_line() {
    let user = User::new();
    let file = scenario("broken.toml");
    let message = user.fail(user.loadgauge("run").arg(&file));
    insta::assert_snapshot!(message.replace(file.as_str(), "broken.toml"));
}

#[test]
fn a_pattern_that_selects_nothing_is_reported_with_similar_names() {
    let user = User::new();
    insta::assert_snapshot!("near_a_name", user.fail(&mut user.loadgauge("run helo")));
    insta::assert_snapshot!("near_a_tag", user.fail(&mut user.loadgauge("list tag:dokcer")));
    insta::assert_snapshot!("near_nothing", user.fail(&mut user.loadgauge("plan xyzzy")));
}

#[test]
fn a_wrong_regular_expression_is_a_usage_error() {
    let user = User::new();
    insta::assert_snapshot!(user.fail(&mut user.loadgauge("run docker-(")));
}

#[test]
fn an_extension_or_scenario_that_does_not_exist_is_told_before_an_image_is_looked_for() {
    let user = User::new();
    for (arguments, status, message) in [
        ("try ./no.raw", 2, "error: there is no file `./no.raw`"),
        ("try helo", 2, "error: there is no recipe `helo`"),
        ("try hello --scenario docker.*", 2, "error: `docker.*` selects several scenarios"),
        ("try hello --scenario xyzzy", 4, "error: `xyzzy` selects no scenario"),
        ("try --scenarios /nowhere hello", 2, "error: cannot list `/nowhere`"),
        ("boot --sysext ./no.raw", 2, "error: there is no file `./no.raw`"),
    ] {
        let found = user.fail(&mut user.loadgauge(arguments));
        assert!(found.starts_with(&format!("{status}\n{message}")), "{arguments}: {found}");
    }
}

/// The plan of a scenario that does not run has the exit status of its run.
#[test]
fn a_plan_of_nothing_has_the_status_of_a_run_of_nothing() {
    let user = User::new();
    let image = user.image();
    fs::create_dir(user.root.join("empty")).expect("made");
    let arguments = format!("plan --accel tcg --scenarios {} --image {image}", user.root.join("empty"));
    assert_eq!(user.loadgauge(&arguments).output().expect("it runs").status.code(), Some(4));
}

#[test]
fn without_an_image_it_says_how_to_get_one() {
    let user = User::new();
    insta::assert_snapshot!(user.fail(&mut user.loadgauge("run")));
}

#[test]
fn a_release_without_an_image_is_reported_with_a_hint() {
    let user = User::new();
    for release in ["alpha-3654", "9999.0.0"] {
        let message = user.fail(&mut user.loadgauge(&format!("image inspect {release}")));
        let expected = format!(
            "3\nerror: no image of release `{release}` was built on this host\nhint: build a stand-in"
        );
        assert!(message.starts_with(&expected), "{message}");
    }
}

#[test]
fn a_run_without_events_cannot_be_reported() {
    let user = User::new();
    fs::create_dir(user.root.join("run")).expect("made");
    insta::assert_snapshot!(user.fail(user.loadgauge("report").arg(user.root.join("run"))));
}

#[test]
fn the_readme_lists_every_environment_variable() {
    let readme = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).expect("the README");
    let section = readme.split("## Environment variables\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut listed: Vec<&str> = rows.collect();
    let mut all = environment::ALL.to_vec();
    listed.sort_unstable();
    all.sort_unstable();
    assert_eq!(listed, all);
}

#[test]
fn the_help_lists_every_exit_status() {
    let user = User::new();
    let help = user.print("--help");
    let (_, table) = help.split_once("Exit status:\n").expect("the table");
    let statuses: Vec<&str> = table.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(statuses, ["0", "1", "2", "3", "4", "70", "130"]);
}

#[test]
fn the_relay_prints_nothing_to_the_guest() {
    let user = User::new();
    assert_eq!(user.fail(user.loadgauge("relay").arg(user.root.join("nobody"))), "70\n");
}

#[test]
fn the_list_is_the_same_as_text_and_as_json() {
    let user = User::new();
    let text = user.print("list");
    let lines: Value = serde_json::from_str(&user.print("list --format json")).expect("JSON");
    let lines = lines.as_array().expect("a list");
    assert!(lines.len() > 3, "{lines:?}");
    assert_eq!(text.lines().count(), lines.len());
    for (line, object) in text.lines().zip(lines) {
        let field = |name: &str| object[name].as_str().expect("a text");
        let words: Vec<&str> = line.splitn(2, "  ").map(str::trim).collect();
        assert_eq!(words, [field("name"), field("summary")]);
        assert!(Path::new(field("file")).is_file(), "{line}");
    }
    let tagged: Value = serde_json::from_str(&user.print("list --format json tag:formats")).expect("JSON");
    assert_eq!(tagged.as_array().map(Vec::len), Some(1));
    assert_eq!(tagged[0]["name"], "hello");
}

#[test]
fn a_plan_describes_machines_and_starts_none() {
    let user = User::new();
    let image = user.image();
    let before = fs::read(image.join(DISK)).expect("the disk");
    let plan = user.print(&format!("plan --accel tcg --format json --image {image} hello"));
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    assert_eq!(plan["image"]["version"], "4593.2.5");
    assert_eq!(plan["skipped"], json!([]));
    assert_eq!(plan["scenarios"].as_array().map(Vec::len), Some(1));
    let machine = &plan["scenarios"][0]["machines"][0];
    let command: Vec<&str> =
        machine["command"].as_array().expect("arguments").iter().filter_map(Value::as_str).collect();
    assert!(command.windows(2).any(|pair| pair == ["-accel", "tcg,thread=multi"]), "{command:?}");
    assert!(command.iter().any(|argument| argument.contains("opt/org.flatcar-linux/config")), "{command:?}");
    assert!(machine["ignition"]["ignition"]["version"].is_string(), "{machine}");
    assert_eq!(machine["extensions"].as_array().map(Vec::len), Some(6));
    let text = user.print(&format!("plan --accel tcg --image {image} hello"));
    assert!(text.contains("an image of the tests") && text.contains("hello-squashfs"), "{text}");
    let left = fs::read_dir(user.root.join("work")).expect("it is there").count();
    assert_eq!(left, 0, "a plan writes no file");
    assert!(fs::read(image.join(DISK)).expect("the disk") == before, "a plan does not change the disk");
}

#[test]
fn an_image_is_described_from_its_disk() {
    let user = User::new();
    let image = user.image();
    let page = user.print(&format!("image inspect {image}"));
    insta::assert_snapshot!(without_random_values(&page, &user));
    let known: Value =
        serde_json::from_str(&user.print(&format!("image inspect --format json {}", image.join(DISK))))
            .expect("JSON");
    assert_eq!(known["disk"], image.join(DISK).as_str());
    assert_eq!((&known["era"], &known["systemd"]), (&json!("sysext"), &json!(257)));
    assert_eq!(known["partitions"].as_array().map(Vec::len), Some(3));
    // /usr has no dm-verity hash tree.
    let output = user.loadgauge(&format!("image inspect --verify {image}")).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no hash tree"));
}

#[test]
fn a_file_that_contradicts_the_disk_is_a_warning_and_the_disk_wins() {
    let user = User::new();
    let image = user.image();
    fs::write(image.join("version.txt"), "FLATCAR_VERSION=3654.0.0\n").expect("written");
    let output = user.loadgauge(&format!("plan --accel tcg --format json --image {image} hello")).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(plan["image"]["version"], "4593.2.5");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("`version.txt` names the version 3654.0.0, but os-release on the disk 4593.2.5"),
        "{message}"
    );
}

#[test]
fn cached_data_of_images_is_listed_and_pruned() {
    let user = User::new();
    let image = user.image();
    let disk = image.join(DISK);
    let packed =
        std::process::Command::new("bzip2").args(["-1", disk.as_str()]).status().expect("bzip2 runs");
    assert!(packed.success());
    let message = |line: &str| {
        let output = user.loadgauge(line).output().expect("it runs");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"".as_slice()), "{output:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    assert_eq!(message("image prune"), "removed nothing\n");
    user.print(&format!("image inspect {image}"));
    let listed = message("image list");
    assert!(listed.contains("cached data of other images: 1 unpacked disk ("), "{listed}");
    let kept = message("image prune --unused-for 1h");
    assert!(kept.starts_with("removed nothing\nkept 1 unpacked disk ("), "{kept}");
    assert!(message("image prune --keep 1TiB").starts_with("removed nothing\n"));
    let removed = message("image prune");
    assert!(removed.starts_with("removed 1 unpacked disk (") && !removed.contains("kept"), "{removed}");
    let left = user.root.join("cache/unpacked").read_dir_utf8().expect("listed").count();
    assert_eq!(left, 0);
    user.print(&format!("image inspect {image}"));
}

/// A page with the random values of the disk replaced.
fn without_random_values(page: &str, user: &User) -> String {
    let is_hexadecimal = |word: &str| word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let line = |line: &str| {
        line.split(' ')
            .map(|word| match word.len() {
                64 if is_hexadecimal(word) => "DIGEST",
                36 if is_hexadecimal(word) && !line.contains("USR-") && !line.contains("GUID") => "GUID",
                _ => word,
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let text: Vec<String> = page.lines().map(line).collect();
    text.join("\n").replace(user.root.as_str(), "HOME")
}

#[test]
fn ignition_accepts_the_printed_config() {
    let oracle = std::env::var_os("LOADGAUGE_IGNITION_VALIDATE").unwrap_or("ignition-validate".into());
    let user = User::new();
    let image = user.image();
    for (scenario, expected) in [("hello", "hello-squashfs"), ("two-machines --machine client", "/etc/hosts")]
    {
        let config = user.print(&format!("ignition --image {image} {scenario}"));
        assert!(config.contains(expected), "{config}");
        let judge = || Command::new(&oracle);
        let verdict = judge().arg("-").write_stdin(config.clone()).output().expect(
            "ignition-validate runs: `ignition/tests/fetch-oracle.sh DIRECTORY` gets it, LOADGAUGE_IGNITION_VALIDATE names it",
        );
        assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stderr));
        let wrong = config.replacen("\"path\": \"/", "\"path\": \"", 1);
        assert_ne!(wrong, config);
        judge().arg("-").write_stdin(wrong).assert().failure();
    }
}

#[test]
fn a_machine_of_several_must_be_chosen() {
    let user = User::new();
    let image = user.image();
    let fail =
        |arguments: &str| user.fail(&mut user.loadgauge(&format!("ignition --image {image} {arguments}")));
    insta::assert_snapshot!("several_machines", fail("two-machines"));
    insta::assert_snapshot!("no_such_machine", fail("two-machines --machine third"));
    insta::assert_snapshot!("no_name", fail("hello --machine server"));
}

#[test]
fn an_extension_is_built_in_each_format_with_the_same_bytes() {
    let user = User::new();
    let image = user.image();
    // The magic numbers of the formats, with their offsets.
    let magics: [(&str, usize, &[u8]); 5] = [
        ("squashfs", 0, b"hsqs"),
        ("erofs", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
        ("ext4", 1080, &[0x53, 0xef]),
        ("btrfs", 0x1_0040, b"_BHRfS_M"),
        ("ddi", 512, b"EFI PART"),
    ];
    let build = |format: &str| {
        let line =
            format!("build hello --format {format} --check-reproducible --output {format} --image {image}");
        user.root.join("work").join(user.print(&line).trim_end())
    };
    for (format, offset, magic) in magics {
        let path = build(format);
        assert_eq!(path, user.root.join("work").join(format).join("hello.raw"));
        let bytes = fs::read(&path).expect("an image");
        assert_eq!(&bytes[offset..offset + magic.len()], magic, "{format}");
    }
    let release = build("directory").join("usr/lib/extension-release.d/extension-release.hello");
    let release = fs::read_to_string(release).expect("the extension-release file");
    let release = OsRelease::parse(&release).expect("fields");
    assert_eq!((release.get("ID"), release.get("SYSEXT_LEVEL")), (Some("flatcar"), Some("1.0")));
}

/// Writes a recipe and a tree with names whose order depends on the locale, and with links to `..`.
fn write_tree(user: &User, is_reversed: bool) {
    let tree = user.root.join("work/tree/usr/share/probe");
    let numbers = (0..60).map(|number| format!("{number}"));
    let names = ["a-b", "a_b", "aB", "Ab", "é", "z"].map(str::to_owned);
    let mut names: Vec<String> = numbers.chain(names).collect();
    if is_reversed {
        names.reverse();
    }
    for directory in ["one", "two"] {
        let directory = tree.join(directory);
        fs::create_dir_all(&directory).expect("made");
        for name in &names {
            if name.ends_with('1') {
                symlink(format!("../../{name}"), directory.join(name)).expect("linked");
            } else {
                fs::write(directory.join(name), name).expect("written");
            }
        }
    }
    fs::write(user.root.join("work/probe.toml"), "name = \"probe\"\n[[tree]]\nsource = \"tree\"\n")
        .expect("written");
}

/// The digests of the extension of that recipe in every format.
fn build_tree(user: &User, image: &Utf8Path, prefix: &[&str], environment: &[(&str, &str)]) -> String {
    let mut sums = String::new();
    for format in ["directory", "squashfs", "erofs", "ext4", "btrfs", "ddi"] {
        let line = format!("build ./probe.toml --format {format} --output {format} --image {image}");
        let mut command = Command::new(prefix[0]);
        command.args(&prefix[1..]).arg(env!("CARGO_BIN_EXE_loadgauge")).args(line.split(' '));
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("HOME", &user.root).env(environment::CACHE, user.root.join("cache"));
        command.current_dir(user.root.join("work")).envs(environment.iter().copied());
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        // SHA256SUMS lists the image, where it is one file, and its description.
        sums += &fs::read_to_string(user.root.join("work").join(format).join("SHA256SUMS")).expect("sums");
    }
    sums
}

#[test]
fn builds_do_not_depend_on_user_place_or_order_of_files() {
    let (one, other) = (User::new(), User::new());
    let image = one.image();
    write_tree(&one, false);
    write_tree(&other, true);
    let first = build_tree(&one, &image, &["sh", "-c", "umask 022; exec \"$@\"", "sh"], &[("LC_ALL", "C")]);
    let second = if rustix::process::geteuid().is_root() {
        for user in [&one, &other] {
            fs::set_permissions(&user.root, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .expect("set");
        }
        let owner = Command::new("chown").args(["-R", "65534:65534"]).arg(&other.root).output();
        assert!(owner.expect("it runs").status.success());
        "umask 077; exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\""
    } else {
        "umask 077; exec \"$@\""
    };
    let environment = [
        ("LC_ALL", "de_DE.UTF-8"),
        ("TZ", "Asia/Tokyo"),
        ("TMPDIR", other.root.as_str()),
        ("TAR_OPTIONS", "--owner=7 --mode=0700"),
        ("USER", "somebody"),
    ];
    let second = build_tree(&other, &image, &["sh", "-c", second, "sh"], &environment);
    assert_eq!(first, second);
    assert!(first.contains("  probe.raw\n"), "{first}");
}
