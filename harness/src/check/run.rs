// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde::Deserialize;

use crate::guest::{Command, Exit, GuestError, Output, Phase};

use super::recorder::{CheckError, Recorder, describe_failure, tail};
use super::{Assertions, Text, duration};

/// A command and how it must end: `run = "docker ps"`, with the keys below next to it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunCheck {
    /// command line for the guest's shell
    pub run: String,
    /// expected exit status; 0 if neither it nor a signal is set
    pub exit: Option<i32>,
    /// expected signal, such as `KILL` or `SIGKILL`
    pub signal: Option<String>,
    /// condition for standard output
    pub stdout: Option<Text>,
    /// condition for standard error
    pub stderr: Option<Text>,
    /// user that runs the command
    #[serde(default)]
    pub user: User,
    /// standard input of the command
    pub stdin: Option<String>,
    /// time limit; 60 s if it is not set
    #[serde(default, deserialize_with = "duration::optional")]
    pub timeout: Option<Duration>,
}

/// The user that runs a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum User {
    /// Flatcar's user `core`
    #[default]
    Core,
    /// `root`, through sudo
    Root,
}

impl User {
    /// The command that runs a shell line as this user.
    pub(super) fn command(self, line: &str) -> Command {
        match self {
            Self::Core => Command::new(line),
            Self::Root => Command::as_root(line),
        }
    }
}

impl RunCheck {
    /// A command that `core` runs and that must end with status 0.
    pub fn new(run: impl Into<String>) -> Self {
        Self {
            run: run.into(),
            exit: None,
            signal: None,
            stdout: None,
            stderr: None,
            user: User::Core,
            stdin: None,
            timeout: None,
        }
    }

    /// A description in one line.
    pub fn summary(&self) -> String {
        let mut text = format!("`{}`", one_line(&self.run));
        match self.expected_exit() {
            Exit::Status(0) if self.stdout.is_none() && self.stderr.is_none() => text.push_str(" succeeds"),
            Exit::Status(0) => {}
            exit => text.extend([" ends with ".to_owned(), exit.to_string()]),
        }
        for (name, rule) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if let Some(rule) = rule {
                text.extend([": ", name, " ", &rule.summary()]);
            }
        }
        text
    }

    fn expected_exit(&self) -> Exit {
        match &self.signal {
            Some(signal) => Exit::Signal(signal.trim_start_matches("SIG").to_owned()),
            None => Exit::Status(self.exit.unwrap_or(0)),
        }
    }

    fn command(&self) -> Command {
        let command = self.user.command(&self.run).with_input(self.stdin.clone().unwrap_or_default());
        match self.timeout {
            Some(timeout) => command.with_timeout(timeout),
            None => command,
        }
    }

    pub(super) async fn execute(&self, recorder: &mut Recorder<'_>) -> Result<Assertions, CheckError> {
        match recorder.run(self.command()).await {
            Ok(output) => Ok(self.evaluate(&output)),
            // The author set the limit, so the guest failed and not the harness.
            Err(GuestError::TimedOut { phase: Phase::Transfer, after, partial, .. }) => {
                let printed = [&partial.stdout[..], &partial.stderr].concat();
                let printed = String::from_utf8_lossy(&printed);
                let printed = if printed.is_empty() { "nothing".to_owned() } else { tail(&printed, 10) };
                let mut assertions = Assertions::failed(
                    format!("`{}` ends with {} within {after:?}", one_line(&self.run), self.expected_exit()),
                    format!("the command did not end; its output so far: {printed}"),
                );
                assertions.suggest("set a longer `timeout` if the command needs it");
                Ok(assertions)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Evaluates the output of the command.
    pub fn evaluate(&self, output: &Output) -> Assertions {
        let mut assertions = Assertions::default();
        let expected = self.expected_exit();
        let claim = format!("`{}` ends with {expected}", one_line(&self.run));
        assertions.assert(claim, (output.exit != expected).then(|| describe_failure(output)));
        match output.exit {
            Exit::Status(127) if expected != output.exit => {
                assertions.suggest("check that the extension with this program is merged: status 127 means that the shell did not find it");
            }
            Exit::Status(126) if expected != output.exit => {
                assertions.suggest("check the mode and the architecture of the program: status 126 means that it cannot be executed");
            }
            _ => {}
        }
        if let Some(rule) = &self.stdout {
            assertions.extend(rule.evaluate("stdout", &output.stdout));
        }
        if let Some(rule) = &self.stderr {
            assertions.extend(rule.evaluate("stderr", &output.stderr));
        }
        assertions
    }
}

/// The first line of a script, with `...` if there are more.
fn one_line(script: &str) -> String {
    let mut lines = script.trim().lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("{first} ...") } else { first.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str) -> RunCheck {
        toml::from_str(toml).expect("a check")
    }

    fn output(exit: Exit, stdout: &str, stderr: &str) -> Output {
        Output { exit, stdout: stdout.into(), stderr: stderr.into(), duration: Duration::ZERO }
    }

    #[test]
    fn status_and_both_streams_are_checked() {
        let check = check("run = \"hello\"\nstdout = { equals = \"hello\\n\" }\nstderr = { empty = true }");
        assert!(check.evaluate(&output(Exit::Status(0), "hello\n", "")).all_hold());
        assert!(!check.evaluate(&output(Exit::Status(0), "hello", "")).all_hold());
        assert!(!check.evaluate(&output(Exit::Status(0), "hello\n", "oh")).all_hold());
        assert!(!check.evaluate(&output(Exit::Signal("SEGV".into()), "hello\n", "")).all_hold());
        let finding =
            check.evaluate(&output(Exit::Status(127), "", "sh: hello: not found\n")).into_finding(Vec::new());
        insta::assert_snapshot!(format!("{}\n--\n{}", finding.expected, finding.found), @r"
        `hello` ends with status 0
        stdout is `hello\n`
        stderr is empty
        --
        status 127: sh: hello: not found
        stdout is empty
        stderr is `sh: hello: not found`
        ");
        assert!(finding.hint.expect("a hint").contains("merged"));
    }

    #[test]
    fn another_status_or_a_signal_can_be_expected() {
        assert!(check("run = \"x\"\nexit = 3").evaluate(&output(Exit::Status(3), "", "")).all_hold());
        let check = check("run = \"x\"\nsignal = \"SIGKILL\"");
        assert!(check.evaluate(&output(Exit::Signal("KILL".into()), "", "")).all_hold());
        assert!(!check.evaluate(&output(Exit::Status(0), "", "")).all_hold());
        assert_eq!(check.summary(), "`x` ends with signal KILL");
    }

    #[test]
    fn root_uses_sudo_and_a_time_limit_is_read() {
        let check = check("run = \"echo 'a'\"\nuser = \"root\"\ntimeout = \"5s\"\nstdin = \"x\"");
        let command = check.command();
        assert_eq!(command.line, r"sudo -n -- sh -c 'echo '\''a'\'''");
        assert_eq!((command.timeout, command.input), (Duration::from_secs(5), b"x".to_vec()));
        for wrong in ["run = \"x\"\ntimeout = \"soon\"", "run = \"x\"\nuser = \"me\"", "run = \"x\"\nout = 1"]
        {
            toml::from_str::<RunCheck>(wrong).expect_err(wrong);
        }
    }
}
