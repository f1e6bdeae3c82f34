// SPDX-License-Identifier: Apache-2.0
//! A signal in any phase of a command leaves no process, mount, lock or temporary file.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
#[path = "../../images/tests/disk/mod.rs"]
mod disk;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use rustix::process::{Pid, Signal, kill_process};

/// The phases: a name, the program that stands still, and the arguments of loadgauge. A program of the recipe
/// is none of the host's.
const PHASES: &[(&str, &str, &[&str])] = &[
    ("the script of a recipe", "", &["build", "script.toml", "--image", "release"]),
    ("packing", "mksquashfs", &["build", "tree.toml", "--image", "release"]),
    ("trying a recipe", "mksquashfs", &["try", "tree.toml", "--accel", "tcg", "--image", "release"]),
    ("running a scenario", "mksquashfs", &["run", "scenario.toml", "--accel", "tcg", "--image", "release"]),
    ("installing the base of an image", "mmdebstrap", &["image", "build", "--release", "4593.2.0"]),
];

const SIGNALS: [Signal; 5] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::KILL];

/// A process and its children are marked with this variable.
const MARK: &str = "LOADGAUGE_SIGNAL_TEST";
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// A directory with a release, recipes, a scenario, and the private directories of the host's programs.
struct Workplace {
    _scratch: tempfile::TempDir,
    root: Utf8PathBuf,
}

impl Workplace {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(scratch.path().canonicalize().expect("there")).expect("UTF-8");
        for name in ["release", "tree/usr/share", "image/usr/lib/extension-release.d", "bin", "cache", "tmp"]
        {
            fs::create_dir_all(root.join(name)).expect("created");
        }
        disk::make(&root.join("release/flatcar_production_qemu_image.img"), "4593.2.5");
        let write = |name: &str, text: &str| fs::write(root.join(name), text).expect("written");
        write("tree/usr/share/file", "x");
        write("tree.toml", "name = \"tree\"\n[[tree]]\nsource = \"tree\"\n");
        write(
            "script.toml",
            "name = \"script\"\n[[tree]]\nsource = \"tree\"\n[finish]\nscript = \"wait.sh\"\n",
        );
        write("wait.sh", &waiting("sh"));
        write(
            "scenario.toml",
            "summary = \"It is merged\"\n[[sysext]]\nrecipe = \"tree.toml\"\n\
             [[step]]\nmerged = { present = [\"tree\"] }\n",
        );
        Self { _scratch: scratch, root }
    }

    /// Replaces a program by one that stands still, with a child of its own.
    fn still(&self, program: &str) {
        let path = self.root.join("bin").join(program);
        fs::write(&path, waiting(program)).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let path = std::env::var("PATH").expect("PATH");
        // These tests may run with SIGHUP ignored, which loadgauge would respect.
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_loadgauge")]);
        command.env_clear().env("PATH", format!("{}:{path}", self.root.join("bin"))).current_dir(&self.root);
        command.env("HOME", &self.root).env("LOADGAUGE_CACHE", self.root.join("cache"));
        command.env("TMPDIR", self.root.join("tmp")).env(MARK, self.root.as_str());
        command.args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started")
    }

    /// The processes of this workplace that still run.
    fn processes(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.root);
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        all.filter(|process| {
            // The script of a recipe has an environment of its own, and works below the cache.
            let works_here =
                fs::read_link(format!("/proc/{process}/cwd")).is_ok_and(|path| path.starts_with(&self.root));
            let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            works_here || environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .collect()
    }

    /// What a command has left: temporary files, incomplete entries, and mounts.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for entry in walkdir::WalkDir::new(&self.root).into_iter().flatten() {
            let (path, name) = (entry.path().display().to_string(), entry.file_name().to_string_lossy());
            let is_temporary =
                path.contains("/tmp/") && entry.path().parent() == Some(self.root.join("tmp").as_std_path());
            if is_temporary || name.contains(".making-") || name.starts_with("loadgauge-") {
                left.push(path);
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        left.extend(mounts.lines().filter(|line| line.contains(self.root.as_str())).map(str::to_owned));
        left
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(
                Instant::now() < deadline,
                "{what}: processes {:?}, left {:#?}",
                self.processes(),
                self.left()
            );
            std::thread::sleep(PAUSE);
        }
    }
}

/// A script that waits with a child of its own, and answers questions like the real program.
fn waiting(program: &str) -> String {
    let real = which::which(program).map(|path| path.display().to_string()).unwrap_or_default();
    format!(
        "#!/bin/sh\ncase \"$*\" in *-version* | *-help*) exec {real} \"$@\" ;; esac\nsleep 3600 &\nwait\n"
    )
}

/// Whether a process is the child of [`waiting`].
fn is_sleeping(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name == "sleep\n")
}

#[test]
fn a_signal_in_any_phase_leaves_nothing() {
    for (phase, program, arguments) in PHASES {
        let workplace = Workplace::new();
        if !program.is_empty() {
            workplace.still(program);
        }
        for signal in SIGNALS {
            // The handler is the same for all but SIGKILL.
            let twice =
                if signal == Signal::INT || signal == Signal::TERM { &[false, true][..] } else { &[false] };
            for &is_repeated in twice {
                let case = format!("{phase}, {signal:?}, twice: {is_repeated}");
                let mut child = workplace.start(arguments);
                let deadline = Instant::now() + PATIENCE;
                while !workplace.processes().into_iter().any(is_sleeping) {
                    if let Some(status) = child.try_wait().expect("known") {
                        let output = child.wait_with_output().expect("read");
                        panic!("{case}: ended with {status}: {}", String::from_utf8_lossy(&output.stderr));
                    }
                    assert!(Instant::now() < deadline, "{case}: the phase does not begin");
                    std::thread::sleep(PAUSE);
                }
                let process = Pid::from_child(&child);
                kill_process(process, signal).expect("sent");
                if is_repeated {
                    // It may have ended already.
                    let _ = kill_process(process, signal);
                }
                let output = child.wait_with_output().expect("it ends");
                if signal == Signal::KILL {
                    assert_eq!(output.status.signal(), Some(9), "{case}");
                } else {
                    let said = String::from_utf8_lossy(&output.stderr);
                    assert_eq!(output.status.code(), Some(130), "{case}: {said}");
                    assert!(said.contains("interrupted"), "{case}: {said}");
                }
                workplace.wait_until(&case, |workplace| {
                    workplace.processes().is_empty() && workplace.left().is_empty()
                });
            }
        }
    }
}

#[test]
fn what_a_crash_of_the_host_has_left_the_next_command_removes() {
    let workplace = Workplace::new();
    let abandoned = workplace.root.join("cache/sysext/.0123.making-abcdef");
    let scratch = workplace.root.join("tmp/loadgauge-abcdef");
    for directory in [&abandoned, &scratch] {
        fs::create_dir_all(directory).expect("made");
        fs::write(directory.join("file"), "x").expect("written");
    }
    fs::write(scratch.join("lock"), "").expect("written");
    assert_eq!(workplace.left().len(), 2, "{:#?}", workplace.left());
    let output = workplace.start(&["list"]).wait_with_output().expect("it ends");
    assert!(
        workplace.left().is_empty(),
        "{:#?}\n{}",
        workplace.left(),
        String::from_utf8_lossy(&output.stderr)
    );
}
