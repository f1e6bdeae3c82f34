// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use serde::Serialize;

/// Width of the column of names.
const WIDTH: usize = 24;

/// A tool or resource that the host has or lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// the tool or resource
    pub(super) name: String,
    /// whether it is good enough
    pub(super) state: State,
    /// what was found
    pub(super) found: String,
    /// what to do about it
    pub(super) advice: Option<String>,
}

/// Whether a tool or resource is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// it is
    Ok,
    /// machines run, but something else does not work
    Note,
    /// no machine runs without it
    Missing,
}

impl Finding {
    pub(super) fn good(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, found: found.into(), advice: None }
    }

    pub(super) fn missing(name: impl Into<String>, found: impl Into<String>, advice: Option<String>) -> Self {
        Self { name: name.into(), state: State::Missing, found: found.into(), advice }
    }

    /// The same finding with a note.
    pub(super) fn with_note(self, advice: impl Into<String>) -> Self {
        Self { state: State::Note, advice: Some(advice.into()), ..self }
    }
}

/// Writes a line for each finding, followed by its advice.
pub(super) fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { name, state, found, advice } in findings {
        let label = match state {
            State::Ok => "ok",
            State::Note => "note",
            State::Missing => "MISSING",
        };
        let _ = writeln!(text, "{label:<9}{name:<WIDTH$}{found}");
        for line in advice.iter().flat_map(|advice| advice.lines()) {
            let _ = writeln!(text, "{:<9}{:WIDTH$}{line}", "", "");
        }
    }
    let missing = findings.iter().filter(|finding| finding.state == State::Missing).count();
    text.push_str(match missing {
        0 => "\nMachines can run on this host.\n",
        _ => "\nInstall the missing tools before running machines.\n",
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_follows_its_finding() {
        let findings = [
            Finding::good("qemu-img", "10.0.2"),
            Finding::missing("memory", "300 MiB free", Some("stop other programs".to_owned())),
        ];
        insta::assert_snapshot!(table(&findings));
    }
}
