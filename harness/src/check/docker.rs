// SPDX-License-Identifier: Apache-2.0
use loadgauge_images::Architecture;
use serde::Deserialize;

use crate::guest::Output;

use super::inquiry::{Halt, Inquiry, complaint, listed};
use super::probe::executable;
use super::run::User;
use super::{Judgement, Text, oci};

/// The image that containers are run from, by its full name; Docker leaves out the first part.
pub(super) const IMAGE: &str = "docker.io/loadgauge/probe:latest";

/// Docker's engine: `docker = { driver = "overlay2", cgroup-version = "2", run = true }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DockerCheck {
    /// the storage driver, or several of which it must have one: it is `overlay2` up to Docker 28
    /// and `overlayfs` with the containerd image store, which is the default from 29
    pub driver: Option<OneOrMany>,
    /// `1` or `2`
    pub cgroup_version: Option<String>,
    /// `systemd` or `cgroupfs`
    pub cgroup_driver: Option<String>,
    /// what the engine's version must be like
    pub version: Option<Text>,
    /// whether to load an image, without a network, and run a container
    #[serde(default)]
    pub run: bool,
    /// who asks the engine
    #[serde(default)]
    pub user: User,
}

/// A text or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a text, or a list of texts")]
pub enum OneOrMany {
    /// one
    One(String),
    /// several
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them.
    pub fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }

    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// What of `docker info` is looked at. The client prints it also where the engine cannot be
/// reached, with the reason among the errors; older clients then end with status 0.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Info {
    driver: String,
    cgroup_version: String,
    cgroup_driver: String,
    server_version: String,
    server_errors: Vec<String>,
}

impl DockerCheck {
    /// One line that says what it claims.
    pub fn summary(&self) -> String {
        let mut claims = Vec::new();
        claims.extend(self.version.iter().map(|rule| format!("version {}", rule.summary())));
        claims.extend(self.driver.iter().map(|driver| format!("driver {}", listed(driver.as_slice()))));
        claims.extend(self.cgroup_version.iter().map(|version| format!("cgroup version {version}")));
        claims.extend(self.cgroup_driver.iter().map(|driver| format!("cgroup driver {driver}")));
        claims.extend(self.run.then(|| "runs a container".to_owned()));
        if claims.is_empty() {
            "docker: answers".to_owned()
        } else {
            format!("docker: {}", claims.join(", "))
        }
    }

    pub(super) async fn examine(
        &self,
        inquiry: &mut Inquiry<'_>,
        architecture: Architecture,
    ) -> Result<Judgement, Halt> {
        // `--format json` is younger than the engines of the oldest releases.
        let output = inquiry.ask(self.user.command("docker info --format '{{json .}}'")).await?;
        let judgement = match info(&output).map_err(Halt::Unreadable)? {
            Ok(info) => self.judge(&info),
            Err(judgement) => return Ok(judgement),
        };
        if !self.run || !judgement.holds() {
            return Ok(judgement);
        }
        let mut judgement = judgement;
        judgement.join(self.run_container(inquiry, architecture).await?);
        Ok(judgement)
    }

    async fn run_container(
        &self,
        inquiry: &mut Inquiry<'_>,
        architecture: Architecture,
    ) -> Result<Judgement, Halt> {
        let archive = image(architecture)?;
        let load = inquiry.ask(self.user.command("docker load").with_input(archive)).await?;
        if !load.exit.success() {
            return Ok(Judgement::failure("docker loads an image from an archive", complaint(&load)));
        }
        let nonce = nonce(&load);
        let image = IMAGE.trim_start_matches("docker.io/");
        let line = format!("docker run --rm --network none {image} {nonce}");
        let run = inquiry.ask(self.user.command(&line)).await?;
        let judgement = judge_echo("docker runs a container that echoes its argument", &nonce, &run);
        // What is left behind would make the next check of the same guest easier than the first.
        let clean = inquiry.demand(self.user.command(&format!("docker image rm --force {image}"))).await;
        if judgement.holds() {
            clean?;
        }
        Ok(judgement)
    }

    fn judge(&self, info: &Info) -> Judgement {
        let mut judgement = Judgement::default();
        judgement.hold(format!("docker's engine {} answers", info.server_version));
        if let Some(drivers) = &self.driver {
            let drivers = drivers.as_slice();
            let found = (!drivers.contains(&info.driver)).then(|| format!("its driver is `{}`", info.driver));
            judgement.claim(format!("docker's storage driver is one of {}", listed(drivers)), found);
        }
        for (what, expected, found) in [
            ("cgroup version", &self.cgroup_version, &info.cgroup_version),
            ("cgroup driver", &self.cgroup_driver, &info.cgroup_driver),
        ] {
            if let Some(expected) = expected {
                let found = (expected != found).then(|| format!("its {what} is `{found}`"));
                judgement.claim(format!("docker's {what} is `{expected}`"), found);
            }
        }
        if let Some(rule) = &self.version {
            judgement.join(rule.judge("docker's version", info.server_version.as_bytes()));
        }
        judgement
    }
}

