// SPDX-License-Identifier: Apache-2.0
//! "Did you mean": the known name that a misspelt one is nearest to.

/// How alike two words must be for one to be a misspelling of the other (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.8;

/// The candidate that a misspelt word probably means.
///
/// Letter case, `_` and `-` do not count, so that the spelling of another format (`ssh_authorized_keys`
/// for `sshAuthorizedKeys`) always finds its own.
pub fn nearest<'word>(word: &str, candidates: impl IntoIterator<Item = &'word str>) -> Option<&'word str> {
    let plain = |text: &str| text.replace(['_', '-'], "").to_lowercase();
    let word = plain(word);
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, &plain(candidate)), candidate))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// ``did you mean `merged`?``, or the list of all candidates where none is near.
pub fn did_you_mean<'word>(word: &str, candidates: impl IntoIterator<Item = &'word str>) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(nearest) = nearest(word, candidates.iter().copied()) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    match candidates.as_slice() {
        [] => None,
        [only] => Some(format!("the only valid name here is `{only}`")),
        [first @ .., last] => Some(format!("valid names here: `{}` and `{last}`", first.join("`, `"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_nearest_or_all() {
        assert_eq!(did_you_mean("merge", ["unit", "merged"]).as_deref(), Some("did you mean `merged`?"));
        assert_eq!(
            did_you_mean("xyz", ["unit", "merged"]).as_deref(),
            Some("valid names here: `unit` and `merged`")
        );
        assert_eq!(did_you_mean("xyz", []), None);
    }

    #[test]
    fn finds_slips_and_other_spellings_and_nothing_far() {
        let known = ["sshAuthorizedKeys", "contents", "path", "overwrite"];
        assert_eq!(nearest("ssh_authorized_keys", known), Some("sshAuthorizedKeys"));
        assert_eq!(nearest("content", known), Some("contents"));
        assert_eq!(nearest("overwirte", known), Some("overwrite"));
        assert_eq!(nearest("permissions", known), None);
        assert_eq!(nearest("", known), None);
    }
}
