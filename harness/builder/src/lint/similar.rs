// SPDX-License-Identifier: Apache-2.0

/// The candidate that a name is a likely misspelling of.
pub(super) fn similar<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A name of few letters is close to many others.
    let limit = (name.len() / 4).min(3);
    let close = candidates.map(|candidate| (distance(name, candidate), candidate));
    close.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

/// How many letters must be added, removed or replaced to make one name of another.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = index;
        row[0] = index + 1;
        for (column, expected) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *expected);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_are_similar() {
        let all = ["RemainAfterExit", "haproxy.service", "Type"];
        let find = |name| similar(name, all.into_iter());
        assert_eq!(find("RemainsAfterExit"), Some("RemainAfterExit"));
        assert_eq!(find("haproxyd.service"), Some("haproxy.service"));
        assert_eq!(find("Tipe"), Some("Type"));
        assert_eq!(find("Tap"), None);
        assert_eq!(find("memcached.service"), None);
    }
}
