// SPDX-License-Identifier: Apache-2.0
//! The container that the `docker` and `containerd` checks run.
use std::time::{SystemTime, UNIX_EPOCH};

use loadgauge_images::Architecture;

use super::probe::executable;
use super::recorder::{CheckError, describe_failure};
use super::{Assertions, Text, oci};
use crate::guest::Output;

/// The full name of the image; Docker omits the registry.
pub(super) const IMAGE: &str = "docker.io/loadgauge/probe:latest";

/// The archive of the image for the guest's architecture.
pub(super) fn image(architecture: Architecture) -> Result<Vec<u8>, CheckError> {
    oci::archive(IMAGE, &executable(architecture), architecture)
        .map_err(|error| CheckError::Unreadable(format!("cannot create the container image: {error}")))
}

/// A text that no earlier container can have printed.
pub(super) fn nonce(output: &Output) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", since.as_nanos(), output.duration.as_nanos())
}

/// Evaluates whether a container printed the nonce and nothing else.
pub(super) fn evaluate_echo(claim: &str, nonce: &str, output: &Output) -> Assertions {
    if !output.exit.success() {
        let mut assertions = Assertions::failed(claim, describe_failure(output));
        if output.error_text().contains("exec format error") {
            assertions.suggest("check the architecture of the image: the guest cannot execute its programs");
        }
        return assertions;
    }
    let mut assertions = Text::equal_to(format!("{nonce}\n")).evaluate("its output", &output.stdout);
    if assertions.all_hold() {
        assertions = Assertions::default();
        assertions.pass(claim);
    }
    assertions
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::guest::Exit;

    #[test]
    fn only_the_nonce_counts_as_an_echo() {
        let evaluate = |status, stdout: &str, stderr: &str| {
            let output = Output {
                exit: Exit::Status(status),
                stdout: stdout.into(),
                stderr: stderr.into(),
                duration: Duration::ZERO,
            };
            evaluate_echo("it runs", "n1", &output).all_hold()
        };
        assert!(evaluate(0, "n1\n", ""));
        assert!(!evaluate(0, "n2\n", ""));
        assert!(!evaluate(0, "", ""));
        assert!(!evaluate(125, "n1\n", "no such image"));
    }
}
