// SPDX-License-Identifier: Apache-2.0
//! The rules: pure functions of an extension's content and the facts of an image.
//!
//! A new rule is a function in the file of its subject, and a line in one of the lists.
mod format;
mod hierarchy;
mod modes;
mod modules;
mod programs;
mod release;
mod unit_accounts;
mod unit_keys;
mod unit_names;
mod unit_programs;
mod unit_starts;

use camino::Utf8Path;

use super::base::Base;
use super::content::Content;
use super::finding::{Fault, Finding};
use crate::member::merge_usr;

/// A rule.
struct Rule {
    /// its name in findings
    name: &'static str,
    find: fn(&Content, &Base<'_>) -> Vec<Fault>,
}

const fn rule(name: &'static str, find: fn(&Content, &Base<'_>) -> Vec<Fault>) -> Rule {
    Rule { name, find }
}

/// Whether systemd-sysext merges the extension. They look at the name, the extension-release files and the
/// format alone.
const MERGE: [Rule; 3] = [
    rule("extension-release", release::file),
    rule("compatible", release::fields),
    rule("format", format::format),
];

/// What the extension does to the guest.
const CONTENT: [Rule; 23] = [
    rule("os-release", hierarchy::os_release),
    rule("type-clash", hierarchy::type_clash),
    rule("usr-link", hierarchy::usr_link),
    rule("not-merged", hierarchy::not_merged),
    rule("link-target", hierarchy::link_target),
    rule("special-file", hierarchy::special_file),
    rule("directory-mode", modes::directory_mode),
    rule("owner", modes::owner),
    rule("set-id", modes::set_id),
    rule("unreadable", modes::unreadable),
    rule("not-executable", programs::not_executable),
    rule("interpreter", programs::interpreter),
    rule("program-architecture", programs::architecture),
    rule("module-index", modules::index),
    rule("kernel-modules", modules::kernel),
    rule("unit-not-started", unit_starts::not_started),
    rule("unit-boot-only", unit_starts::boot_only),
    rule("unit-missing", unit_names::missing),
    rule("unit-key", unit_keys::unknown),
    rule("unit-account", unit_accounts::missing),
    rule("unit-program", unit_programs::missing_program),
    rule("unit-environment", unit_programs::missing_environment),
    rule("unit-ignored", unit_names::ignored),
];

/// Applies the rules about whether systemd-sysext merges an extension.
pub(in crate::lint) fn check_merge(content: &Content, base: &Base<'_>) -> Vec<Finding> {
    apply(&MERGE, content, base)
}

/// Applies the rules about what an extension does to the guest.
pub(in crate::lint) fn check_content(content: &Content, base: &Base<'_>) -> Vec<Finding> {
    apply(&CONTENT, content, base)
}

/// Applies all rules, with errors first.
pub fn check(content: &Content, base: &Base<'_>) -> Vec<Finding> {
    let mut findings = check_merge(content, base);
    findings.extend(check_content(content, base));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn apply(rules: &[Rule], content: &Content, base: &Base<'_>) -> Vec<Finding> {
    rules
        .iter()
        .flat_map(|rule| (rule.find)(content, base).into_iter().map(|fault| fault.of_rule(rule.name)))
        .collect()
}

/// The end of a message about the first of several files.
fn and_more(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " (and 1 more file)".to_owned(),
        count => format!(" (and {count} more files)"),
    }
}

/// Programs that Flatcar adds while it boots: with its extensions since 3794, with Torcx before. The list of an
/// image's files lacks them.
const VENDOR_PROGRAMS: [&str; 8] = [
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/bin/ctr",
    "usr/bin/docker",
    "usr/bin/docker-proxy",
    "usr/bin/dockerd",
    "usr/bin/runc",
    "usr/bin/tini",
];

/// Whether the extension or the image has a file, as far as is known; links are followed.
fn may_exist(content: &Content, base: &Base<'_>, path: &Utf8Path) -> bool {
    let path = merge_usr(path);
    // A link of the extension may lead to a file of the image, and a link of the image to the extension.
    content.get(&path).is_some()
        || VENDOR_PROGRAMS.contains(&path.as_str())
        || base.tree.may_have(&path)
        || content.resolve(&path).is_none_or(|target| {
            let target = merge_usr(&target);
            content.get(&target).is_some() || base.tree.may_have(&target)
        })
        || base.tree.resolve(&path).is_some_and(|target| content.get(target).is_some())
}

/// A base and findings for tests of rules.
#[cfg(test)]
mod testing {
    use loadgauge_images::{Architecture, OsRelease};

