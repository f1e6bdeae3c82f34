// SPDX-License-Identifier: Apache-2.0
//! The extension-release file.
use camino::Utf8Path;
use loadgauge_images::OsRelease;

use crate::compatible::{Refusal, compatible};
use crate::lint::base::Base;
use crate::lint::content::{Content, Kind, RELEASES};
use crate::lint::finding::Fault;
use crate::lint::release_text;

/// Names that people write for systemd's names of architectures.
const ARCHITECTURES: [(&str, &str); 6] = [
    ("x86_64", "x86-64"),
    ("x86", "x86-64"),
    ("amd64", "x86-64"),
    ("x64", "x86-64"),
    ("aarch64", "arm64"),
    ("arm-64", "arm64"),
];

/// The extension-release file has the name of the extension, and can be read.
///
/// Without it systemd-sysext fails for an image ("No medium found") and merges no extension at all; version
/// 252 does so with the exit status 0. It ignores a directory.
pub(super) fn file(content: &Content, _: &Base<'_>) -> Vec<Fault> {
    let path = content.release_path();
    let all = "systemd-sysext merges no extension at all";
    let result = if content.packed.is_some() { all } else { "systemd-sysext ignores the extension" };
    let name = content.name.escape_debug().to_string();
    let target = content.resolve(&path);
    let kind = target.as_ref().and_then(|target| content.get(target)).map(|entry| &entry.kind);
    let fault = match kind {
        Some(Kind::File) if content.texts.contains_key(&path) => return Vec::new(),
        Some(Kind::File) => Fault::error(&path, format!("is not UTF-8: {result}")),
        Some(Kind::Directory) => {
            Fault::error(&path, format!("is a directory: {all}")).with_hint("make it a file")
        }
        Some(_) => Fault::error(&path, format!("is not a regular file: {result}")),
        None if content.get(&path).is_some() => {
            let target = target.map_or_else(|| "itself".to_owned(), |target| format!("/{target}"));
            let target = target.escape_debug().to_string();
            Fault::error(
                &path,
                format!("is a link to {target}, which the extension does not contain: {result}"),
            )
        }
        None => {
            let others =
                content.entries.keys().filter(|other| other.parent() == Some(Utf8Path::new(RELEASES)));
            let others: Vec<String> = others
                .filter_map(|other| other.file_name())
                .map(|other| format!("`{}`", other.escape_debug()))
                .collect();
            let found = if others.is_empty() { "none".to_owned() } else { others.join(" and ") };
            let hint = match others.as_slice() {
                [only] => {
                    let other = only.trim_matches('`').trim_start_matches("extension-release.");
                    format!("name the extension `{other}`, or the file `extension-release.{name}`")
                }
                _ => format!("add /{RELEASES}/extension-release.{name}"),
            };
            let message =
                format!("is missing, and the extension is named `{name}` (found: {found}): {result}");
            Fault::error(&path, message).with_hint(hint)
        }
    };
    vec![fault]
}

/// The fields suit the image. systemd logs the field that differs at debug level only, so that a guest does
/// not say it.
pub(super) fn fields(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let path = content.release_path();
    let Some(text) = content.texts.get(&path) else { return Vec::new() };
    let release = release_text::parse(text);
    if release.iter().next().is_none() {
        let message = "has no fields: systemd-sysext ignores the extension";
        return vec![Fault::error(&path, message).with_hint("write ID=, and VERSION_ID= or SYSEXT_LEVEL=")];
    }
    // The newest systemd is the most tolerant one.
    let systemd = base.systemd.unwrap_or(u32::MAX);
    let Err(refusal) = compatible(base.os_release, base.architecture, systemd, &release) else {
        return Vec::new();
    };
    let hint = hint(&refusal, &release, text);
    let fault = match &refusal {
        Refusal::IdLike { .. } => Fault::warning(&path, format!("may not suit the image: {refusal}")),
        _ => Fault::error(
            &path,
            format!("does not suit the image, and systemd-sysext ignores the extension: {refusal}"),
        ),
    };
    vec![match hint {
        Some(hint) => fault.with_hint(hint),
        None => fault,
    }]
}

