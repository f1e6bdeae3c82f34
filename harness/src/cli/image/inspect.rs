// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use clap::Args;
use loadgauge_host::Store;
use loadgauge_images::Base;
use loadgauge_images::image::ImageError;
use loadgauge_images::inspect::{Inspected, verify_usr};

use super::extension;
use super::page::{ImageDescription, page};
use crate::cli::format_choice::FormatChoice;
use crate::cli::image_choice::ImageArgument;
use crate::cli::{Exit, Failure, built_images, output};

/// Arguments of `loadgauge image inspect`.
#[derive(Debug, Args)]
pub(crate) struct ImageInspectArguments {
    #[command(flatten)]
    image: ImageArgument,

    /// Also verify every block of /usr against the dm-verity hash tree
    #[arg(long)]
    verify: bool,

    #[command(flatten)]
    format: FormatChoice,
}

/// Describes an image: a disk of Flatcar, or an extension.
pub(super) fn run(arguments: &ImageInspectArguments) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let path = built_images::find(arguments.image.image.as_deref(), &store)?;
    if extension::is_file_system(&path)
        && let Some(exit) = describe_extension(&path, arguments)?
    {
        return Ok(exit);
    }
    let mut inspected = match Inspected::open(&path, &store, &output::message) {
        Err(error @ ImageError::NoUsr(_)) => {
            return describe_extension(&path, arguments)?.ok_or_else(|| error.into());
        }
        other => other?,
    };
    let base: Option<Base> = inspected.base(&store).unwrap_or_else(|error| {
        inspected.inspection.warnings.push(loadgauge_host::error::on_one_line(&error));
        None
    });
    let description = ImageDescription { inspected, base };
    arguments.format.print(&description, || printable(&page(&description)))?;
    if arguments.verify {
        if let Err(error) = verify_usr(&description.inspected.disk) {
            return Err(Failure::of(Exit::Failed, &error));
        }
        output::message("every block of /usr matches the dm-verity hash tree");
    }
    Ok(Exit::Passed)
}

/// Describes an image of an extension, if it is one.
fn describe_extension(path: &Utf8Path, arguments: &ImageInspectArguments) -> Result<Option<Exit>, Failure> {
    let Some(description) = extension::describe(path)? else { return Ok(None) };
    if arguments.verify {
        let message = format!("`{path}` is an extension, and --verify is for /usr of a Flatcar disk");
        return Err(Failure::new(Exit::Usage, message));
    }
    arguments.format.print(&description, || printable(&extension::page(&description)))?;
    Ok(Some(Exit::Passed))
}

/// Escapes the control characters of an image's texts, which a terminal would execute.
fn printable(text: &str) -> String {
    let escape = |character: char| match character {
        '\n' => "\n".to_owned(),
        other if other.is_control() => other.escape_default().to_string(),
        other => other.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_an_image_do_not_reach_the_terminal() {
        assert_eq!(printable("a\n\u{1b}]0;x\u{7}\té\u{9b}"), "a\n\\u{1b}]0;x\\u{7}\\té\\u{9b}");
    }
}
