// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use camino::Utf8Path;
use loadgauge_images::Image;
use loadgauge_images::host::Store;
use loadgauge_images::standin::{self, Options};

use super::arguments::{ImageBuildArguments, ImageChoice, OutputFormat};
use super::workshop::{Workshop, catalogue, remember_image};
use super::{Exit, Failure, output, vendor};

/// `loadgauge image build`: the base, the vendor's extensions against it, the disk around both.
pub(super) fn build(arguments: &ImageBuildArguments) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let catalogue = catalogue(None, &store)?;
    let options = Options {
        mirror: arguments.mirror.clone(),
        ..match std::env::var("ERA_TRY") {
            Ok(v) => Options::for_release(v.parse().unwrap()).unwrap(),
            Err(_) => Options::default(),
        }
    };
    let (base, directory) =
        standin::build_base(&store, &options, &|text| output::tell(&format!("base: {text}")))?;
    let extensions = vendor::extensions(&options, &base, &catalogue, &store)?;
    let progress = |text: &str| output::tell(&format!("image: {text}"));
    let image = standin::build_image(&store, &options, (&base, &directory), &extensions, &progress)?;
    remember_image(&image, &store)?;
    output::print(&format!("{}\n", image.disk.parent().unwrap_or(Utf8Path::new("/"))))?;
    Ok(Exit::Passed)
}

/// `loadgauge image show`
pub(super) fn show(choice: &ImageChoice, format: OutputFormat) -> Result<Exit, Failure> {
    let workshop = Workshop::open(None, choice.image.as_deref())?;
    match format {
        OutputFormat::Json => output::print_json(&workshop.image)?,
        OutputFormat::Text => output::print(&describe(&workshop.image))?,
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