/// The likely mistake behind a refusal.
fn hint(refusal: &Refusal, release: &OsRelease, text: &str) -> Option<String> {
    let has = |name: &str| release.get(name).is_some();
    match refusal {
        Refusal::Architecture { extension, .. } => {
            let (_, meant) = ARCHITECTURES.iter().find(|(wrong, _)| extension.eq_ignore_ascii_case(wrong))?;
            Some(format!("`ARCHITECTURE={meant}` is meant: the field has systemd's names"))
        }
        Refusal::NoId if text.starts_with('\u{feff}') => {
            Some("remove the byte order mark at the beginning of the file".to_owned())
        }
        Refusal::NoId => {
            let prefixed = release.iter().find(|(name, _)| name.ends_with("_ID") && *name != "VERSION_ID");
            Some(match prefixed {
                Some((name, value)) => {
                    format!("write `ID={}`: systemd does not read `{name}`", value.escape_debug())
                }
                None => "write `ID=flatcar`, or `ID=_any` for any system".to_owned(),
            })
        }
        Refusal::Id { extension, host } if extension.eq_ignore_ascii_case(host) => {
            Some(format!("write `ID={host}`: letter case counts"))
        }
        Refusal::Id { host, .. } => Some(format!("write `ID={host}`, or `ID=_any` for any system")),
        Refusal::NoVersion if has("VERSION") => Some(format!(
            "write `VERSION_ID={}`: systemd does not compare `VERSION`",
            release.get("VERSION").unwrap_or_default().escape_debug()
        )),
        Refusal::NoVersion => Some("add SYSEXT_LEVEL=1.0, or VERSION_ID= of the image".to_owned()),
        Refusal::Version { .. } => {
            Some("bind it to SYSEXT_LEVEL=1.0 instead, unless it suits one version alone".to_owned())
        }
        Refusal::Level { host, .. } => Some(format!("write `SYSEXT_LEVEL={host}`")),
        Refusal::IdLike { host, .. } => Some(format!("write `ID={host}`")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Image, unknown};
    use super::*;
    use crate::lint::content::Packed;
    use loadgauge_images::file_system::FileSystem;

    const PATH: &str = "usr/lib/extension-release.d/extension-release.tool";

    fn image(lines: &[&str]) -> Content {
        let packed = Some(Packed { file_system: FileSystem::Squashfs, compression: None });
        Content { packed, ..Content::of(lines) }
    }

    #[test]
    fn the_file_has_the_name_of_the_extension() {
        assert!(unknown().findings(file, &image(&[]).with_text(PATH, "ID=_any")).is_empty());
        let other = "644 0 usr/lib/extension-release.d/extension-release.other";
        assert_eq!(
            unknown().findings(file, &image(&[other])),
            [format!(
                "error: /{PATH} is missing, and the extension is named `tool` (found: `extension-release.other`): \
                 systemd-sysext merges no extension at all"
            )]
        );
        assert!(
            unknown().findings(file, &Content::of(&[]))[0].ends_with("systemd-sysext ignores the extension")
        );
        let mut loose = image(&[]).with_text(other.rsplit(' ').next().expect("a path"), "ID=_any");
        loose.loose_releases = vec!["usr/lib/extension-release.d/extension-release.other".into()];
        assert!(unknown().findings(file, &loose).is_empty(), "it counts for any name");
    }

    #[test]
    fn the_file_is_a_file_or_a_link_to_one() {
        let link = format!("777 0 {PATH} -> ../release");
        let content = image(&[&link, "644 0 usr/lib/release"]).with_text(PATH, "ID=_any");
        assert!(unknown().findings(file, &content).is_empty(), "a relative link");
        assert_eq!(
            unknown().findings(file, &image(&[&link])),
            [format!(
                "error: /{PATH} is a link to /usr/lib/release, which the extension does not contain: systemd-sysext \
                 merges no extension at all"
            )]
        );
        let directory = image(&[&format!("755 0 {PATH}/")]);
        assert_eq!(
            unknown().findings(file, &directory),
            [format!("error: /{PATH} is a directory: systemd-sysext merges no extension at all")]
        );
    }

    /// The finding about the fields for a text, and its hint.
    fn judged(systemd: u32, text: &str) -> String {
        let content = image(&[]).with_text(PATH, text);
        let image = Image::new("4593.2.0", systemd, "");
        let base = Base {
            os_release: &image.os_release,
            architecture: loadgauge_images::Architecture::Amd64,
            systemd: Some(systemd),
            tree: &image.tree,
            accounts: None,
        };
        let findings: Vec<String> = fields(&content, &base)
            .into_iter()
            .map(|fault| {
                let finding = fault.of_rule("");
                let hint = finding.hint.unwrap_or_default();
                format!("{}: {}\n  hint: {hint}", finding.severity, finding.message)
            })
            .collect();
        findings.join("\n")
    }

    #[test]
    fn fields_that_suit_the_image() {
        for text in [
            "ID=flatcar\nVERSION_ID=1\nSYSEXT_LEVEL=1.0\n",
            "ID = flatcar\nSYSEXT_LEVEL = 1.0\n",
            "ID=_any\nARCHITECTURE=x86-64\n",
        ] {
            assert_eq!(judged(257, text), "", "{text:?}");
        }
        assert_eq!(judged(258, "ID=coreos\nVERSION_ID=4593.2.0\n"), "");
    }

    #[test]
    fn fields_that_do_not_suit_the_image_have_the_reason_and_the_likely_mistake() {
        let texts = [
            (257, "ID=flatcar\nVERSION=4593.2.0\n"),
            (257, "ID=flatcar\n"),
            (257, "ID=_any\nARCHITECTURE=x86_64\n"),
            (257, "FLATCAR_ID=flatcar\nFLATCAR_VERSION_ID=4593.2.0\n"),
            (257, "\u{feff}ID=flatcar\nVERSION_ID=4593.2.0\n"),
            (257, "ID=debian\nVERSION_ID=13\n"),
            (257, "ID=Flatcar\nVERSION_ID=4593.2.0\n"),
            (257, "ID=coreos\nVERSION_ID=4593.2.0\n"),
            (252, "ID=coreos\nVERSION_ID=4593.2.0\n"),
            (251, "ID=_any\n"),
            (257, "ID=flatcar\nVERSION_ID=9999.0.0\n"),
            (257, ""),
        ];
        let judged: Vec<String> = texts
            .iter()
            .map(|(systemd, text)| format!("{text:?}, systemd {systemd}\n{}", judged(*systemd, text)))
            .collect();
        insta::assert_snapshot!(judged.join("\n"));
    }
}
