// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;

use serde::Deserialize;

use crate::guest::Command;

use super::Judgement;
use super::inquiry::{Halt, Inquiry, listed};

/// What systemd-sysext says when it left an extension out, or a merge altogether.
const TELLING: &[&str] = &[
    "incompatible",
    "ignor",
    "No suitable",
    "Failed",
    "failed",
    "No medium",
    "carries no extension-release",
];
/// How many lines of the journal stand in a finding.
const SHOWN: usize = 5;

/// Which extensions are merged: `merged = { present = ["docker"], absent = ["docker-flatcar"] }`.
///
/// Judged by `systemd-sysext status`: the service is active and `systemd-sysext merge` ends with
/// status 0 also where every extension was left out. Others than those named may be merged too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergedCheck {
    /// names, without `.raw`, that must be merged
    #[serde(default)]
    pub present: Vec<String>,
    /// names, without `.raw`, that must not be
    #[serde(default)]
    pub absent: Vec<String>,
    /// `/usr` or `/opt`
    #[serde(default = "usr")]
    pub hierarchy: String,
}

pub(super) fn usr() -> String {
    "/usr".to_owned()
}

/// A line of `systemd-sysext status --json=short`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Hierarchy {
    hierarchy: String,
    extensions: Extensions,
}

/// An array, or the word `none`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Extensions {
    Names(Vec<String>),
    Word(String),
}

/// A line of `systemd-sysext list --json=short`: found, whether merged or not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Candidate {
    name: String,
    path: String,
}

impl MergedCheck {
    /// One line that says what it claims.
    pub fn summary(&self) -> String {
        let mut claims = Vec::new();
        if !self.present.is_empty() {
            claims.push(format!("{} merged into {}", listed(&self.present), self.hierarchy));
        }
        if !self.absent.is_empty() {
            claims.push(format!("{} not merged into {}", listed(&self.absent), self.hierarchy));
        }
        if claims.is_empty() {
            return format!("{} can be asked for its extensions", self.hierarchy);
        }
        claims.join(", ")
    }

    pub(super) async fn examine(&self, inquiry: &mut Inquiry<'_>) -> Result<Judgement, Halt> {
        // The telling words come last: why first, then what.
        let status = || Command::new("sudo -n systemd-sysext status --json=short --no-pager");
        let output = inquiry.demand(status()).await?;
        let merged = merged(&output.text(), &self.hierarchy).map_err(Halt::Unreadable)?;
        let mut judgement = self.judge(&merged);
        let missing: Vec<&String> = self.present.iter().filter(|name| !merged.contains(name)).collect();
        if missing.is_empty() {
            return Ok(judgement);
        }
        let list = inquiry.ask(Command::new("sudo -n systemd-sysext list --json=short --no-pager")).await?;
        let journal = inquiry
            .ask(Command::new(
                "sudo -n journalctl -b -o cat --no-pager -n 200 -u systemd-sysext.service \
                 -u systemd-sysext-initrd.service -u ensure-sysext.service",
            ))
            .await?;
        judgement = Judgement::default();
        let candidates = candidates(&list.text());
        let journal = journal.text();
        let mut said: Vec<&str> = Vec::new();
        for claim in self.claims(&merged) {
            match claim {
                Claim::Missing(name) => {
                    let reasons = reasons(name, &journal);
                    let (found, hint) = explain(name, candidates.as_deref(), &reasons);
                    judgement.fail(present(name, &self.hierarchy), found);
                    judgement.advise(hint);
                    said.extend(reasons.iter().filter(|reason| !said.contains(reason)).collect::<Vec<_>>());
                }
                Claim::Present(name) => judgement.hold(present(name, &self.hierarchy)),
                Claim::Absent(name) => judgement.hold(absent(name, &self.hierarchy)),
                Claim::Unwanted(name) => judgement.fail(absent(name, &self.hierarchy), beside(&merged)),
            }
        }
        // One image that cannot be merged keeps all from it: what was said of all is told once.
        for reason in said {
            judgement.remark(format!("systemd-sysext said: {reason}"));
        }
        Ok(judgement)
    }

    fn claims<'a>(&'a self, merged: &'a [String]) -> impl Iterator<Item = Claim<'a>> {
        let present = self
            .present
            .iter()
            .map(|name| if merged.contains(name) { Claim::Present(name) } else { Claim::Missing(name) });
        let absent = self
            .absent
            .iter()
            .map(|name| if merged.contains(name) { Claim::Unwanted(name) } else { Claim::Absent(name) });
        present.chain(absent)
    }

    /// Judges the names that are merged, without asking why.
    pub fn judge(&self, merged: &[String]) -> Judgement {
        let mut judgement = Judgement::default();
        for claim in self.claims(merged) {
            match claim {
                Claim::Present(name) => judgement.hold(present(name, &self.hierarchy)),
                Claim::Absent(name) => judgement.hold(absent(name, &self.hierarchy)),
                Claim::Missing(name) => judgement.fail(present(name, &self.hierarchy), beside(merged)),
                Claim::Unwanted(name) => judgement.fail(absent(name, &self.hierarchy), beside(merged)),
            }
        }
        judgement
    }
}

