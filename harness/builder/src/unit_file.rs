// SPDX-License-Identifier: Apache-2.0
//! Unit files, as systemd.syntax(7) describes them.

/// One assignment of a unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment<'a> {
    /// 1-based
    pub(crate) line: usize,
    /// empty before the first section
    pub(crate) section: &'a str,
    pub(crate) key: &'a str,
    /// continued lines are joined by blanks
    pub(crate) value: String,
}

/// A line of a unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `[NAME]`, with its line
    Section(usize, &'a str),
    /// `KEY=VALUE`
    Assignment(Assignment<'a>),
    /// another text, which systemd ignores with a message, with its line
    Other(usize, &'a str),
}

/// The lines of a unit file without comments and empty lines.
pub(crate) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut found = Vec::new();
    let mut section = "";
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            found.push(Line::Section(number, name));
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            found.push(Line::Other(number, line));
            continue;
        };
        let mut value = value.trim().to_owned();
        while value.ends_with('\\') {
            value.pop();
            // Comments between continued lines are skipped.
            let next = lines.find(|(_, line)| !line.trim_start().starts_with(['#', ';']));
            let Some((_, next)) = next else { break };
            value.push(' ');
            value.push_str(next.trim());
        }
        found.push(Line::Assignment(Assignment { line: number, section, key: key.trim(), value }));
    }
    found
}

/// The assignments of a unit file.
pub(crate) fn assignments(text: &str) -> impl Iterator<Item = Assignment<'_>> {
    lines(text).into_iter().filter_map(|line| match line {
        Line::Assignment(assignment) => Some(assignment),
        _ => None,
    })
}

/// The values that a unit file or drop-in sets, in order. An empty value, which resets a list, is one of them.
pub(crate) fn values(text: &str, section: &str, key: &str) -> Vec<String> {
    let wanted = assignments(text).filter(|one| (one.section, one.key) == (section, key));
    wanted.map(|one| one.value).collect()
}

/// Whether a file name is that of a unit: a name, a dot and a type.
pub(crate) fn is_unit(name: &str) -> bool {
    let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
    SECTIONS.iter().any(|(known, _)| *known == kind)
}

/// The types of units with the section of their own.
const SECTIONS: [(&str, Option<&str>); 11] = [
    ("service", Some("Service")),
    ("socket", Some("Socket")),
    ("target", None),
    ("timer", Some("Timer")),
    ("path", Some("Path")),
    ("mount", Some("Mount")),
    ("automount", Some("Automount")),
    ("swap", Some("Swap")),
    ("slice", Some("Slice")),
    ("scope", Some("Scope")),
    ("device", None),
];

/// The sections of a unit's type.
pub(crate) fn sections(kind: &str) -> Option<Vec<&'static str>> {
    let (_, own) = SECTIONS.iter().find(|(known, _)| *known == kind)?;
    Some(["Unit", "Install"].into_iter().chain(*own).collect())
}

/// The name of the template for a name of an instance: `a@.service` for `a@b.service`.
pub(crate) fn template(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let kind = rest.rsplit_once('.')?.1;
    Some(format!("{prefix}@.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_of_their_section_and_lines_are_joined() {
        let text = "[Unit]\nUpholds=a.service \\\n# not this\n  b.service\nUpholds =\n;Upholds=c.service\n\
                    [Service]\nUpholds=d.service\n[Unit]\nUpholds=e.socket";
        assert_eq!(values(text, "Unit", "Upholds"), ["a.service  b.service", "", "e.socket"]);
        assert_eq!(values(text, "Install", "WantedBy"), [""; 0]);
    }

    #[test]
    fn a_file_is_read_as_systemd_reads_it() {
        let text = "key=early\n[Unit]\n# no\nAfter = a.service \\\n; no\n  b.service\nWants=\nfoo\n[Service]\nType=simple\n";
        let found: Vec<String> = assignments(text)
            .map(|Assignment { line, section, key, value }| format!("{line} {section}/{key}={value}"))
            .collect();
        assert_eq!(
            found,
            ["1 /key=early", "4 Unit/After=a.service  b.service", "7 Unit/Wants=", "10 Service/Type=simple"]
        );
        assert!(lines(text).contains(&Line::Other(8, "foo")));
        assert_eq!(template("a@b.c.service").as_deref(), Some("a@.service"));
    }
}
