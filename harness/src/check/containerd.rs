// SPDX-License-Identifier: Apache-2.0
use loadgauge_images::Architecture;
use serde::Deserialize;

use crate::guest::{Command, Output};

use super::container::{IMAGE, evaluate_echo, image, nonce};
use super::recorder::{CheckError, Recorder, describe_failure};
use super::{Assertions, Text};

/// A namespace of its own: Docker's is `moby`.
const CTR: &str = "sudo -n ctr --namespace loadgauge";

/// containerd: `containerd = { server-version = { matches = '^v?2\.' }, run = true }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ContainerdCheck {
    /// condition for the version of the client, `ctr`
    pub client_version: Option<Text>,
    /// condition for the version of the daemon
    pub server_version: Option<Text>,
    /// whether to import an image and run a container with `ctr`, without a network
    #[serde(default)]
    pub run: bool,
}

/// The output of `ctr version`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Versions {
    client: String,
    server: String,
}

impl ContainerdCheck {
    /// A description in one line.
    pub fn summary(&self) -> String {
        let mut claims = Vec::new();
        claims.extend(self.client_version.iter().map(|rule| format!("client version {}", rule.summary())));
        claims.extend(self.server_version.iter().map(|rule| format!("server version {}", rule.summary())));
        claims.extend(self.run.then(|| "runs a container".to_owned()));
        if claims.is_empty() {
            return "containerd answers".to_owned();
        }
        format!("containerd: {}", claims.join(", "))
    }

    pub(super) async fn execute(
        &self,
        recorder: &mut Recorder<'_>,
        architecture: Architecture,
    ) -> Result<Assertions, CheckError> {
        let output = recorder.run(Command::new("sudo -n ctr version")).await?;
        if !output.exit.success() {
            return Ok(no_answer(&output));
        }
        let versions = versions(&output.text()).map_err(CheckError::Unreadable)?;
        let mut assertions = self.evaluate(&versions);
        if self.run && assertions.all_hold() {
            assertions.extend(run_container(recorder, architecture).await?);
        }
        Ok(assertions)
    }

    fn evaluate(&self, versions: &Versions) -> Assertions {
        let mut assertions = Assertions::default();
        assertions.pass(format!("containerd {} answers ctr {}", versions.server, versions.client));
        for (name, rule, version) in [
            ("ctr's version", &self.client_version, &versions.client),
            ("containerd's version", &self.server_version, &versions.server),
        ] {
            if let Some(rule) = rule {
                assertions.extend(rule.evaluate(name, version.as_bytes()));
            }
        }
        assertions
    }
}

async fn run_container(
    recorder: &mut Recorder<'_>,
    architecture: Architecture,
) -> Result<Assertions, CheckError> {
    let archive = image(architecture)?;
    let import = Command::new(format!("{CTR} images import -")).with_input(archive);
    let import = recorder.run(import).await?;
    if !import.exit.success() {
        return Ok(Assertions::failed("ctr imports an image from an archive", describe_failure(&import)));
    }
    let nonce = nonce(&import);
    // Unlike Docker, ctr does not prepend the entry point of the image.
    let line = format!("{CTR} run --rm {IMAGE} probe-{nonce} /probe {nonce}");
    let run = recorder.run(Command::new(line)).await?;
    let assertions = evaluate_echo("containerd runs a container that prints its argument", &nonce, &run);
    let clean = recorder.require(Command::new(format!("{CTR} images rm --sync {IMAGE}"))).await;
    if assertions.all_hold() {
        clean?;
    }
    Ok(assertions)
}

fn no_answer(output: &Output) -> Assertions {
    let mut assertions = Assertions::failed("containerd answers", describe_failure(output));
    let found = assertions.found();
    assertions.suggest(if found.contains("not found") {
        "check that the extension with containerd is merged: the guest has no `ctr`"
    } else {
        "check `containerd.service` with a `unit` step"
    });
    assertions
}

/// Reads the sections `Client:` and `Server:` and the version in each.
fn versions(text: &str) -> Result<Versions, String> {
    let mut versions = Versions::default();
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if matches!(line, "Client:" | "Server:") {
            section = line;
        } else if let Some(version) = line.strip_prefix("Version:") {
            match section {
                "Client:" => version.trim().clone_into(&mut versions.client),
                "Server:" => version.trim().clone_into(&mut versions.server),
                _ => {}
            }
        }
    }
    if versions.client.is_empty() || versions.server.is_empty() {
        return Err(format!("`ctr version` does not have both versions: `{}`", text.trim()));
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::guest::Exit;

    const VERSION: &str = "Client:\n  Version:  1.7.24~ds1\n  Revision: 1.7.24~ds1-6+b4\n  Go version: go1.24.4\n\n\
        Server:\n  Version:  2.1.5\n  Revision: fcd43222d6b07379a4be9786bda52438f0dd16a1\n  UUID: 5a0e6a5e\n\
        WARNING: version mismatch\n";

    #[test]
    fn client_and_server_have_versions_of_their_own() {
        let versions = versions(VERSION).expect("both");
        let check: ContainerdCheck = toml::from_str(
            "client-version = { matches = '^1\\.7\\.' }\nserver-version = { equals = \"2.1.5\" }",
        )
        .expect("a check");
        assert!(check.evaluate(&versions).all_hold());
        let check: ContainerdCheck =
            toml::from_str("server-version = { matches = '^1\\.' }").expect("a check");
        assert_eq!(check.evaluate(&versions).found(), "containerd's version is `2.1.5`");
        self::versions("Client:\n  Version: 1.7\n").expect_err("no server");
    }

    #[test]
    fn a_daemon_that_does_not_answer_fails_with_the_error() {
        let output = Output {
            exit: Exit::Status(1),
            stdout: VERSION.split("Server:").next().expect("a part").into(),
            stderr: b"ctr: failed to dial \"/run/containerd/containerd.sock\": connection refused\n".to_vec(),
            duration: Duration::ZERO,
        };
        let finding = no_answer(&output).into_finding(Vec::new());
        assert!(finding.found.contains("connection refused"), "{finding:?}");
        assert!(finding.hint.expect("a hint").contains("containerd.service"));
    }

    proptest! {
        #[test]
        fn versions_come_back_as_they_were(client in "[0-9a-z.~+-]{1,12}", server in "[0-9a-z.~+-]{1,12}") {
            let text = format!("Client:\n  Version:  {client}\nServer:\n  Version:  {server}\n");
            prop_assert_eq!(versions(&text), Ok(Versions { client, server }));
        }

        #[test]
        fn any_output_is_read(text in ".{0,80}") {
            let _unread = versions(&text);
        }
    }
}
