// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use serde::Deserialize;

use crate::guest::{Command, Output, quote};

use super::inquiry::{Halt, Inquiry, complaint};
use super::{Judgement, Text};

/// A file, directory or link: `file = { path = "/usr/bin/hello", mode = "0755" }`.
///
/// It is looked at by root. A link is followed, unless the check is about the link itself: that is
/// where it asks for the kind `link` or for a target, or that nothing is there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct FileCheck {
    /// absolute
    pub path: String,
    /// whether it must be there; if not, nothing else can be asked
    pub exists: bool,
    /// what it must be
    pub kind: Option<FileKind>,
    /// permissions with set-id and sticky bits
    pub mode: Option<u32>,
    /// the owner's name
    pub owner: Option<String>,
    /// the group's name
    pub group: Option<String>,
    /// where the link must lead, as it is written in it
    pub target: Option<String>,
    /// what must be in it
    pub contents: Option<Text>,
    /// SHA-256 of the contents, in hex
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
    /// What stat(1) prints for `%F`, up to its first word.
    fn is(self, words: &str) -> bool {
        match self {
            Self::File => words.starts_with("regular"),
            Self::Directory => words == "directory",
            Self::Link => words == "symbolic link",
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
struct Raw {
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

impl TryFrom<Raw> for FileCheck {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let Raw { path, exists, kind, mode, owner, group, target, contents, sha256 } = raw;
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
                "what does not exist has no other properties: leave out all but `path` and `exists`".into()
            );
        }
        if target.is_some() && kind.is_some_and(|kind| kind != FileKind::Link) {
            return Err("only a link has a `target`".into());
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

/// What stat(1) says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    kind: String,
    mode: u32,
    owner: String,
    group: String,
}

impl FileCheck {
    /// One line that says what it claims.
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

    /// Whether the path itself is meant where it is a link.
    fn itself(&self) -> bool {
        !self.exists || self.target.is_some() || self.kind == Some(FileKind::Link)
    }

    pub(super) async fn examine(&self, inquiry: &mut Inquiry<'_>) -> Result<Judgement, Halt> {
        let path = quote(&self.path);
        let follow = if self.itself() { "" } else { "-L " };
        let stat = format!("sudo -n env LC_ALL=C stat {follow}--printf='%F|%a|%U|%G\\n' -- {path}");
        let output = inquiry.ask(Command::new(stat)).await?;
        let Some(stat) = read(&output).map_err(Halt::Unreadable)? else {
            return Ok(self.judge(None));
        };
        let mut judgement = self.judge(Some(&stat));
        if let Some(target) = &self.target
            && FileKind::Link.is(&stat.kind)
        {
            let output = inquiry.demand(Command::new(format!("sudo -n readlink -n -- {path}"))).await?;
            let found = output.text();
            let claim = format!("`{}` leads to `{target}`", self.path);
            judgement.claim(claim, (found != target.as_str()).then(|| format!("it leads to `{found}`")));
        }
        if !FileKind::File.is(&stat.kind) {
            return Ok(judgement);
        }
        if let Some(expected) = &self.sha256 {
            let output = inquiry.demand(Command::new(format!("sudo -n sha256sum -- {path}"))).await?;
            let text = output.text();
            let found = text.split_whitespace().next().unwrap_or_default();
            // A name with a backslash or a newline makes sha256sum begin its line with a backslash.
            let found = found.trim_start_matches('\\');
            let claim = format!("`{}` has the SHA-256 `{}`", self.path, expected.to_lowercase());
            let differs = !found.eq_ignore_ascii_case(expected);
            judgement.claim(claim, differs.then(|| format!("its SHA-256 is `{found}`")));
        }
        if let Some(rule) = &self.contents {
            let output = inquiry.demand(Command::new(format!("sudo -n cat -- {path}"))).await?;
            judgement.join(rule.judge(&format!("`{}`", self.path), &output.stdout));
        }
        Ok(judgement)
    }

    /// Judges what stat says, which is nothing where the file is not there.
    fn judge(&self, stat: Option<&Stat>) -> Judgement {
        let path = &self.path;
        let mut judgement = Judgement::default();
        let claim = format!("`{path}` {}", if self.exists { "exists" } else { "does not exist" });
        let Some(stat) = stat else {
            judgement.claim(
                claim,
                self.exists.then(|| format!("`{path}` does not exist, or is a link that dangles")),
            );
            return judgement;
        };
        let is = format!("`{path}` is there: a {}", stat.kind);
        judgement.claim(claim, (!self.exists).then_some(is));
        if let Some(kind) = self.kind.or(self.target.is_some().then_some(FileKind::Link)) {
            let found = (!kind.is(&stat.kind)).then(|| format!("it is a {}", stat.kind));
            judgement.claim(format!("`{path}` is a {kind}"), found);
        } else if (self.contents.is_some() || self.sha256.is_some()) && !FileKind::File.is(&stat.kind) {
            judgement.fail(format!("`{path}` is a {}", FileKind::File), format!("it is a {}", stat.kind));
        }
        if let Some(mode) = self.mode {
            let found = (mode != stat.mode).then(|| format!("its mode is {:04o}", stat.mode));
            judgement.claim(format!("`{path}` has the mode {mode:04o}"), found);
        }
        for (what, expected, found) in
            [("owner", &self.owner, &stat.owner), ("group", &self.group, &stat.group)]
        {
            if let Some(expected) = expected {
                let found = (expected != found).then(|| format!("its {what} is `{found}`"));
                judgement.claim(format!("`{path}` has the {what} `{expected}`"), found);
            }
        }
        judgement
    }
}

/// Reads stat's answer; nothing, where it says that the file is not there.
fn read(output: &Output) -> Result<Option<Stat>, String> {
    if !output.exit.success() {
        let words = output.error_text();
        let absent = ["No such file or directory", "Not a directory"].iter().any(|said| words.contains(said));
        return if absent { Ok(None) } else { Err(complaint(output)) };
    }
    let text = output.text();
    let fields: Vec<&str> = text.trim_end().split('|').collect();
    let [kind, mode, owner, group] = fields[..] else {
        return Err(format!("`{text}` is no answer of stat"));
    };
    let mode = u32::from_str_radix(mode, 8).map_err(|_| format!("`{mode}` is no mode"))?;
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
        let stat = read(&answer(0, good, "")).expect("read").expect("there");
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
            assert_eq!(check.judge(Some(&stat)).holds(), holds, "{rule}");
        }
        let wrong = check("path = \"/usr/x\"\nmode = \"0755\"").judge(Some(&stat));
        assert_eq!(wrong.found(), "its mode is 4755");
    }

    #[test]
    fn an_absent_file_is_told_from_one_that_cannot_be_seen() {
        assert_eq!(read(&answer(1, "", ABSENT)), Ok(None));
        read(&answer(1, "", "sudo: a password is required\n")).expect_err("no statement about the file");
        assert!(check("path = \"/x\"\nexists = false").judge(None).holds());
        assert!(!check("path = \"/x\"").judge(None).holds());
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
        fn nothing_a_guest_says_upsets_it(text in ".{0,60}", status in 0..2) {
            let _unread = read(&answer(status, &text, &text));
        }
    }
}