    use super::*;
    use crate::lint::{Accounts, BaseTree};

    /// The facts of a release, with a list of contents that may be empty.
    pub(super) struct Image {
        pub(super) os_release: OsRelease,
        pub(super) systemd: u32,
        pub(super) tree: BaseTree,
        pub(super) accounts: Option<Accounts>,
    }

    impl Image {
        pub(super) fn new(version: &str, systemd: u32, contents: &str) -> Self {
            let text = format!("ID=flatcar\nID_LIKE=coreos\nVERSION_ID={version}\nSYSEXT_LEVEL=1.0\n");
            let os_release = OsRelease::parse(&text).expect("valid");
            Self { os_release, systemd, tree: BaseTree::parse(contents), accounts: None }
        }

        /// The findings of a rule, one a line, without hints.
        pub(super) fn findings(
            &self,
            find: fn(&Content, &Base<'_>) -> Vec<Fault>,
            content: &Content,
        ) -> Vec<String> {
            let base = Base {
                os_release: &self.os_release,
                architecture: Architecture::Amd64,
                systemd: Some(self.systemd),
                tree: &self.tree,
                accounts: self.accounts.as_ref(),
            };
            let findings = find(content, &base).into_iter().map(|fault| fault.of_rule(""));
            findings
                .map(|finding| format!("{}: /{} {}", finding.severity, finding.path, finding.message))
                .collect()
        }
    }

    /// An image of release 4593.2.0 whose files are not known.
    pub(super) fn unknown() -> Image {
        Image::new("4593.2.0", 257, "")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::testing::{Image, unknown};
    use super::*;

    #[test]
    fn the_names_of_rules_are_unique() {
        let names: BTreeSet<&str> = MERGE.iter().chain(&CONTENT).map(|rule| rule.name).collect();
        assert_eq!(names.len(), MERGE.len() + CONTENT.len());
    }

    proptest! {
        #[test]
        fn no_content_breaks_a_rule(
            text in "([a-zA-Z@.%\\[\\]=\\\\\"' \\n-]|\\PC){0,80}",
            name in "[^/\\x00]{1,12}",
            target in "[./a-z]{0,12}",
        ) {
            let units = "usr/lib/systemd/system";
            let link = format!("777 0 usr/lib/{} -> {target}", name.trim_matches(['.', ' ']));
            let content = Content::of(&[&link])
                .with_text("usr/bin/tool", &format!("#!{text}"))
                .with_text("usr/lib/extension-release.d/extension-release.tool", &text)
                .with_text("usr/lib/sysusers.d/a.conf", &text)
                .with_text(&format!("{units}/{name}.service"), &text)
                .with_text(&format!("{units}/a.target.d/{name}.conf"), &format!("[Unit]\nUpholds={text}"))
                .with_text(&format!("{units}/b.service"), &format!("[Service]\nUser={text}\nExecStart={text}"));
            let image = Image::new("4593.2.0", 257, &format!("lrwx ./usr/{name} -> {target}\n"));
            for rule in MERGE.iter().chain(&CONTENT) {
                image.findings(rule.find, &content);
            }
        }
    }

    #[test]
    fn the_reference_has_every_rule_and_no_other() {
        let reference = include_str!("../../../../../scenarios/recipes/README.md");
        let section =
            reference.split("\n## ").find(|section| section.starts_with("Rules\n")).expect("a section");
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let documented: BTreeSet<&str> = rows.map(|(name, _)| name).collect();
        let names: BTreeSet<&str> = MERGE.iter().chain(&CONTENT).map(|rule| rule.name).collect();
        assert_eq!(documented, names);
    }

    #[test]
    fn a_sound_extension_has_no_findings() {
        let content = Content::of(&["755 0 usr/bin/tool", "755 0 opt/tool/"])
            .with_text("usr/lib/extension-release.d/extension-release.tool", "ID=flatcar\nSYSEXT_LEVEL=1.0\n")
            .with_text(
                "usr/lib/systemd/system/a.service",
                "[Service]\nExecStart=/usr/bin/tool\n[Install]\nWantedBy=x.target\n",
            )
            .with_text(
                "usr/lib/systemd/system/a.socket",
                "[Socket]\nListenStream=1\n[Install]\nWantedBy=sockets.target\n",
            )
            .with_text("usr/lib/systemd/system/sockets.target.d/10-a.conf", "[Unit]\nUpholds=a.socket\n");
        for rule in MERGE.iter().chain(&CONTENT) {
            let findings = unknown().findings(rule.find, &content);
            assert!(findings.is_empty(), "{}: {findings:?}", rule.name);
        }
    }
}
