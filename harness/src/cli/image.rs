// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use loadgauge_images::Image;
use loadgauge_images::host::Store;
use loadgauge_images::inspect::inspect as look_into;

use super::arguments::{ImageChoice, OutputFormat};
use super::workshop::{Workshop, made_releases};
use super::{Exit, Failure, output};

/// `loadgauge image show`
pub(super) fn show(choice: &ImageChoice, format: OutputFormat) -> Result<Exit, Failure> {
    let workshop = Workshop::open(None, choice.image.as_deref())?;
    match format {
        OutputFormat::Json => output::print_json(&workshop.image)?,
        OutputFormat::Text => output::print(&describe(&workshop.image))?,
    }
    Ok(Exit::Passed)
}

/// `loadgauge image inspect`
pub(super) fn inspect(choice: &ImageChoice) -> Result<Exit, Failure> {
    let workshop = Workshop::open(None, choice.image.as_deref())?;
    output::print_json(&look_into(&workshop.image.disk, &workshop.store)?)?;
    Ok(Exit::Passed)
}

/// `loadgauge image list`
pub(super) fn list() -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let mut text = String::new();
    for (release, path) in made_releases(&store) {
        let era = release.era();
        let _ = writeln!(text, "{:<12} {:<7} {path}", release.to_string(), era.to_string());
    }
    output::print(&text)?;
    if text.is_empty() {
        output::tell("no image was made here yet: loadgauge image build");
    }
    Ok(Exit::Passed)
}

/// An image in words, a fact a line.
fn describe(image: &Image) -> String {
    let facts = &image.facts;
    let field = |name| facts.os_release.get(name).unwrap_or("unknown").to_owned();
    let extensions = match facts.vendor_extensions.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    let packages = if image.base.is_some() {
        "at hand"
    } else {
        "not at hand: recipes with packages cannot be built for it"
    };
    let lines = [
        ("disk", image.disk.to_string()),
        ("format", image.format.name().to_owned()),
        ("sha256", image.digest.clone()),
        ("name", field("PRETTY_NAME")),
        ("version", field("VERSION_ID")),
        ("architecture", facts.architecture.to_string()),
        ("era", facts.era.to_string()),
        ("systemd", facts.systemd.to_string()),
        ("extensions", extensions),
        ("package data", packages.to_owned()),
    ];
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:<13}{value}");
        text
    })
}
