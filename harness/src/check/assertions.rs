// SPDX-License-Identifier: Apache-2.0
use super::{Finding, Outcome};
use crate::guest::Transcript;

/// The claims of a check: those that hold, and those that do not with what was found.
///
/// Without any claim they all hold, so every check makes at least one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assertions {
    passed: Vec<String>,
    expected: Vec<String>,
    found: Vec<String>,
    hint: Option<String>,
}

impl Assertions {
    /// A single claim that does not hold.
    pub fn failed(claim: impl Into<String>, found: impl Into<String>) -> Self {
        let mut assertions = Self::default();
        assertions.fail(claim, found);
        assertions
    }

    /// Adds a claim that holds.
    pub fn pass(&mut self, claim: impl Into<String>) {
        self.passed.push(claim.into());
    }

    /// Adds a claim that does not hold, with what was found instead.
    pub fn fail(&mut self, claim: impl Into<String>, found: impl Into<String>) {
        self.expected.push(claim.into());
        self.found.push(found.into());
    }

    /// Adds a claim. It holds unless something else was found.
    pub fn assert(&mut self, claim: impl Into<String>, found: Option<String>) {
        match found {
            None => self.pass(claim),
            Some(found) => self.fail(claim, found),
        }
    }

    /// Adds a detail to what was found.
    pub fn note(&mut self, text: impl Into<String>) {
        self.found.push(text.into());
    }

    /// Sets the hint, unless there is one: the hint belongs to the first claim that does not hold.
    pub fn suggest(&mut self, hint: impl Into<String>) {
        self.hint.get_or_insert_with(|| hint.into());
    }

    /// Adds other assertions.
    pub fn extend(&mut self, other: Self) {
        self.passed.extend(other.passed);
        self.expected.extend(other.expected);
        self.found.extend(other.found);
        if let Some(hint) = other.hint {
            self.suggest(hint);
        }
    }

    /// Whether every claim holds.
    pub fn all_hold(&self) -> bool {
        self.expected.is_empty()
    }

    /// What was found where claims do not hold, a line each.
    pub fn found(&self) -> String {
        self.found.join("\n")
    }

    /// The finding, with the commands of the check.
    pub fn into_finding(self, commands: Vec<Transcript>) -> Finding {
        if self.all_hold() {
            return Finding {
                outcome: Outcome::Passed,
                expected: self.passed.join("\n"),
                found: String::new(),
                hint: None,
                commands,
            };
        }
        Finding {
            outcome: Outcome::Failed,
            expected: self.expected.join("\n"),
            found: self.found.join("\n"),
            hint: self.hint,
            commands,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finding_of_a_failure_contains_the_failed_claims_only() {
        let mut assertions = Assertions::default();
        assertions.pass("`a` exists");
        assert_eq!(assertions.clone().into_finding(Vec::new()).expected, "`a` exists");
        assertions.assert("`b` exists", Some("`b` does not exist".into()));
        assertions.suggest("create it");
        assertions.suggest("another hint");
        let finding = assertions.into_finding(Vec::new());
        assert_eq!(finding.outcome, Outcome::Failed);
        assert_eq!((&*finding.expected, &*finding.found), ("`b` exists", "`b` does not exist"));
        assert_eq!(finding.hint.as_deref(), Some("create it"));
    }
}
