// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use serde::Serialize;

/// Of the names, with the gap behind them.
const WIDTH: usize = 24;

/// Something that the host has or lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// what was looked at
    pub(super) name: String,
    /// whether it will do
    pub(super) state: State,
    /// what was found
    pub(super) found: String,
    /// what to do about it, or what cannot be done without
    pub(super) advice: Option<String>,
}

/// Whether something will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// it does
    Ok,
    /// machines run without it, and something else does not
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

    /// The same, with something to be known about it.
    pub(super) fn noted(self, advice: impl Into<String>) -> Self {
        Self { state: State::Note, advice: Some(advice.into()), ..self }
    }
}

/// Findings for people: a line each, and what to do below.
pub(super) fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { name, state, found, advice } in findings {
        let word = match state {
            State::Ok => "ok",
            State::Note => "note",
            State::Missing => "MISSING",
        };
        let _ = writeln!(text, "{word:<9}{name:<WIDTH$}{found}");
        for line in advice.iter().flat_map(|advice| advice.lines()) {
            let _ = writeln!(text, "{:<9}{:WIDTH$}{line}", "", "");
        }
    }
    let missing = findings.iter().filter(|finding| finding.state == State::Missing).count();
    text.push_str(match missing {
        0 => "\nMachines can be run on this host.\n",
        _ => "\nMachines cannot be run on this host before what is missing is there.\n",
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_stands_below_what_it_is_about() {
        let findings = [
            Finding::good("qemu-img", "10.0.2"),
            Finding::missing("memory", "300 MiB free", Some("end something".to_owned())),
        ];
        insta::assert_snapshot!(table(&findings));
    }
}
