// SPDX-License-Identifier: Apache-2.0
//! "Did you mean": the known name that a misspelt one is nearest to.

/// Edits of a long word that count as a typing error.
const MAXIMUM_EDITS: usize = 2;
/// Letters of a word that has [`MAXIMUM_EDITS`] typing errors; a shorter one has one.
const LONG: usize = 6;

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

/// The candidate of which a word is a typing error: at most two letters are wrong, missing, added or
/// swapped, in a short word one.
///
/// This is stricter and faster than [`nearest`], for long lists such as the packages of an archive, where
/// every word is similar to some other.
pub fn typo_of<'word>(word: &str, candidates: impl IntoIterator<Item = &'word str>) -> Option<&'word str> {
    let maximum = if word.len() < LONG { 1 } else { MAXIMUM_EDITS };
    let candidates =
        candidates.into_iter().filter(|candidate| candidate.len().abs_diff(word.len()) <= maximum);
    let distances = candidates.map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    distances.filter(|(distance, _)| *distance <= maximum).min().map(|(_, candidate)| candidate)
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
    fn typing_errors_are_found_and_other_words_are_not() {
        let packages = ["containerd", "container-tools", "curl", "jq", "nginx", "nginx-light"];
        assert_eq!(typo_of("contaienr", packages), Some("containerd"));
        assert_eq!(typo_of("containment", packages), None);
        assert_eq!(typo_of("contianerd", packages), Some("containerd"));
        assert_eq!(typo_of("containrd", packages), Some("containerd"));
        assert_eq!(typo_of("ngnix", packages), Some("nginx"));
        assert_eq!(typo_of("cul", packages), Some("curl"));
        assert_eq!(typo_of("git", packages), None);
        assert_eq!(typo_of("", packages), None);
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
