// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde::Deserialize;

use crate::guest::{Command, Exit, GuestError, Output, Phase};

use super::inquiry::{Halt, Inquiry, complaint, tail};
use super::{Judgement, Text, duration};

/// A command that is run on the guest, and how it must end: `run = "docker ps"`, with the keys
/// below beside it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunCheck {
    /// what the guest's shell gets
    pub run: String,
    /// the exit status; 0 where neither it nor a signal is given
    pub exit: Option<i32>,
    /// the signal that must end it, as `KILL` or `SIGKILL`
    pub signal: Option<String>,
    /// what its standard output must be like
    pub stdout: Option<Text>,
    /// what its standard error must be like
    pub stderr: Option<Text>,
    /// who runs it
    #[serde(default)]
    pub user: User,
    /// what it gets on its standard input
    pub stdin: Option<String>,
    /// how long it may take; 60 s where nothing is said
    #[serde(default, deserialize_with = "duration::optional")]
    pub timeout: Option<Duration>,
}

/// Who runs a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum User {
    /// the user that Flatcar makes and the harness logs in as
    #[default]
    Core,
    /// the superuser, through sudo
    Root,
}

impl User {
    /// The command for a shell line that this user is to run.
    pub(super) fn command(self, line: &str) -> Command {
        match self {
            Self::Core => Command::new(line),
            Self::Root => Command::as_root(line),
        }
    }
}

impl RunCheck {
    /// A command that core runs and that must end with status 0.
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

    /// One line that says what it claims.
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

    pub(super) async fn examine(&self, inquiry: &mut Inquiry<'_>) -> Result<Judgement, Halt> {
        match inquiry.ask(self.command()).await {
            Ok(output) => Ok(self.judge(&output)),
            // The author said how long it may take: this is the guest's failure, not the harness's.
            Err(GuestError::TimedOut { phase: Phase::Transfer, after, partial, .. }) => {
                let said = [&partial.stdout[..], &partial.stderr].concat();
                let said = String::from_utf8_lossy(&said);
                let said = if said.is_empty() { "nothing".to_owned() } else { tail(&said, 10) };
                let mut judgement = Judgement::failure(
                    format!("`{}` ends with {} within {after:?}", one_line(&self.run), self.expected_exit()),
                    format!("it was still running; it had printed: {said}"),
                );
                judgement.advise("give the step a longer `timeout` if the command needs it");
                Ok(judgement)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Judges what the command did.
    pub fn judge(&self, output: &Output) -> Judgement {
        let mut judgement = Judgement::default();
        let expected = self.expected_exit();
        let claim = format!("`{}` ends with {expected}", one_line(&self.run));
        judgement.claim(claim, (output.exit != expected).then(|| complaint(output)));
        match output.exit {
            Exit::Status(127) if expected != output.exit => {
                judgement.advise("status 127: the shell found no such program; is its extension merged?");
            }
            Exit::Status(126) if expected != output.exit => {
                judgement.advise("status 126: found, but not executable; built for another architecture?");
            }
            _ => {}
        }
        if let Some(rule) = &self.stdout {
            judgement.join(rule.judge("stdout", &output.stdout));
        }
        if let Some(rule) = &self.stderr {
            judgement.join(rule.judge("stderr", &output.stderr));
        }
        judgement
    }
}

/// The first line of a script, with a sign where there is more.
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
    fn status_and_both_streams_are_judged() {
        let check = check("run = \"hello\"\nstdout = { equals = \"hello\\n\" }\nstderr = { empty = true }");
        assert!(check.judge(&output(Exit::Status(0), "hello\n", "")).holds());
        assert!(!check.judge(&output(Exit::Status(0), "hello", "")).holds());
        assert!(!check.judge(&output(Exit::Status(0), "hello\n", "oh")).holds());
        assert!(!check.judge(&output(Exit::Signal("SEGV".into()), "hello\n", "")).holds());
        let finding =
            check.judge(&output(Exit::Status(127), "", "sh: hello: not found\n")).finding(Vec::new());
        insta::assert_snapshot!(format!("{}\n--\n{}", finding.expected, finding.found), @r"
        `hello` ends with status 0
        stdout is `hello\n`
        stderr is empty
        --
        status 127: sh: hello: not found
        stdout is empty
        stderr is `sh: hello: not found`
        ");
        assert!(finding.hint.expect("a hint").contains("extension merged"));
    }

    #[test]
    fn another_status_or_a_signal_can_be_asked_for() {
        assert!(check("run = \"x\"\nexit = 3").judge(&output(Exit::Status(3), "", "")).holds());
        let check = check("run = \"x\"\nsignal = \"SIGKILL\"");
        assert!(check.judge(&output(Exit::Signal("KILL".into()), "", "")).holds());
        assert!(!check.judge(&output(Exit::Status(0), "", "")).holds());
        assert_eq!(check.summary(), "`x` ends with signal KILL");
    }

    #[test]
    fn root_goes_through_sudo_and_a_time_is_read() {
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
