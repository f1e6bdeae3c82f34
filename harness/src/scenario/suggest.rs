// SPDX-License-Identifier: Apache-2.0

/// How alike two words must be for one to be a misspelling of the other (Jaro-Winkler).
const ALIKE: f64 = 0.8;

/// The candidate that a misspelt word probably means.
pub(super) fn nearest<'word>(
    word: &str,
    candidates: impl IntoIterator<Item = &'word str>,
) -> Option<&'word str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// ``did you mean `merged`?``, or all candidates where none is near.
pub(super) fn hint<'word>(word: &str, candidates: impl IntoIterator<Item = &'word str>) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(nearest) = nearest(word, candidates.iter().copied()) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    match candidates.as_slice() {
        [] => None,
        [only] => Some(format!("`{only}` is known here")),
        [first @ .., last] => Some(format!("known here: `{}` and `{last}`", first.join("`, `"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_nearest_or_all() {
        assert_eq!(hint("merge", ["unit", "merged"]).as_deref(), Some("did you mean `merged`?"));
        assert_eq!(hint("xyz", ["unit", "merged"]).as_deref(), Some("known here: `unit` and `merged`"));
        assert_eq!(hint("xyz", []), None);
    }
}
