// SPDX-License-Identifier: Apache-2.0
use loadgauge_images::Architecture;
use serde::Deserialize;

use crate::guest::Output;

use super::container::{IMAGE, evaluate_echo, image, nonce};
use super::one_or_many::OneOrMany;
use super::recorder::{CheckError, Recorder, describe_failure, listed};
use super::run::User;
use super::{Assertions, Text};

/// Docker's engine: `docker = { driver = "overlay2", cgroup-version = "2", run = true }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DockerCheck {
    /// expected storage driver, or a list of alternatives: `overlay2` up to Docker 28, and `overlayfs` with
    /// the containerd image store, the default since Docker 29
    pub driver: Option<OneOrMany>,
    /// `1` or `2`
    pub cgroup_version: Option<String>,
    /// `systemd` or `cgroupfs`
    pub cgroup_driver: Option<String>,
    /// condition for the version of the engine
    pub version: Option<Text>,
    /// whether to load an image and run a container, without a network
    #[serde(default)]
    pub run: bool,
    /// user that runs the client
    #[serde(default)]
    pub user: User,
}

/// The fields of `docker info` that are checked. The client prints them even if it cannot connect to the
/// engine, with the reason in `ServerErrors`; older clients then end with status 0.
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
    /// A description in one line.
    pub fn summary(&self) -> String {
        let mut claims = Vec::new();
        claims.extend(self.version.iter().map(|rule| format!("version {}", rule.summary())));
        claims.extend(self.driver.iter().map(|driver| format!("driver {}", listed(driver.as_slice()))));
        claims.extend(self.cgroup_version.iter().map(|version| format!("cgroup version {version}")));
        claims.extend(self.cgroup_driver.iter().map(|driver| format!("cgroup driver {driver}")));
        claims.extend(self.run.then(|| "runs a container".to_owned()));
        if claims.is_empty() { "Docker answers".to_owned() } else { format!("Docker: {}", claims.join(", ")) }
    }

    pub(super) async fn execute(
        &self,
        recorder: &mut Recorder<'_>,
        architecture: Architecture,
    ) -> Result<Assertions, CheckError> {
        // The engines of the oldest releases do not support `--format json`.
        let output = recorder.run(self.user.command("docker info --format '{{json .}}'")).await?;
        let assertions = match info(&output).map_err(CheckError::Unreadable)? {
            Ok(info) => self.evaluate(&info),
            Err(assertions) => return Ok(assertions),
        };
        if !self.run || !assertions.all_hold() {
            return Ok(assertions);
        }
        let mut assertions = assertions;
        assertions.extend(self.run_container(recorder, architecture).await?);
        Ok(assertions)
    }

    async fn run_container(
        &self,
        recorder: &mut Recorder<'_>,
        architecture: Architecture,
    ) -> Result<Assertions, CheckError> {
        let archive = image(architecture)?;
        let load = recorder.run(self.user.command("docker load").with_input(archive)).await?;
        if !load.exit.success() {
            return Ok(Assertions::failed("Docker loads an image from an archive", describe_failure(&load)));
        }
        let nonce = nonce(&load);
        let image = IMAGE.trim_start_matches("docker.io/");
        let line = format!("docker run --rm --network none {image} {nonce}");
        let run = recorder.run(self.user.command(&line)).await?;
        let assertions = evaluate_echo("Docker runs a container that prints its argument", &nonce, &run);
        // Removed, so that every check of the guest starts without the image.
        let clean = recorder.require(self.user.command(&format!("docker image rm --force {image}"))).await;
        if assertions.all_hold() {
            clean?;
        }
        Ok(assertions)
    }

    fn evaluate(&self, info: &Info) -> Assertions {
        let mut assertions = Assertions::default();
        assertions.pass(format!("Docker Engine {} answers", info.server_version));
        if let Some(drivers) = &self.driver {
            let drivers = drivers.as_slice();
            let found = (!drivers.contains(&info.driver)).then(|| format!("its driver is `{}`", info.driver));
            assertions.assert(format!("the storage driver of Docker is one of {}", listed(drivers)), found);
        }
        for (what, expected, found) in [
            ("cgroup version", &self.cgroup_version, &info.cgroup_version),
            ("cgroup driver", &self.cgroup_driver, &info.cgroup_driver),
        ] {
            if let Some(expected) = expected {
                let found = (expected != found).then(|| format!("its {what} is `{found}`"));
                assertions.assert(format!("the {what} of Docker is `{expected}`"), found);
            }
        }
        if let Some(rule) = &self.version {
            assertions.extend(rule.evaluate("the version of Docker", info.server_version.as_bytes()));
        }
        assertions
    }
}

