// SPDX-License-Identifier: Apache-2.0
//! The description of an image as text.
use std::fmt::Write as _;

use loadgauge_host::quantity::format_size;
use loadgauge_images::image::Era;
use loadgauge_images::inspect::{Inspected, Inspection, Partition};
use loadgauge_images::{Base, Release};
use serde::Serialize;

/// What is known of an image.
#[derive(Debug, Serialize)]
pub(super) struct ImageDescription {
    /// the disk and the files of its release
    #[serde(flatten)]
    pub(super) inspected: Inspected,
    /// the Debian packages that extensions are built against
    pub(super) base: Option<Base>,
}

/// Writes a section for each part of an image.
pub(super) fn page(image: &ImageDescription) -> String {
    let found = &image.inspected.inspection;
    let mut text = String::new();
    let _ =
        writeln!(text, "{}\n", found.os_release.get("PRETTY_NAME").unwrap_or("an image without PRETTY_NAME"));
    for (title, fields) in
        [("system", system(image)), ("disk", disk(image)), ("boot", boot(found)), ("/usr", usr(found))]
    {
        section(&mut text, title, &fields);
    }
    partitions(&mut text, &found.partitions);
    extensions(&mut text, found);
    for warning in &found.warnings {
        let _ = writeln!(text, "\nwarning: {warning}");
    }
    text
}

/// The lines of a section: a label and a value.
type Fields = Vec<(&'static str, String)>;

fn section(text: &mut String, title: &str, fields: &Fields) {
    let _ = writeln!(text, "{title}");
    for (name, value) in fields {
        let _ = writeln!(text, "  {name:<15}{value}");
    }
    text.push('\n');
}

fn system(image: &ImageDescription) -> Fields {
    let found = &image.inspected.inspection;
    let or_unknown = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let version = found.os_release.get("VERSION_ID").unwrap_or("unknown");
    let channel = version.parse::<Release>().ok().and_then(Release::channel);
    let channel = channel.map(|channel| format!(" ({channel})")).unwrap_or_default();
    let era = match found.era {
        Era::Torcx => "Docker and containerd come from Torcx",
        Era::Sysext => "Docker and containerd are extensions, merged after the initrd",
        Era::Initrd => "Docker and containerd are extensions, merged in the initrd",
    };
    let base = match (&image.base, &image.inspected.base_file) {
        (Some(base), _) => {
            format!("Debian {} from {}", base.archive.suite, base.archive.mirror)
        }
        (None, Some(file)) => format!("Gentoo, in {}", file.file_name().unwrap_or_default()),
        (None, None) => "not available: recipes with packages cannot be built for this image".to_owned(),
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

fn disk(image: &ImageDescription) -> Fields {
    let found = &image.inspected.inspection;
    let layers = if image.inspected.backing_files.is_empty() { "" } else { ", including its backing files" };
    let mut fields = vec![
        ("path", image.inspected.disk.to_string()),
        ("format", format!("{}, virtual size {}", found.format.name(), format_size(found.size))),
        ("sha256", format!("{}{layers}", found.digest)),
        ("GUID", found.disk_guid.to_string()),
    ];
    fields.extend(image.inspected.backing_files.iter().map(|backing| ("backing file", backing.to_string())));
    if image.inspected.disk.parent() != Some(&image.inspected.directory) {
        fields.push(("release", image.inspected.directory.to_string()));
    }
    let files = &image.inspected.release_files;
    let files = if files.is_empty() { "none".to_owned() } else { files.join(", ") };
    fields.push(("other files", files));
    fields
}

fn boot(found: &Inspection) -> Fields {
    let mut firmware = Vec::new();
    if found.boots_bios {
        firmware.push("BIOS".to_owned());
    }
    let esp = found.esp.clone().unwrap_or_default();
    firmware.extend(esp.loaders.iter().map(|architecture| format!("UEFI ({architecture})")));
    let first =
        if esp.first_boot { "first boot, with Ignition" } else { "not the first boot, without Ignition" };
    let firmware = if firmware.is_empty() { "none".to_owned() } else { firmware.join(", ") };
    vec![
        ("firmware", firmware),
        ("next boot", first.to_owned()),
        ("platform", found.oem.clone().unwrap_or_else(|| "unknown".to_owned())),
    ]
}

fn usr(found: &Inspection) -> Fields {
    let mut fields = vec![("file system", found.usr.to_string())];
    match &found.hash_tree {
        Some(tree) => {
            fields.push((
                "dm-verity",
                format!("{} over {} blocks, at byte {}", tree.algorithm, tree.data_blocks, tree.offset),
            ));
            fields.push(("root hash", tree.root_hash.clone()));
        }
        None => fields.push(("dm-verity", "none: /usr is not verified".to_owned())),
    }
    if let Some(boot) = found.esp.as_ref().and_then(|esp| esp.root_hash.as_ref()) {
        let tree = found.hash_tree.as_ref().map(|tree| &tree.root_hash);
        let text = if tree == Some(boot) { "the same" } else { boot.as_str() };
        fields.push(("in boot config", text.to_owned()));
    }
    if !found.certificates.is_empty() {
        fields.push(("certificates", found.certificates.join(", ")));
    }
    if let Some(is_empty) = found.usr_b_is_empty {
        fields.push(("USR-B", if is_empty { "empty" } else { "in use" }.to_owned()));
    }
    fields
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
