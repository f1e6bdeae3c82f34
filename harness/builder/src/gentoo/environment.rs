// SPDX-License-Identifier: Apache-2.0
//! The variables of an ebuild, which Portage stores in `environment.bz2` as bash prints them.
use std::io::Read as _;

/// The size limit of an environment in bytes; those of real packages have some hundreds of kilobytes.
const MAXIMUM: u64 = 64 << 20;

/// The value of a variable of one line; `None` where there is no such variable, or the file is damaged.
pub(super) fn variable(packed: &[u8], name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    bzip2::read::MultiBzDecoder::new(packed).take(MAXIMUM).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().find_map(|line| value(line, name))
}

/// The value in a line such as `declare -- NAME="a \"b\""`.
fn value(line: &str, name: &str) -> Option<String> {
    let (_, rest) = line.strip_prefix("declare -")?.split_once(' ')?;
    let quoted = rest.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"')?;
    let mut value = String::new();
    let mut escaped = false;
    for character in quoted.chars() {
        // Bash escapes `\`, `"`, `$` and a backquote.
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            value.push(character);
        }
    }
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use loadgauge_host::{CommandExt as _, Tool};

    use super::*;

    #[test]
    fn variables_are_read_as_bash_prints_them() {
        for name in ["Microsoft Azure", "a \"b\" $c `d` \\ e", ""] {
            let mut bash = Tool::find("bash").expect("a tool of the host").command();
            bash.args([
                "-c",
                "SYSEXT_NAME_OTHER=x; SYSEXT_NAME=$1; declare -p SYSEXT_NAME_OTHER SYSEXT_NAME",
            ]);
            let output = bash.args(["bash", name]).run().expect("it runs");
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(&output.stdout).expect("compressed");
            let packed = encoder.finish().expect("compressed");
            let expected = (!name.is_empty()).then(|| name.to_owned());
            assert_eq!(variable(&packed, "SYSEXT_NAME"), expected);
            assert_eq!(variable(&packed, "SYSEXT"), None);
            assert_eq!(variable(&packed[..packed.len() / 2], "SYSEXT_NAME"), None);
        }
    }
}
