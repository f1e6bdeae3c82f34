// SPDX-License-Identifier: Apache-2.0
//! The command as a user meets it: exit status, messages, and what is printed. No guest is booted.
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_images::OsRelease;
use serde_json::{Value, json};

#[path = "../../images/tests/disk/mod.rs"]
mod disk;

/// The disk in the directory of a release.
const DISK: &str = "flatcar_production_image.bin";

/// A user with a home, a cache and a working directory of their own, and nothing in the environment
/// of who runs the tests.
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
        command.env("HOME", &self.root).env("LOADGAUGE_CACHE", self.root.join("cache"));
        command.current_dir(self.root.join("work")).args(arguments.split(' '));
        command
    }

    /// What a command printed on standard output; it has to pass.
    fn print(&self, arguments: &str) -> String {
        let output = self.loadgauge(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The status and the message of a command that fails. It prints nothing a program could take for
    /// an answer, and leaves nothing behind where it was started.
    fn fail(&self, command: &mut Command) -> String {
        let Output { status, stdout, stderr } = command.output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&stdout), "");
        let left: Vec<_> = fs::read_dir(self.root.join("work")).expect("it is there").collect();
        assert!(left.is_empty(), "{left:?}");
        let text = String::from_utf8(stderr).expect("UTF-8");
        format!("{}\n{}", status.code().expect("it exits"), text.replace(self.root.as_str(), "HOME"))
    }

    /// The directory of a release with a small disk, which is never booted.
    fn image(&self) -> Utf8PathBuf {
        let directory = self.root.join("image");
        fs::create_dir(&directory).expect("made");
        disk::make(&directory.join(DISK), "4593.2.5");
        directory
    }
}

/// A scenario that comes with the tests.
fn scenario(name: &str) -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(name)
}

/// The host's programs without QEMU's.
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
fn a_broken_scenario_file_is_told_with_its_line() {
    let user = User::new();
    let file = scenario("broken.toml");
    let message = user.fail(user.loadgauge("run").arg(&file));
    insta::assert_snapshot!(message.replace(file.as_str(), "broken.toml"));
}

#[test]
fn what_selects_nothing_is_told_with_what_there_is() {
    let user = User::new();
    insta::assert_snapshot!("near_a_name", user.fail(&mut user.loadgauge("run helo")));
    insta::assert_snapshot!("near_a_tag", user.fail(&mut user.loadgauge("list tag:dokcer")));
    insta::assert_snapshot!("near_nothing", user.fail(&mut user.loadgauge("plan xyzzy")));
}

#[test]
fn a_bad_regular_expression_is_a_mistake_in_usage() {
    let user = User::new();
    insta::assert_snapshot!(user.fail(&mut user.loadgauge("run docker-(")));
}

#[test]
fn without_an_image_it_says_how_to_get_one() {
    let user = User::new();
    insta::assert_snapshot!(user.fail(&mut user.loadgauge("run")));
}