enum Claim<'a> {
    Present(&'a str),
    Missing(&'a str),
    Absent(&'a str),
    Unwanted(&'a str),
}

fn present(name: &str, hierarchy: &str) -> String {
    format!("extension `{name}` is merged into {hierarchy}")
}

fn absent(name: &str, hierarchy: &str) -> String {
    format!("extension `{name}` is not merged into {hierarchy}")
}

fn beside(merged: &[String]) -> String {
    format!("merged are: {}", listed(merged))
}

/// The names that are merged into a hierarchy. One that is not mentioned does not exist on the
/// guest, or nothing is merged into it.
fn merged(text: &str, hierarchy: &str) -> Result<Vec<String>, String> {
    let found = hierarchies(text)?.into_iter().find(|entry| entry.hierarchy == hierarchy);
    found.map_or(Ok(Vec::new()), |entry| names(entry.extensions))
}

/// The names that are merged into any hierarchy.
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
        Extensions::Word(word) if word == "none" => Ok(Vec::new()),
        Extensions::Word(word) => Err(format!("`{word}` is not a list of extensions")),
    }
}

/// The extensions that were found; none, where it cannot be read: this only explains.
fn candidates(text: &str) -> Option<Vec<Candidate>> {
    // Without any, systemd-sysext prints words instead of a list, and to standard error.
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    serde_json::from_str(text.trim()).ok()
}

/// Why an extension is not merged, as far as the guest can say, and what to do.
fn explain(name: &str, candidates: Option<&[Candidate]>, reasons: &[&str]) -> (String, String) {
    let found = candidates.and_then(|all| all.iter().find(|candidate| candidate.name == name));
    let text = match (candidates, found) {
        (None, _) => format!("`{name}` is not merged"),
        (Some(_), Some(found)) => format!("`{name}` was found at `{}` and left out", found.path),
        (Some(all), None) => {
            let names: Vec<&str> = all.iter().map(|candidate| candidate.name.as_str()).collect();
            format!(
                "`{name}` was not found; in /etc/extensions, /run/extensions and /var/lib/extensions there \
                 are: {}",
                listed(&names)
            )
        }
    };
    let hint = if candidates.is_some() && found.is_none() {
        "was it delivered? the file must be called NAME.raw, and a link must not dangle or lead to /dev/null"
    } else if reasons.iter().any(|reason| reason.contains("incompatible")) {
        "compare ID, VERSION_ID or SYSEXT_LEVEL, and ARCHITECTURE in its extension-release with the image's \
         os-release"
    } else {
        "an extension needs /usr/lib/extension-release.d/extension-release.NAME with the NAME of its file; \
         one bad image can keep all others from being merged"
    };
    (text, hint.to_owned())
}

/// The last lines of the journal that name the extension, or else those that tell of any trouble.
fn reasons<'a>(name: &str, journal: &'a str) -> Vec<&'a str> {
    let telling: Vec<&str> =
        journal.lines().filter(|line| TELLING.iter().any(|word| line.contains(word))).collect();
    let mut naming: Vec<&str> = telling.iter().copied().filter(|line| mentions(line, name)).collect();
    if naming.is_empty() {
        naming = telling;
    }
    naming.dedup();
    naming.split_off(naming.len().saturating_sub(SHOWN))
}

/// Whether a name stands in a line as a word of its own: `docker` is not in `docker-flatcar`.
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
    fn none_is_a_word_and_others_a_list() {
        assert_eq!(merged(STATUS, "/opt").expect("read"), Vec::<String>::new());
        assert_eq!(merged(STATUS, "/usr").expect("read").len(), 3);
        assert_eq!(merged(STATUS, "/etc").expect("not mentioned"), Vec::<String>::new());
        merged("No extensions found.", "/usr").expect_err("words");
        merged(r#"[{"hierarchy":"/usr","extensions":"some"}]"#, "/usr").expect_err("another word");
    }

    #[test]
    fn present_is_a_subset_and_absent_is_absent() {
        let merged = merged(STATUS, "/usr").expect("read");
        let check = check("present = [\"docker-flatcar\"]\nabsent = [\"docker\"]");
        assert!(check.judge(&merged).holds());
        assert_eq!(check.summary(), "`docker-flatcar` merged into /usr, `docker` not merged into /usr");
        let wrong = self::check("present = [\"docker\"]\nabsent = [\"docker-flatcar\"]").judge(&merged);
        insta::assert_snapshot!(wrong.found(), @r"
        merged are: `containerd-flatcar`, `docker-flatcar`, `oem-qemu`
        merged are: `containerd-flatcar`, `docker-flatcar`, `oem-qemu`
        ");
    }

    #[test]
    fn why_an_extension_was_left_out_stands_in_the_finding() {
        let list =
            r#"[{"name":"hello","type":"raw","path":"/opt/extensions/hello.raw","time":1795309817135598}]"#;
        let journal = "Starting systemd-sysext.service...\n\
            No suitable extensions found (1 ignored due to incompatible image(s)).\n\
            Finished systemd-sysext.service.\n";
        let reasons = reasons("hello", journal);
        assert_eq!(reasons, ["No suitable extensions found (1 ignored due to incompatible image(s))."]);
        let (found, hint) = explain("hello", candidates(list).as_deref(), &reasons);
        assert_eq!(found, "`hello` was found at `/opt/extensions/hello.raw` and left out");
        assert!(hint.contains("VERSION_ID"), "{hint}");
        let (found, hint) = explain("hallo", candidates(list).as_deref(), &[]);
        assert!(found.contains("was not found") && found.contains("`hello`"), "{found}");
        assert!(hint.contains("delivered"), "{hint}");
    }

    #[test]
    fn lines_that_name_the_extension_go_before_others() {
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
        fn nothing_a_guest_says_upsets_it(text in ".{0,80}", name in ".{1,5}") {
            let _unread = merged(&text, "/usr");
            let (found, _) = explain(&name, candidates(&text).as_deref(), &reasons(&name, &text));
            prop_assert!(found.contains(&name));
        }
    }
}
