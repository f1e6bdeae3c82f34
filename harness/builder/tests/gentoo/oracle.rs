// SPDX-License-Identifier: Apache-2.0
//! Portage, in its own root directory.
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

/// The directory of the scripts and settings.
pub(crate) fn files() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gentoo")
}

/// The directory where Portage is installed.
///
/// # Panics
/// `LOADGAUGE_PORTAGE` is not set.
pub(crate) fn portage() -> Utf8PathBuf {
    let named = std::env::var("LOADGAUGE_PORTAGE").ok();
    let directory = named.map(Utf8PathBuf::from).expect(
        "no Portage: run `harness/builder/tests/gentoo/fetch-portage.sh DIRECTORY`, and set LOADGAUGE_PORTAGE=DIRECTORY",
    );
    directory.canonicalize_utf8().unwrap_or_else(|error| panic!("LOADGAUGE_PORTAGE={directory}: {error}"))
}

/// A directory with a repository of ebuilds and Portage's settings, where its programs run.
pub(crate) struct PortageRoot {
    directory: Utf8PathBuf,
    _scratch: Option<tempfile::TempDir>,
}

impl PortageRoot {
    /// A temporary root.
    pub(crate) fn new() -> Self {
        let scratch = tempfile::Builder::new().prefix("loadgauge-portage-").tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8").to_owned();
        Self::with(directory, Some(scratch))
    }

    /// A permanent root in an empty directory.
    pub(crate) fn at(directory: &Utf8Path) -> Self {
        Self::with(directory.to_owned(), None)
    }

    /// The root that an earlier run made.
    pub(crate) fn existing(directory: &Utf8Path) -> Self {
        Self { directory: directory.to_owned(), _scratch: None }
    }

    fn with(directory: Utf8PathBuf, scratch: Option<tempfile::TempDir>) -> Self {
        let root = Self { directory, _scratch: scratch };
        let (settings, repository) = (root.path("etc-portage"), root.path("repository"));
        fs::create_dir_all(&settings).expect("made");
        copy(&files().join("repository"), &repository);
        copy(&files().join("portage"), &settings);
        let repositories = format!(
            "[DEFAULT]\nmain-repo = loadgauge\n[loadgauge]\nlocation = {repository}\nauto-sync = no\n"
        );
        fs::write(settings.join("repos.conf"), repositories).expect("written");
        symlink(repository.join("profiles/test"), settings.join("make.profile")).expect("linked");
        root
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        self.directory.join(name)
    }

    /// A command that runs in the root.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(files().join("in-root.sh"));
        command.arg(portage()).arg(self.path("")).arg(program);
        command
    }
}

/// Copies a directory.
pub(crate) fn copy(from: &Utf8Path, to: &Utf8Path) {
    let status = Command::new("cp").args(["-rT", from.as_str(), to.as_str()]).status().expect("cp runs");
    assert!(status.success());
}

/// A process that answers questions with Portage.
pub(crate) struct Oracle {
    pub(crate) root: PortageRoot,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    pub(crate) fn start() -> Self {
        let root = PortageRoot::new();
        let mut command = root.command("python3");
        command.arg(files().join("oracle.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let questions = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { root, child, questions, answers }
    }

    pub(crate) fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.questions, "{question}").expect("it reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it writes");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: `{answer}`"))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // It is the first process of its PID namespace: its children are killed with it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