/// Reads `docker info`; a judgement, where there is no engine to speak of.
fn info(output: &Output) -> Result<Result<Info, Judgement>, String> {
    const CLAIM: &str = "docker's engine answers";
    let text = output.text();
    let info = serde_json::from_str::<Info>(text.trim());
    let mut judgement = match info {
        Ok(info) if !info.server_errors.is_empty() => {
            Judgement::failure(CLAIM, info.server_errors.join("\n"))
        }
        _ if !output.exit.success() => Judgement::failure(CLAIM, complaint(output)),
        Ok(info) if info.server_version.is_empty() => {
            Judgement::failure(CLAIM, "`docker info` tells no version of the engine")
        }
        Ok(info) => return Ok(Ok(info)),
        Err(error) => return Err(format!("`docker info` printed no JSON: {error}")),
    };
    let found = judgement.found();
    if found.contains("permission denied") {
        judgement.advise("the user must be in the group `docker`, or give `user = \"root\"`");
    } else if found.contains("not found") {
        judgement.advise("there is no docker program: is the extension that brings it merged?");
    } else {
        judgement.advise("see `docker.socket`, `docker.service` and `containerd.service` with a `unit` step");
    }
    Ok(Err(judgement))
}

/// The image's archive for a guest's architecture.
pub(super) fn image(architecture: Architecture) -> Result<Vec<u8>, Halt> {
    oci::archive(IMAGE, &executable(architecture), architecture)
        .map_err(|error| Halt::Unreadable(format!("the image cannot be written: {error}")))
}

/// A word that no earlier container can have printed: the moment, and how long the guest took.
pub(super) fn nonce(output: &Output) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", since.as_nanos(), output.duration.as_nanos())
}

/// Judges whether a container printed the nonce and nothing else.
pub(super) fn judge_echo(claim: &str, nonce: &str, output: &Output) -> Judgement {
    if !output.exit.success() {
        let mut judgement = Judgement::failure(claim, complaint(output));
        if output.error_text().contains("exec format error") {
            judgement.advise(
                "the image is for the architecture of the harness's image facts; is the guest's another?",
            );
        }
        return judgement;
    }
    let mut judgement = Text::equal_to(format!("{nonce}\n")).judge("its output", &output.stdout);
    if judgement.holds() {
        judgement = Judgement::default();
        judgement.hold(claim);
    }
    judgement
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::guest::Exit;

    fn output(status: i32, stdout: &str, stderr: &str) -> Output {
        Output {
            exit: Exit::Status(status),
            stdout: stdout.into(),
            stderr: stderr.into(),
            duration: Duration::ZERO,
        }
    }

    /// What an engine 26.1.5 prints, shortened to what matters and something that does not.
    const INFO: &str = r#"{"ID":"5d","Containers":0,"Driver":"overlay2","DriverStatus":[["Backing Filesystem","extfs"]],
        "CgroupDriver":"systemd","CgroupVersion":"2","ServerVersion":"26.1.5+dfsg1","ClientInfo":{"Version":"26.1.5"}}"#;

    fn check(toml: &str) -> DockerCheck {
        toml::from_str(toml).expect("a check")
    }

    #[test]
    fn what_the_engine_says_of_itself_is_judged() {
        let info = info(&output(0, INFO, "")).expect("read").expect("an engine");
        let good = check(
            "driver = [\"overlay2\", \"overlayfs\"]\ncgroup-version = \"2\"\ncgroup-driver = \"systemd\"\n\
             version = { matches = '^26\\.1\\.' }",
        );
        assert!(good.judge(&info).holds(), "{:?}", good.judge(&info));
        for wrong in [
            "driver = \"btrfs\"",
            "cgroup-version = \"1\"",
            "cgroup-driver = \"cgroupfs\"",
            "version = { equals = \"26\" }",
        ] {
            assert!(!check(wrong).judge(&info).holds(), "{wrong}");
        }
        assert_eq!(check("driver = \"btrfs\"").judge(&info).found(), "its driver is `overlay2`");
    }

    #[test]
    fn an_engine_that_cannot_be_reached_is_no_engine() {
        // An old client: status 0, and the reason in the JSON.
        let text =
            r#"{"ServerErrors":["Cannot connect to the Docker daemon at unix:///var/run/docker.sock."]}"#;
        let judgement = info(&output(0, text, "")).expect("read").expect_err("no engine");
        assert!(judgement.found().contains("Cannot connect"));
        let judgement = info(&output(127, "", "bash: docker: command not found\n")).expect("read");
        let finding = judgement.expect_err("no docker").finding(Vec::new());
        assert!(finding.hint.expect("a hint").contains("merged"));
        assert!(info(&output(0, "{}", "")).expect("read").is_err(), "no version is no engine");
        info(&output(0, "Client: Docker", "")).expect_err("no JSON");
    }

    #[test]
    fn only_the_nonce_counts_as_an_echo() {
        assert!(judge_echo("it runs", "n1", &output(0, "n1\n", "")).holds());
        assert!(!judge_echo("it runs", "n1", &output(0, "n2\n", "")).holds());
        assert!(!judge_echo("it runs", "n1", &output(0, "", "")).holds());
        assert!(!judge_echo("it runs", "n1", &output(125, "n1\n", "no such image")).holds());
    }

    proptest! {
        #[test]
        fn nothing_a_guest_says_upsets_it(text in ".{0,60}", status in 0..3) {
            let _unread = info(&output(status, &text, &text));
        }
    }
}
