// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use loadgauge_host::quote;
use serde::Deserialize;

use crate::guest::{Command, Output};

use super::recorder::{CheckError, Recorder, describe_failure};
use super::{Assertions, Text};

/// A file, directory or symbolic link: `file = { path = "/usr/bin/hello", mode = "0755" }`.
///
/// It is examined as root. Links are followed, unless the check is about the link itself: it expects the
/// kind `link`, a target, or that the path does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawFileCheck")]
pub struct FileCheck {
    /// absolute path
    pub path: String,
    /// whether it must exist; if not, no other property can be set
    pub exists: bool,
    /// expected kind
    pub kind: Option<FileKind>,
    /// expected permissions, with set-id and sticky bits
    pub mode: Option<u32>,
    /// expected name of the owner
    pub owner: Option<String>,
    /// expected name of the group
    pub group: Option<String>,
    /// expected target of the link, as it is written in it
    pub target: Option<String>,
    /// condition for the contents
    pub contents: Option<Text>,
    /// expected SHA-256 of the contents, in hex
    pub sha256: Option<String>,
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// a regular file
    File,
    /// a directory
    Directory,
    /// a symbolic link
    Link,
}

impl FileKind {
    /// Whether this is the kind that stat(1) prints for `%F`.
    fn is(self, printed: &str) -> bool {
        match self {
            Self::File => printed.starts_with("regular"),
            Self::Directory => printed == "directory",
            Self::Link => printed == "symbolic link",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::File => "regular file",
            Self::Directory => "directory",
            Self::Link => "symbolic link",
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFileCheck {
    path: String,
    exists: Option<bool>,
    kind: Option<FileKind>,
    mode: Option<String>,
    owner: Option<String>,
    group: Option<String>,
    target: Option<String>,
    contents: Option<Text>,
    sha256: Option<String>,
}

impl TryFrom<RawFileCheck> for FileCheck {
    type Error = String;

    fn try_from(raw: RawFileCheck) -> Result<Self, String> {
        let RawFileCheck { path, exists, kind, mode, owner, group, target, contents, sha256 } = raw;
        if !path.starts_with('/') {
            return Err(format!("`{path}` is not an absolute path"));
        }
        let parse = |mode: String| match u32::from_str_radix(&mode, 8) {
            Ok(bits) if bits <= 0o7777 => Ok(bits),
            _ => Err(format!("`{mode}` is not a mode such as \"0644\"")),
        };
        let mode = mode.map(parse).transpose()?;
        let exists = exists.unwrap_or(true);
        let about =
            kind.is_some() || mode.is_some() || owner.is_some() || group.is_some() || target.is_some();
        let inside = contents.is_some() || sha256.is_some();
        if !exists && (about || inside) {
            return Err(
                "a path that must not exist has no other properties: remove all but `path` and `exists`"
                    .into(),
            );
        }
        if target.is_some() && kind.is_some_and(|kind| kind != FileKind::Link) {
            return Err("only a symbolic link has a `target`".into());
        }
        if inside && (target.is_some() || kind.is_some_and(|kind| kind != FileKind::File)) {
            return Err("only a regular file has `contents` or `sha256`".into());
        }
        if let Some(digest) = &sha256
            && (digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err(format!("`{digest}` is not a SHA-256 in hex"));
        }
        Ok(Self { path, exists, kind, mode, owner, group, target, contents, sha256 })
    }
}

/// The output of stat(1).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    kind: String,
    mode: u32,
    owner: String,
    group: String,
}

impl FileCheck {
    /// A description in one line.
    pub fn summary(&self) -> String {
        let path = &self.path;
        if !self.exists {
            return format!("`{path}` does not exist");
        }
        let mut claims = Vec::new();
        claims.extend(self.kind.map(|kind| format!("is a {kind}")));
        claims.extend(self.target.iter().map(|target| format!("leads to `{target}`")));
        claims.extend(self.mode.map(|mode| format!("has mode {mode:04o}")));
        claims.extend(self.owner.iter().map(|owner| format!("belongs to {owner}")));
        claims.extend(self.group.iter().map(|group| format!("belongs to group {group}")));
        claims.extend(self.contents.iter().map(Text::summary));
        claims.extend(self.sha256.iter().map(|digest| format!("has SHA-256 {}...", &digest[..8])));
        if claims.is_empty() {
            claims.push("exists".to_owned());
        }
        format!("`{path}` {}", claims.join(", "))
    }

    /// Whether a link is examined itself instead of its target.
    fn itself(&self) -> bool {
        !self.exists || self.target.is_some() || self.kind == Some(FileKind::Link)
    }

    pub(super) async fn execute(&self, recorder: &mut Recorder<'_>) -> Result<Assertions, CheckError> {
        let path = quote(&self.path);
        let follow = if self.itself() { "" } else { "-L " };
        let stat = format!("sudo -n env LC_ALL=C stat {follow}--printf='%F|%a|%U|%G\\n' -- {path}");
        let output = recorder.run(Command::new(stat)).await?;
        let Some(stat) = read(&output).map_err(CheckError::Unreadable)? else {
            return Ok(self.evaluate(None));
        };
        let mut assertions = self.evaluate(Some(&stat));
        if let Some(target) = &self.target
            && FileKind::Link.is(&stat.kind)
        {
            let output = recorder.require(Command::new(format!("sudo -n readlink -n -- {path}"))).await?;
            let found = output.text();
            let claim = format!("`{}` leads to `{target}`", self.path);
            assertions.assert(claim, (found != target.as_str()).then(|| format!("it leads to `{found}`")));
        }
        if !FileKind::File.is(&stat.kind) {
            return Ok(assertions);
        }
        if let Some(expected) = &self.sha256 {
            let output = recorder.require(Command::new(format!("sudo -n sha256sum -- {path}"))).await?;
            let text = output.text();
            let found = text.split_whitespace().next().unwrap_or_default();
            // sha256sum puts a backslash before the line if the name contains one, or a newline.
            let found = found.trim_start_matches('\\');
            let claim = format!("`{}` has the SHA-256 `{}`", self.path, expected.to_lowercase());
            let differs = !found.eq_ignore_ascii_case(expected);
            assertions.assert(claim, differs.then(|| format!("its SHA-256 is `{found}`")));
        }
        if let Some(rule) = &self.contents {
            let output = recorder.require(Command::new(format!("sudo -n cat -- {path}"))).await?;
            assertions.extend(rule.evaluate(&format!("`{}`", self.path), &output.stdout));
        }
        Ok(assertions)
    }

    /// Evaluates the output of stat; absent if the file does not exist.
    fn evaluate(&self, stat: Option<&Stat>) -> Assertions {
        let path = &self.path;
        let mut assertions = Assertions::default();
        let claim = format!("`{path}` {}", if self.exists { "exists" } else { "does not exist" });
        let Some(stat) = stat else {
            assertions.assert(
                claim,
                self.exists.then(|| format!("`{path}` does not exist, or is a dangling link")),
            );
            return assertions;
        };
        let is = format!("`{path}` exists and is a {}", stat.kind);
        assertions.assert(claim, (!self.exists).then_some(is));
        if let Some(kind) = self.kind.or(self.target.is_some().then_some(FileKind::Link)) {
            let found = (!kind.is(&stat.kind)).then(|| format!("it is a {}", stat.kind));
            assertions.assert(format!("`{path}` is a {kind}"), found);
        } else if (self.contents.is_some() || self.sha256.is_some()) && !FileKind::File.is(&stat.kind) {
            assertions.fail(format!("`{path}` is a {}", FileKind::File), format!("it is a {}", stat.kind));
        }
        if let Some(mode) = self.mode {
            let found = (mode != stat.mode).then(|| format!("its mode is {:04o}", stat.mode));
            assertions.assert(format!("`{path}` has the mode {mode:04o}"), found);
        }
        for (what, expected, found) in
            [("owner", &self.owner, &stat.owner), ("group", &self.group, &stat.group)]
        {
            if let Some(expected) = expected {
                let found = (expected != found).then(|| format!("its {what} is `{found}`"));
                assertions.assert(format!("`{path}` has the {what} `{expected}`"), found);
            }
        }
        assertions
    }
}

/// Reads the output of stat; absent if the file does not exist.
fn read(output: &Output) -> Result<Option<Stat>, String> {
    if !output.exit.success() {
        let error = output.error_text();
        let absent =
            ["No such file or directory", "Not a directory"].iter().any(|known| error.contains(known));
        return if absent { Ok(None) } else { Err(describe_failure(output)) };
    }
    let text = output.text();
    let fields: Vec<&str> = text.trim_end().split('|').collect();
    let [kind, mode, owner, group] = fields[..] else {
        return Err(format!("`{text}` is not the output of stat"));
    };
    let mode = u32::from_str_radix(mode, 8).map_err(|_| format!("`{mode}` is not a mode"))?;
    Ok(Some(Stat { kind: kind.into(), mode, owner: owner.into(), group: group.into() }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::guest::Exit;

    fn check(toml: &str) -> FileCheck {
        toml::from_str(toml).expect("a check")
    }

    fn answer(status: i32, stdout: &str, stderr: &str) -> Output {
        Output {
            exit: Exit::Status(status),
            stdout: stdout.into(),
            stderr: stderr.into(),
            duration: Duration::ZERO,
        }
    }

    const ABSENT: &str = "stat: cannot statx '/usr/x': No such file or directory\n";

    #[test]
    fn every_property_can_hold_and_fail() {
        let good = "regular file|4755|root|docker\n";
        let stat = read(&answer(0, good, "")).expect("read").expect("a file");
        for (rule, holds) in [
            ("kind = \"file\"", true),
            ("kind = \"directory\"", false),
            ("mode = \"4755\"", true),
            ("mode = \"0755\"", false),
            ("owner = \"root\"\ngroup = \"docker\"", true),
            ("owner = \"core\"", false),
            ("group = \"root\"", false),
            ("target = \"/dev/null\"", false),
            ("exists = false", false),
        ] {
            let check = check(&format!("path = \"/usr/x\"\n{rule}"));
            assert_eq!(check.evaluate(Some(&stat)).all_hold(), holds, "{rule}");
        }
        let wrong = check("path = \"/usr/x\"\nmode = \"0755\"").evaluate(Some(&stat));
        assert_eq!(wrong.found(), "its mode is 4755");
    }

    #[test]
    fn an_absent_file_is_not_the_same_as_an_unreadable_one() {
        assert_eq!(read(&answer(1, "", ABSENT)), Ok(None));
        read(&answer(1, "", "sudo: a password is required\n")).expect_err("no statement about the file");
        assert!(check("path = \"/x\"\nexists = false").evaluate(None).all_hold());
        assert!(!check("path = \"/x\"").evaluate(None).all_hold());
    }

    #[test]
    fn contradictions_are_refused() {
        for wrong in [
            "path = \"x\"",
            "path = \"/x\"\nexists = false\nmode = \"0644\"",
            "path = \"/x\"\nmode = \"rw\"",
            "path = \"/x\"\nkind = \"file\"\ntarget = \"/y\"",
            "path = \"/x\"\nkind = \"directory\"\nsha256 = \"00\"",
            "path = \"/x\"\nsha256 = \"00\"",
            "path = \"/x\"\nuser = \"root\"",
        ] {
            toml::from_str::<FileCheck>(wrong).expect_err(wrong);
        }
        let link =
            check("path = \"/etc/extensions/docker-flatcar.raw\"\nkind = \"link\"\ntarget = \"/dev/null\"");
        assert!(link.itself());
        assert_eq!(
            link.summary(),
            "`/etc/extensions/docker-flatcar.raw` is a symbolic link, leads to `/dev/null`"
        );
    }

    proptest! {
        #[test]
        fn any_output_is_read(text in ".{0,60}", status in 0..2) {
            let _unread = read(&answer(status, &text, &text));
        }
    }
}
