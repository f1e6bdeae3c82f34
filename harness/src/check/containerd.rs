// SPDX-License-Identifier: Apache-2.0
use loadgauge_images::Architecture;
use serde::Deserialize;

use crate::guest::{Command, Output};

use super::docker::{IMAGE, image, judge_echo, nonce};
use super::inquiry::{Halt, Inquiry, complaint};
use super::{Judgement, Text};

/// The containerd namespace of what the harness runs: Docker's own is `moby`.
const CTR: &str = "sudo -n ctr --namespace loadgauge";

/// containerd: `containerd = { server-version = { matches = '^v?2\.' }, run = true }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ContainerdCheck {
    /// what the version of the client, `ctr`, must be like
    pub client_version: Option<Text>,
    /// what the version of the daemon must be like
    pub server_version: Option<Text>,
    /// whether to import an image, without a network, and run a container with `ctr`
    #[serde(default)]
    pub run: bool,
}

/// What `ctr version` prints.
#[derive(Debug, Default, PartialEq, Eq)]
struct Versions {
    client: String,
    server: String,
}

impl ContainerdCheck {
    /// One line that says what it claims.
    pub fn summary(&self) -> String {
        let mut claims = Vec::new();
        claims.extend(self.client_version.iter().map(|rule| format!("client version {}", rule.summary())));
        claims.extend(self.server_version.iter().map(|rule| format!("server version {}", rule.summary())));
        claims.extend(self.run.then(|| "runs a container".to_owned()));
        if claims.is_empty() {
            return "containerd: answers".to_owned();
        }
        format!("containerd: {}", claims.join(", "))
    }

    pub(super) async fn examine(
        &self,
        inquiry: &mut Inquiry<'_>,
        architecture: Architecture,
    ) -> Result<Judgement, Halt> {
        let output = inquiry.ask(Command::new("sudo -n ctr version")).await?;
        if !output.exit.success() {
            return Ok(unanswered(&output));
        }
        let versions = versions(&output.text()).map_err(Halt::Unreadable)?;
        let mut judgement = self.judge(&versions);
        if self.run && judgement.holds() {
            judgement.join(run_container(inquiry, architecture).await?);
        }
        Ok(judgement)
    }

    fn judge(&self, versions: &Versions) -> Judgement {
        let mut judgement = Judgement::default();
        judgement.hold(format!("containerd {} answers ctr {}", versions.server, versions.client));
        for (name, rule, version) in [
            ("ctr's version", &self.client_version, &versions.client),
            ("containerd's version", &self.server_version, &versions.server),
        ] {
            if let Some(rule) = rule {
                judgement.join(rule.judge(name, version.as_bytes()));
            }
        }
        judgement
    }
}

async fn run_container(inquiry: &mut Inquiry<'_>, architecture: Architecture) -> Result<Judgement, Halt> {
    let archive = image(architecture)?;
    let import = Command::new(format!("{CTR} images import -")).with_input(archive);
    let import = inquiry.ask(import).await?;
    if !import.exit.success() {
        return Ok(Judgement::failure("ctr imports an image from an archive", complaint(&import)));
    }
    let nonce = nonce(&import);
    // Unlike Docker, ctr takes what stands behind the name for the whole command.
    let line = format!("{CTR} run --rm {IMAGE} probe-{nonce} /probe {nonce}");
    let run = inquiry.ask(Command::new(line)).await?;
    let judgement = judge_echo("containerd runs a container that echoes its argument", &nonce, &run);
    let clean = inquiry.demand(Command::new(format!("{CTR} images rm --sync {IMAGE}"))).await;
    if judgement.holds() {
        clean?;
    }
    Ok(judgement)
}

fn unanswered(output: &Output) -> Judgement {
    let mut judgement = Judgement::failure("containerd answers", complaint(output));
    let found = judgement.found();
    judgement.advise(if found.contains("not found") {
        "there is no `ctr`: is the extension that brings containerd merged?"
    } else {
        "see `containerd.service` with a `unit` step"
    });
    judgement
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
        return Err(format!("`ctr version` does not tell both versions: `{}`", text.trim()));
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
    fn client_and_server_are_told_apart() {
        let versions = versions(VERSION).expect("both");
        let check: ContainerdCheck = toml::from_str(
            "client-version = { matches = '^1\\.7\\.' }\nserver-version = { equals = \"2.1.5\" }",
        )
        .expect("a check");
        assert!(check.judge(&versions).holds());
        let check: ContainerdCheck =
            toml::from_str("server-version = { matches = '^1\\.' }").expect("a check");
        assert_eq!(check.judge(&versions).found(), "containerd's version is `2.1.5`");
        self::versions("Client:\n  Version: 1.7\n").expect_err("no server");
    }

    #[test]
    fn a_daemon_that_does_not_answer_fails_with_its_words() {
        let output = Output {
            exit: Exit::Status(1),
            stdout: VERSION.split("Server:").next().expect("a part").into(),
            stderr: b"ctr: failed to dial \"/run/containerd/containerd.sock\": connection refused\n".to_vec(),
            duration: Duration::ZERO,
        };
        let finding = unanswered(&output).finding(Vec::new());
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
        fn nothing_a_guest_says_upsets_it(text in ".{0,80}") {
            let _unread = versions(&text);
        }
    }
}
