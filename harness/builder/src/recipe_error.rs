// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Hint;

/// A recipe that cannot be read or cannot be meant.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// the file cannot be read
    #[error("cannot read the recipe `{path}`")]
    Read {
        /// which
        path: Utf8PathBuf,
        /// why not
        source: std::io::Error,
    },
    /// what it says is wrong
    #[error("{path}:{line}:{column}: {message}")]
    Wrong {
        /// the recipe
        path: Utf8PathBuf,
        /// 1-based
        line: usize,
        /// 1-based, in characters
        column: usize,
        /// what is wrong
        message: String,
        /// what to do
        hint: Option<String>,
    },
}

impl RecipeError {
    pub(super) fn at(
        path: &Utf8Path,
        text: &str,
        offset: usize,
        message: String,
        hint: Option<String>,
    ) -> Self {
        let (line, column) = position(text, offset);
        Self::Wrong { path: path.to_owned(), line, column, message, hint }
    }

    pub(super) fn from_toml(path: &Utf8Path, text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().trim_end().replace('\n', ", ");
        let (message, hint) = match split_unknown(&message) {
            Some((unknown, known)) => (format!("unknown key `{unknown}`"), Some(suggest(unknown, &known))),
            None => (message, None),
        };
        Self::at(path, text, offset, message, hint)
    }
}

impl Hint for RecipeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Some(
                "a recipe is a file `NAME.toml`; `loadgauge build --help` says where it is looked for"
                    .to_owned(),
            ),
            Self::Read { .. } => None,
            Self::Wrong { hint, .. } => hint.clone(),
        }
    }
}

/// Line and column of an offset in bytes, both 1-based.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// Takes serde's "unknown field `x`, expected one of `a`, `b`" apart.
fn split_unknown(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    Some((unknown, quoted.collect()))
}

fn suggest(unknown: &str, known: &[&str]) -> String {
    let closest = known.iter().map(|name| (distance(unknown, name), name)).min();
    match closest {
        Some((steps, name)) if steps <= unknown.len().max(3) / 3 + 1 => format!("did you mean `{name}`?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}

/// Levenshtein's edit distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, to) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::Recipe;

    fn complaint(text: &str) -> String {
        let error = Recipe::parse(text, Utf8Path::new("recipes/hello.toml")).expect_err("a wrong recipe");
        match error.hint() {
            Some(hint) => format!("error: {error}\nhint: {hint}"),
            None => format!("error: {error}"),
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_a_way_out() {
        let file = "[[file]]\npath = \"/usr/bin/x\"\n";
        let wrong = [
            "name = \"hello\"\nsumary = \"x\"\n".to_owned(),
            "name = \"hello\"\n[[debian]]\npackages = [\"docker.io\"]\nwith-recommends = true\n".to_owned(),
            "name = \"hello\"\n[compatible]\ncolour = \"blue\"\n".to_owned(),
            "name = \"hello\"\n".to_owned(),
            "name = \"a/b\"\n".to_owned(),
            "name = \"hello.raw\"\n".to_owned(),
            "name = hello\n".to_owned(),
            "summary = \"no name\"\n".to_owned(),
            format!("name = \"hello\"\n{file}"),
            format!("name = \"hello\"\n{file}contents = \"x\"\nlink = \"y\"\n"),
            format!("name = \"hello\"\n{file}contents = \"x\"\nmode = \"rwx\"\n"),
            format!("name = \"hello\"\n{file}source = \"not-there\"\n"),
            "name = \"hello\"\n[[file]]\npath = \"/etc/motd\"\ncontents = \"x\"\n".to_owned(),
            "name = \"hello\"\n[[file]]\npath = \"/usr/../etc/motd\"\ncontents = \"x\"\n".to_owned(),
            "name = \"hello\"\n[[tree]]\nsource = \"not-there\"\n".to_owned(),
            "name = \"hello\"\n[[debian]]\npackages = [\"--force-yes\"]\n".to_owned(),
            format!("name = \"hello\"\n{file}contents = \"x\"\n[finish]\nremove = [\"/usr/[\"]\n"),
        ];
        let told: Vec<String> =
            wrong.iter().map(|text| format!("{}\n{}", text.trim_end(), complaint(text))).collect();
        insta::assert_snapshot!(told.join("\n\n"));
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