/// Reads `docker info`. The inner error is the failed claim that the engine answers.
fn info(output: &Output) -> Result<Result<Info, Assertions>, String> {
    const CLAIM: &str = "Docker Engine answers";
    let text = output.text();
    let info = serde_json::from_str::<Info>(text.trim());
    let mut assertions = match info {
        Ok(info) if !info.server_errors.is_empty() => {
            Assertions::failed(CLAIM, info.server_errors.join("\n"))
        }
        _ if !output.exit.success() => Assertions::failed(CLAIM, describe_failure(output)),
        Ok(info) if info.server_version.is_empty() => {
            Assertions::failed(CLAIM, "`docker info` has no version of the engine")
        }
        Ok(info) => return Ok(Ok(info)),
        Err(error) => return Err(format!("`docker info` printed no JSON: {error}")),
    };
    let found = assertions.found();
    if found.contains("permission denied") {
        assertions.suggest("add the user to the group `docker`, or set `user = \"root\"`");
    } else if found.contains("not found") {
        assertions.suggest("check that the extension with Docker is merged: the guest has no `docker`");
    } else {
        assertions
            .suggest("check `docker.socket`, `docker.service` and `containerd.service` with a `unit` step");
    }
    Ok(Err(assertions))
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

    /// The output of an engine 26.1.5, shortened.
    const INFO: &str = r#"{"ID":"5d","Containers":0,"Driver":"overlay2","DriverStatus":[["Backing Filesystem","extfs"]],
        "CgroupDriver":"systemd","CgroupVersion":"2","ServerVersion":"26.1.5+dfsg1","ClientInfo":{"Version":"26.1.5"}}"#;

    fn check(toml: &str) -> DockerCheck {
        toml::from_str(toml).expect("a check")
    }

    #[test]
    fn the_properties_of_the_engine_are_checked() {
        let info = info(&output(0, INFO, "")).expect("read").expect("an engine");
        let good = check(
            "driver = [\"overlay2\", \"overlayfs\"]\ncgroup-version = \"2\"\ncgroup-driver = \"systemd\"\n\
             version = { matches = '^26\\.1\\.' }",
        );
        assert!(good.evaluate(&info).all_hold(), "{:?}", good.evaluate(&info));
        for wrong in [
            "driver = \"btrfs\"",
            "cgroup-version = \"1\"",
            "cgroup-driver = \"cgroupfs\"",
            "version = { equals = \"26\" }",
        ] {
            assert!(!check(wrong).evaluate(&info).all_hold(), "{wrong}");
        }
        assert_eq!(check("driver = \"btrfs\"").evaluate(&info).found(), "its driver is `overlay2`");
    }

    #[test]
    fn an_engine_that_does_not_answer_fails() {
        // An old client ends with status 0 and has the reason in the JSON.
        let text =
            r#"{"ServerErrors":["Cannot connect to the Docker daemon at unix:///var/run/docker.sock."]}"#;
        let assertions = info(&output(0, text, "")).expect("read").expect_err("no engine");
        assert!(assertions.found().contains("Cannot connect"));
        let assertions = info(&output(127, "", "bash: docker: command not found\n")).expect("read");
        let finding = assertions.expect_err("no docker").into_finding(Vec::new());
        assert!(finding.hint.expect("a hint").contains("merged"));
        assert!(info(&output(0, "{}", "")).expect("read").is_err(), "no version is no engine");
        info(&output(0, "Client: Docker", "")).expect_err("no JSON");
    }

    proptest! {
        #[test]
        fn any_output_is_read(text in ".{0,60}", status in 0..3) {
            let _unread = info(&output(status, &text, &text));
        }
    }
}
