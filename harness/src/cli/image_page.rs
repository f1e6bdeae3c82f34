// SPDX-License-Identifier: Apache-2.0
//! What is known of an image, as a page for people.
use loadgauge_host::quantity::format_size;
use std::fmt::Write as _;

use loadgauge_images::Release;
use loadgauge_images::image::Era;
use loadgauge_images::inspect::{Inspection, Partition};

use super::image_inspect::Known;

/// The whole page: a section for each part of an image.
pub(super) fn page(known: &Known) -> String {
    let found = &known.inspected.found;
    let mut text = String::new();
    let _ = writeln!(text, "{}\n", found.os_release.get("PRETTY_NAME").unwrap_or("an image without a name"));
    for (title, lines) in
        [("system", system(known)), ("disk", disk(known)), ("boot", boot(found)), ("/usr", usr(found))]
    {
        section(&mut text, title, &lines);
    }
    partitions(&mut text, &found.partitions);
    extensions(&mut text, found);
    for warning in &found.warnings {
        let _ = writeln!(text, "\nwarning: {warning}");
    }
    text
}

type Lines = Vec<(&'static str, String)>;

fn section(text: &mut String, title: &str, lines: &Lines) {
    let _ = writeln!(text, "{title}");
    for (name, value) in lines {
        let _ = writeln!(text, "  {name:<13}{value}");
    }
    text.push('\n');
}

fn system(known: &Known) -> Lines {
    let found = &known.inspected.found;
    let or_unknown = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let version = found.os_release.get("VERSION_ID").unwrap_or("unknown");
    let channel = version.parse::<Release>().ok().and_then(Release::channel);
    let channel = channel.map(|channel| format!(" ({channel})")).unwrap_or_default();
    let era = match found.era {
        Era::Torcx => "Docker and containerd from the store of Torcx",
        Era::Sysext => "extensions that ship with it, merged by the booted system",
        Era::Initrd => "extensions that ship with it, merged in the initrd",
    };
    let base = match (&known.base, &known.inspected.base_file) {
        (Some(base), _) => {
            format!("Debian's, of the suite {} at {}", base.archive.suite, base.archive.mirror)
        }
        (None, Some(file)) => format!("Gentoo's, in {}", file.file_name().unwrap_or_default()),
        (None, None) => "not at hand: recipes with packages cannot be built for it".to_owned(),
    };
    vec![
        ("version", format!("{version}{channel}")),
        ("architecture", found.architecture.to_string()),
        ("era", format!("{}: {era}", found.era)),
        ("systemd", found.systemd.to_string()),
        ("docker", or_unknown(&found.docker)),
        ("containerd", or_unknown(&found.containerd)),
        ("package data", base),
    ]
}

fn disk(known: &Known) -> Lines {
    let found = &known.inspected.found;
    let layers = if known.inspected.builds_on.is_empty() { "" } else { ", over all that it builds on" };
    let mut lines = vec![
        ("path", known.inspected.disk.to_string()),
        ("format", format!("{}, {} for the guest", found.format.name(), format_size(found.size))),
        ("sha256", format!("{}{layers}", found.digest)),
        ("GUID", found.disk_guid.to_string()),
    ];
    lines.extend(known.inspected.builds_on.iter().map(|below| ("builds on", below.to_string())));
    if known.inspected.disk.parent() != Some(&known.inspected.directory) {
        lines.push(("release in", known.inspected.directory.to_string()));
    }
    let beside = &known.inspected.beside;
    lines.push((
        "beside it",
        if beside.is_empty() { "nothing of its release".to_owned() } else { beside.join(", ") },
    ));
    lines
}

fn boot(found: &Inspection) -> Lines {
    let mut ways = Vec::new();
    if found.boots_bios {
        ways.push("BIOS".to_owned());
    }
    let esp = found.esp.clone().unwrap_or_default();
    ways.extend(esp.loaders.iter().map(|architecture| format!("UEFI ({architecture})")));
    let first =
        if esp.first_boot { "the first: Ignition runs" } else { "not the first: Ignition does not run" };
    let ways = if ways.is_empty() { "none".to_owned() } else { ways.join(", ") };
    vec![
        ("ways", ways),
        ("next boot", first.to_owned()),
        ("platform", found.oem.clone().unwrap_or_else(|| "unknown".to_owned())),
    ]
}

fn usr(found: &Inspection) -> Lines {
    let mut lines = vec![("file system", found.usr.to_string())];
    match &found.hash_tree {
        Some(tree) => {
            lines.push((
                "hash tree",
                format!("{} over {} blocks, at byte {}", tree.algorithm, tree.data_blocks, tree.offset),
            ));
            lines.push(("root hash", tree.root_hash.clone()));
        }
        None => lines.push(("hash tree", "none: /usr is not verified".to_owned())),
    }
    if let Some(boot) = found.esp.as_ref().and_then(|esp| esp.root_hash.as_ref()) {
        let tree = found.hash_tree.as_ref().map(|tree| &tree.root_hash);
        let same = if tree == Some(boot) { "the same" } else { boot.as_str() };
        lines.push(("of the boot", same.to_owned()));
    }
    if !found.certificates.is_empty() {
        lines.push(("certificates", found.certificates.join(", ")));
    }
    if let Some(is_empty) = found.usr_b_is_empty {
        lines.push(("USR-B", if is_empty { "empty" } else { "holds something" }.to_owned()));
    }
    lines
}

fn partitions(text: &mut String, partitions: &[Partition]) {
    let _ = writeln!(text, "partitions");
    let _ =
        writeln!(text, "   #  {:<11} {:<17} {:>9}  {:<36}  attributes", "label", "type", "size", "PARTUUID");
    for partition in partitions {
        let guid = partition.type_guid.to_string();
        let kind = partition.type_name.as_deref().unwrap_or(&guid);
        let choice = partition.choice.map(|choice| {
            let successful = if choice.successful { ", successful" } else { "" };
            format!("  priority {}, tries {}{successful}", choice.priority, choice.tries)
        });
        let _ = writeln!(
            text,
            "  {:>2}  {:<11} {kind:<17} {:>9}  {}{}",
            partition.number,
            partition.label,
            format_size(partition.size),
            partition.guid,
            choice.unwrap_or_default()
        );
    }
}

fn extensions(text: &mut String, found: &Inspection) {
    let _ = writeln!(text, "\nextensions");
    if found.extensions.is_empty() {
        let _ = writeln!(text, "  none");
    }
    for extension in &found.extensions {
        let signed = if extension.signed { ", signed" } else { "" };
        let field = |name: &str| extension.release.get(name).map(|value| format!(" {name}={value}"));
        let fields: String =
            ["ID", "VERSION_ID", "SYSEXT_LEVEL", "SYSEXT_VERSION_ID"].into_iter().filter_map(field).collect();
        let _ = writeln!(
            text,
            "  {:<20} {:<9} {:>9}{signed}  {}\n  {:<20}{fields}",
            extension.name,
            extension.file_system.to_string(),
            format_size(extension.size),
            extension.path,
            ""
        );
    }
}
