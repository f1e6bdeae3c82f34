// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;

use serde::Deserialize;

use crate::guest::Command;

use super::Assertions;
use super::recorder::{CheckError, Recorder, listed};
use super::system::usr;

/// Parts of the messages of systemd-sysext about skipped extensions and failed merges.
const MESSAGES: &[&str] = &[
    "incompatible",
    "ignor",
    "No suitable",
    "Failed",
    "failed",
    "No medium",
    "carries no extension-release",
];
/// The most lines of the journal in a finding.
const SHOWN: usize = 5;

/// Which extensions are merged: `merged = { present = ["docker"], absent = ["docker-flatcar"] }`.
///
/// It evaluates `systemd-sysext status`, since the service is active and `systemd-sysext merge` ends with
/// status 0 even if every extension is skipped. Other extensions may be merged too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergedCheck {
    /// names, without `.raw`, that must be merged
    #[serde(default)]
    pub present: Vec<String>,
    /// names, without `.raw`, that must not be merged
    #[serde(default)]
    pub absent: Vec<String>,
    /// `/usr` or `/opt`
    #[serde(default = "usr")]
    pub hierarchy: String,
}

/// An element of `systemd-sysext status --json=short`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Hierarchy {
    hierarchy: String,
    extensions: Extensions,
}

/// An array of names, or the string `none`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Extensions {
    Names(Vec<String>),
    Text(String),
}

/// An element of `systemd-sysext list --json=short`: an extension that was found, merged or not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Candidate {
    name: String,
    path: String,
}

impl MergedCheck {
    /// A description in one line.
    pub fn summary(&self) -> String {
        let mut claims = Vec::new();
        if !self.present.is_empty() {
            claims.push(format!("{} merged into {}", listed(&self.present), self.hierarchy));
        }
        if !self.absent.is_empty() {
            claims.push(format!("{} not merged into {}", listed(&self.absent), self.hierarchy));
        }
        if claims.is_empty() {
            return format!("the extensions of {} are known", self.hierarchy);
        }
        claims.join(", ")
    }

    pub(super) async fn execute(&self, recorder: &mut Recorder<'_>) -> Result<Assertions, CheckError> {
        let status = || Command::new("sudo -n systemd-sysext status --json=short --no-pager");
        let output = recorder.require(status()).await?;
        let merged = merged(&output.text(), &self.hierarchy).map_err(CheckError::Unreadable)?;
        let mut assertions = self.evaluate(&merged);
        let missing: Vec<&String> = self.present.iter().filter(|name| !merged.contains(name)).collect();
        if missing.is_empty() {
            return Ok(assertions);
        }
        let list = recorder.run(Command::new("sudo -n systemd-sysext list --json=short --no-pager")).await?;
        let journal = recorder
            .run(Command::new(
                "sudo -n journalctl -b -o cat --no-pager -n 200 -u systemd-sysext.service \
                 -u systemd-sysext-initrd.service -u ensure-sysext.service",
            ))
            .await?;
        assertions = Assertions::default();
        let candidates = candidates(&list.text());
        let journal = journal.text();
        let mut messages: Vec<&str> = Vec::new();
        for state in self.states(&merged) {
            match state {
                MergeState::Missing(name) => {
                    let reasons = reasons(name, &journal);
                    let (found, hint) = explain(name, candidates.as_deref(), &reasons);
                    assertions.fail(present(name, &self.hierarchy), found);
                    assertions.suggest(hint);
                    let new: Vec<&str> =
                        reasons.iter().copied().filter(|reason| !messages.contains(reason)).collect();
                    messages.extend(new);
                }
                MergeState::Present(name) => assertions.pass(present(name, &self.hierarchy)),
                MergeState::Absent(name) => assertions.pass(absent(name, &self.hierarchy)),
                MergeState::Unwanted(name) => {
                    assertions.fail(absent(name, &self.hierarchy), merged_names(&merged));
                }
            }
        }
        // An unreadable image prevents all merges; its message is reported once.
        for message in messages {
            assertions.note(format!("journal of systemd-sysext: {message}"));
        }
        Ok(assertions)
    }

    fn states<'a>(&'a self, merged: &'a [String]) -> impl Iterator<Item = MergeState<'a>> {
        let present = self.present.iter().map(|name| {
            if merged.contains(name) { MergeState::Present(name) } else { MergeState::Missing(name) }
        });
        let absent = self.absent.iter().map(|name| {
            if merged.contains(name) { MergeState::Unwanted(name) } else { MergeState::Absent(name) }
        });
        present.chain(absent)
    }

