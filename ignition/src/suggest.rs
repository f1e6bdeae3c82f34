// SPDX-License-Identifier: Apache-2.0
//! "Did you mean": the nearest known name to one that is unknown.

/// The candidate that the writer most likely meant, or `None` if none comes near.
///
/// Letter case, `_` and `-` do not count, so that the spelling of the other format (`ssh_authorized_keys`
/// in JSON, `sshAuthorizedKeys` in Butane) always finds its own.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.replace(['_', '-'], "").to_lowercase();
    let word = plain(word);
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

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