#[test]
fn a_release_that_was_not_made_is_told_with_what_to_do() {
    let user = User::new();
    for release in ["alpha-3654", "9999.0.0"] {
        let message = user.fail(&mut user.loadgauge(&format!("image inspect {release}")));
        let expected =
            format!("3\nerror: no image of release {release} was made here\nhint: make a stand-in");
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
fn the_relay_says_nothing_to_the_guest() {
    let user = User::new();
    assert_eq!(user.fail(user.loadgauge("relay").arg(user.root.join("nobody"))), "70\n");
}

#[test]
fn the_list_is_for_people_and_programs() {
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
fn a_plan_tells_the_machine_and_starts_none() {
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
    assert_eq!(left, 0, "a plan leaves nothing where it was started");
    assert!(fs::read(image.join(DISK)).expect("the disk") == before, "a plan changes no disk");
}

#[test]
fn an_image_is_told_of_by_its_disk() {
    let user = User::new();
    let image = user.image();
    let page = user.print(&format!("image inspect {image}"));
    insta::assert_snapshot!(without_chance(&page, &user));
    let known: Value =
        serde_json::from_str(&user.print(&format!("image inspect --format json {}", image.join(DISK))))
            .expect("JSON");
    assert_eq!(known["disk"], image.join(DISK).as_str());
    assert_eq!((&known["era"], &known["systemd"]), (&json!("sysext"), &json!(257)));
    assert_eq!(known["partitions"].as_array().map(Vec::len), Some(3));
    // There is no hash tree that /usr could be verified by.
    let output = user.loadgauge(&format!("image inspect --verify {image}")).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no hash tree"));
}

#[test]
fn what_contradicts_a_disk_is_a_warning_and_its_own_word_counts() {
    let user = User::new();
    let image = user.image();
    fs::write(image.join("version.txt"), "FLATCAR_VERSION=3654.0.0\n").expect("written");
    let output = user.loadgauge(&format!("plan --accel tcg --format json --image {image} hello")).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(plan["image"]["version"], "4593.2.5");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.contains("`version.txt` names the version 3654.0.0, but os-release on the disk 4593.2.5"),
        "{words}"
    );
}

#[test]
fn what_is_kept_of_images_is_counted_and_pruned() {
    let user = User::new();
    let image = user.image();
    let disk = image.join(DISK);
    let packed =
        std::process::Command::new("bzip2").args(["-1", disk.as_str()]).status().expect("bzip2 runs");
    assert!(packed.success());
    let says = |line: &str| {
        let output = user.loadgauge(line).output().expect("it runs");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"".as_slice()), "{output:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    assert_eq!(says("image prune"), "removed nothing\n");
    user.print(&format!("image inspect {image}"));
    let listed = says("image list");
    assert!(listed.contains("kept of images besides: 1 unpacked disk ("), "{listed}");
    let kept = says("image prune --unused-for 1h");
    assert!(kept.starts_with("removed nothing\nkept 1 unpacked disk ("), "{kept}");
    assert!(says("image prune --keep 1TiB").starts_with("removed nothing\n"));
    let removed = says("image prune");
    assert!(removed.starts_with("removed 1 unpacked disk (") && !removed.contains("kept"), "{removed}");
    let left = user.root.join("cache/unpacked").read_dir_utf8().expect("listed").count();
    assert_eq!(left, 0);
    user.print(&format!("image inspect {image}"));
}

/// A page without what another disk of the same kind has otherwise.
fn without_chance(page: &str, user: &User) -> String {
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
fn ignition_takes_the_config_that_is_printed() {
    let oracle = std::env::var_os("LOADGAUGE_IGNITION_VALIDATE").unwrap_or("ignition-validate".into());
    let user = User::new();
    let image = user.image();
    for (scenario, telling) in [("hello", "hello-squashfs"), ("two-machines --machine client", "/etc/hosts")]
    {
        let config = user.print(&format!("ignition --image {image} {scenario}"));
        assert!(config.contains(telling), "{config}");
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
fn who_asks_for_a_config_says_of_which_machine() {
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
    // Where a file system's image says what it is, after the formats' own documents.
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
    let release = fs::read_to_string(release).expect("the file that says what it is made for");
    let release = OsRelease::parse(&release).expect("fields");
    assert_eq!((release.get("ID"), release.get("SYSEXT_LEVEL")), (Some("flatcar"), Some("1.0")));
}

/// Writes a recipe with a tree of names that sort differently by locale, and links that lead upwards.
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

/// The digests of everything that a user builds from that recipe, in every format.
fn build_tree(user: &User, image: &Utf8Path, prefix: &[&str], environment: &[(&str, &str)]) -> String {
    let mut sums = String::new();
    for format in ["directory", "squashfs", "erofs", "ext4", "btrfs", "ddi"] {
        let line = format!("build ./probe.toml --format {format} --output {format} --image {image}");
        let mut command = Command::new(prefix[0]);
        command.args(&prefix[1..]).arg(env!("CARGO_BIN_EXE_loadgauge")).args(line.split(' '));
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("HOME", &user.root).env("LOADGAUGE_CACHE", user.root.join("cache"));
        command.current_dir(user.root.join("work")).envs(environment.iter().copied());
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        // SHA256SUMS has the image, where it is one file, and all that is written about it.
        sums += &fs::read_to_string(user.root.join("work").join(format).join("SHA256SUMS")).expect("sums");
    }
    sums
}

#[test]
fn neither_who_builds_nor_where_nor_the_order_of_files_changes_a_byte() {
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
