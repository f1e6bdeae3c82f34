// SPDX-License-Identifier: Apache-2.0
use crate::guest::Transcript;

use super::{Finding, Outcome};

/// What a check concludes from the guest's words: its claims, and which of them do not hold.
///
/// Without a claim nothing was judged, so [`Judgement::default`] holds vacuously; every check makes
/// at least one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    held: Vec<String>,
    expected: Vec<String>,
    found: Vec<String>,
    hint: Option<String>,
}

impl Judgement {
    /// Notes a claim that holds.
    pub fn hold(&mut self, claim: impl Into<String>) {
        self.held.push(claim.into());
    }

    /// Notes a claim that does not hold, and what was found instead.
    pub fn fail(&mut self, claim: impl Into<String>, found: impl Into<String>) {
        self.expected.push(claim.into());
        self.found.push(found.into());
    }

    /// Notes a claim: it holds where nothing else was found.
    pub fn claim(&mut self, claim: impl Into<String>, found: Option<String>) {
        match found {
            None => self.hold(claim),
            Some(found) => self.fail(claim, found),
        }
    }

    /// Adds words to what was found where a claim does not hold.
    pub fn remark(&mut self, words: impl Into<String>) {
        self.found.push(words.into());
    }

    /// Says what to do about it. The first word counts: it belongs to the first claim that failed.
    pub fn advise(&mut self, hint: impl Into<String>) {
        self.hint.get_or_insert_with(|| hint.into());
    }

    /// Takes over what another one concluded.
    pub fn join(&mut self, other: Self) {
        self.held.extend(other.held);
        self.expected.extend(other.expected);
        self.found.extend(other.found);
        if let Some(hint) = other.hint {
            self.advise(hint);
        }
    }

    /// A judgement of one claim that does not hold.
    pub fn failure(claim: impl Into<String>, found: impl Into<String>) -> Self {
        let mut judgement = Self::default();
        judgement.fail(claim, found);
        judgement
    }

    /// Whether every claim holds.
    pub fn holds(&self) -> bool {
        self.expected.is_empty()
    }

    /// What was found where a claim does not hold, one a line.
    pub fn found(&self) -> String {
        self.found.join("\n")
    }

    /// The judgement with its evidence, as it is reported.
    pub fn finding(self, commands: Vec<Transcript>) -> Finding {
        if self.holds() {
            let expected = self.held.join("\n");
            return Finding {
                outcome: Outcome::Passed,
                expected,
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
    fn a_finding_of_a_failure_speaks_of_the_failure_alone() {
        let mut judgement = Judgement::default();
        judgement.hold("`a` is there");
        assert_eq!(judgement.clone().finding(Vec::new()).expected, "`a` is there");
        judgement.claim("`b` is there", Some("`b` is not there".into()));
        judgement.advise("put it there");
        judgement.advise("second thoughts");
        let finding = judgement.finding(Vec::new());
        assert_eq!(finding.outcome, Outcome::Failed);
        assert_eq!((&*finding.expected, &*finding.found), ("`b` is there", "`b` is not there"));
        assert_eq!(finding.hint.as_deref(), Some("put it there"));
    }
}
