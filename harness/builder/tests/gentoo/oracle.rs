// SPDX-License-Identifier: Apache-2.0
//! The real Portage, in a root of its own.
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

/// Where the scripts and settings lie.
pub(crate) fn files() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gentoo")
}

/// Where Portage is installed.
///
/// # Panics
/// Nobody says where.
pub(crate) fn portage() -> Utf8PathBuf {
    let named = std::env::var("LOADGAUGE_PORTAGE").ok();
    let directory = named.map(Utf8PathBuf::from).expect(
        "no Portage: run `harness/builder/tests/gentoo/fetch-portage.sh DIRECTORY`, and set LOADGAUGE_PORTAGE=DIRECTORY",
    );
    directory.canonicalize_utf8().unwrap_or_else(|error| panic!("LOADGAUGE_PORTAGE={directory}: {error}"))
}

/// A directory with a repository of ebuilds and Portage's settings, in which its programs run.
pub(crate) struct Workplace {
    directory: Utf8PathBuf,
    _scratch: Option<tempfile::TempDir>,
}

impl Workplace {
    /// One that goes away with its owner.
    pub(crate) fn new() -> Self {
        let scratch = tempfile::Builder::new().prefix("loadgauge-portage-").tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8").to_owned();
        Self::with(directory, Some(scratch))
    }

    /// One that stays, in an empty directory.
    pub(crate) fn at(directory: &Utf8Path) -> Self {
        Self::with(directory.to_owned(), None)
    }

    /// The one that is in a directory from before.
    pub(crate) fn found(directory: &Utf8Path) -> Self {
        Self { directory: directory.to_owned(), _scratch: None }
    }

    fn with(directory: Utf8PathBuf, scratch: Option<tempfile::TempDir>) -> Self {
        let workplace = Self { directory, _scratch: scratch };
        let (settings, repository) = (workplace.path("etc-portage"), workplace.path("repository"));
        fs::create_dir_all(&settings).expect("made");
        copy(&files().join("repository"), &repository);
        copy(&files().join("portage"), &settings);
        let repositories = format!(
            "[DEFAULT]\nmain-repo = loadgauge\n[loadgauge]\nlocation = {repository}\nauto-sync = no\n"
        );
        fs::write(settings.join("repos.conf"), repositories).expect("written");
        symlink(repository.join("profiles/test"), settings.join("make.profile")).expect("linked");
        workplace
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

/// A process that answers questions about Portage.
pub(crate) struct Oracle {
    pub(crate) workplace: Workplace,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    pub(crate) fn start() -> Self {
        let workplace = Workplace::new();
        let mut command = workplace.command("python3");
        command.arg(files().join("oracle.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let questions = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { workplace, child, questions, answers }
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
        // It is in a process namespace of its own, whose end ends all in it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
