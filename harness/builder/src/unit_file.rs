// SPDX-License-Identifier: Apache-2.0
/// Returns the values that a unit file or drop-in sets, in order.
///
/// A backslash at the end of a line joins it with the next; comments between them are skipped
/// (systemd.syntax(7)). An empty value, which resets a list, is returned as well.
pub(crate) fn values(text: &str, section: &str, key: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut is_wanted = false;
    let mut joined = String::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(start) = line.strip_suffix('\\') {
            joined.push_str(start);
            joined.push(' ');
            continue;
        }
        joined.push_str(line);
        let line = std::mem::take(&mut joined);
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_wanted = name == section;
        } else if is_wanted
            && let Some((name, value)) = line.split_once('=')
            && name.trim_end() == key
        {
            values.push(value.trim().to_owned());
        }
    }
    values
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
}