    /// Evaluates the names of the merged extensions.
    pub fn evaluate(&self, merged: &[String]) -> Assertions {
        let mut assertions = Assertions::default();
        for state in self.states(merged) {
            match state {
                MergeState::Present(name) => assertions.pass(present(name, &self.hierarchy)),
                MergeState::Absent(name) => assertions.pass(absent(name, &self.hierarchy)),
                MergeState::Missing(name) => {
                    assertions.fail(present(name, &self.hierarchy), merged_names(merged));
                }
                MergeState::Unwanted(name) => {
                    assertions.fail(absent(name, &self.hierarchy), merged_names(merged));
                }
            }
        }
        assertions
    }
}

/// The state of an extension that the check names.
enum MergeState<'a> {
    /// merged as expected
    Present(&'a str),
    /// expected, but not merged
    Missing(&'a str),
    /// not merged as expected
    Absent(&'a str),
    /// merged, but not expected
    Unwanted(&'a str),
}

fn present(name: &str, hierarchy: &str) -> String {
    format!("extension `{name}` is merged into {hierarchy}")
}

fn absent(name: &str, hierarchy: &str) -> String {
    format!("extension `{name}` is not merged into {hierarchy}")
}

fn merged_names(merged: &[String]) -> String {
    format!("merged are: {}", listed(merged))
}

/// The extensions that are merged into a hierarchy. A hierarchy that is not listed has none.
fn merged(text: &str, hierarchy: &str) -> Result<Vec<String>, String> {
    let found = hierarchies(text)?.into_iter().find(|entry| entry.hierarchy == hierarchy);
    found.map_or(Ok(Vec::new()), |entry| names(entry.extensions))
}

/// The extensions that are merged into any hierarchy.
pub(super) fn merged_anywhere(text: &str) -> Result<BTreeSet<String>, String> {
    let hierarchies = hierarchies(text)?;
    let mut all = BTreeSet::new();
    for Hierarchy { hierarchy, extensions } in hierarchies {
        all.extend(names(extensions).map_err(|error| format!("{hierarchy}: {error}"))?);
    }
    Ok(all)
}

fn hierarchies(text: &str) -> Result<Vec<Hierarchy>, String> {
    serde_json::from_str(text.trim())
        .map_err(|error| format!("`systemd-sysext status` printed no list of hierarchies: {error}"))
}

fn names(extensions: Extensions) -> Result<Vec<String>, String> {
    match extensions {
        Extensions::Names(names) => Ok(names),
        Extensions::Text(text) if text == "none" => Ok(Vec::new()),
        Extensions::Text(text) => Err(format!("`{text}` is not a list of extensions")),
    }
}

/// The extensions that were found; absent if the output is not readable, since it only serves to explain.
fn candidates(text: &str) -> Option<Vec<Candidate>> {
    // Without any extension, systemd-sysext prints a message to standard error instead of a list.
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    serde_json::from_str(text.trim()).ok()
}

/// Why an extension is not merged, as far as the guest reports it, with a hint.
fn explain(name: &str, candidates: Option<&[Candidate]>, reasons: &[&str]) -> (String, String) {
    let found = candidates.and_then(|all| all.iter().find(|candidate| candidate.name == name));
    let text = match (candidates, found) {
        (None, _) => format!("`{name}` is not merged"),
        (Some(_), Some(found)) => format!("`{name}` was found at `{}` and skipped", found.path),
        (Some(all), None) => {
            let names: Vec<&str> = all.iter().map(|candidate| candidate.name.as_str()).collect();
            format!(
                "`{name}` was not found; /etc/extensions, /run/extensions and /var/lib/extensions contain: {}",
                listed(&names)
            )
        }
    };
    let hint = if candidates.is_some() && found.is_none() {
        "check that the extension is delivered as NAME.raw, and that no link dangles or leads to /dev/null"
    } else if reasons.iter().any(|reason| reason.contains("incompatible")) {
        "compare ID, VERSION_ID or SYSEXT_LEVEL, and ARCHITECTURE in its extension-release with the image's \
         os-release"
    } else {
        "check that the extension has /usr/lib/extension-release.d/extension-release.NAME with the NAME of its \
         file; one unreadable image prevents all merges"
    };
    (text, hint.to_owned())
}

/// The last messages in the journal about the extension, or about any extension if there are none.
fn reasons<'a>(name: &str, journal: &'a str) -> Vec<&'a str> {
    let known: Vec<&str> =
        journal.lines().filter(|line| MESSAGES.iter().any(|message| line.contains(message))).collect();
    let mut naming: Vec<&str> = known.iter().copied().filter(|line| mentions(line, name)).collect();
    if naming.is_empty() {
        naming = known;
    }
    naming.dedup();
    naming.split_off(naming.len().saturating_sub(SHOWN))
}

/// Whether a line contains a name as a whole word: `docker-flatcar` does not contain `docker`.
fn mentions(line: &str, name: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || "-_".contains(character);
    line.match_indices(name).any(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + name.len()..]);
        !before.ends_with(part) && !after.starts_with(part)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUS: &str = r#"[{"hierarchy":"/opt","extensions":"none","since":null},
        {"hierarchy":"/usr","extensions":["containerd-flatcar","docker-flatcar","oem-qemu"],"since":1795309817135598}]"#;

    fn check(toml: &str) -> MergedCheck {
        toml::from_str(toml).expect("a check")
    }

    #[test]
    fn none_is_a_string_and_others_a_list() {
        assert_eq!(merged(STATUS, "/opt").expect("read"), Vec::<String>::new());
        assert_eq!(merged(STATUS, "/usr").expect("read").len(), 3);
        assert_eq!(merged(STATUS, "/etc").expect("not mentioned"), Vec::<String>::new());
        merged("No extensions found.", "/usr").expect_err("a message");
        merged(r#"[{"hierarchy":"/usr","extensions":"some"}]"#, "/usr").expect_err("another string");
    }

    #[test]
    fn present_is_a_subset_and_absent_is_absent() {
        let merged = merged(STATUS, "/usr").expect("read");
        let check = check("present = [\"docker-flatcar\"]\nabsent = [\"docker\"]");
        assert!(check.evaluate(&merged).all_hold());
        assert_eq!(check.summary(), "`docker-flatcar` merged into /usr, `docker` not merged into /usr");
        let wrong = self::check("present = [\"docker\"]\nabsent = [\"docker-flatcar\"]").evaluate(&merged);
        insta::assert_snapshot!(wrong.found(), @r"
        merged are: `containerd-flatcar`, `docker-flatcar`, `oem-qemu`
        merged are: `containerd-flatcar`, `docker-flatcar`, `oem-qemu`
        ");
    }

    #[test]
    fn the_finding_explains_why_an_extension_was_skipped() {
        let list =
            r#"[{"name":"hello","type":"raw","path":"/opt/extensions/hello.raw","time":1795309817135598}]"#;
        let journal = "Starting systemd-sysext.service...\n\
            No suitable extensions found (1 ignored due to incompatible image(s)).\n\
            Finished systemd-sysext.service.\n";
        let reasons = reasons("hello", journal);
        assert_eq!(reasons, ["No suitable extensions found (1 ignored due to incompatible image(s))."]);
        let (found, hint) = explain("hello", candidates(list).as_deref(), &reasons);
        assert_eq!(found, "`hello` was found at `/opt/extensions/hello.raw` and skipped");
        assert!(hint.contains("VERSION_ID"), "{hint}");
        let (found, hint) = explain("hallo", candidates(list).as_deref(), &[]);
        assert!(found.contains("was not found") && found.contains("`hello`"), "{found}");
        assert!(hint.contains("delivered"), "{hint}");
    }

    #[test]
    fn messages_about_the_extension_are_preferred() {
        let journal = "Failed to read metadata for image docker-flatcar: No medium found\n\
            Failed to read metadata for image docker: No medium found";
        assert_eq!(reasons("docker", journal), ["Failed to read metadata for image docker: No medium found"]);
        assert_eq!(reasons("other", journal).len(), 2);
    }

    proptest! {
        #[test]
        fn names_come_back_as_they_were(names in proptest::collection::vec("[a-z0-9._-]{1,12}", 0..6)) {
            let text = serde_json::json!([{ "hierarchy": "/usr", "extensions": names, "since": 1 }]).to_string();
            prop_assert_eq!(merged(&text, "/usr").expect("read"), names);
        }

        #[test]
        fn any_output_is_read(text in ".{0,80}", name in ".{1,5}") {
            let _unread = merged(&text, "/usr");
            let (found, _) = explain(&name, candidates(&text).as_deref(), &reasons(&name, &text));
            prop_assert!(found.contains(&name));
        }
    }
}
