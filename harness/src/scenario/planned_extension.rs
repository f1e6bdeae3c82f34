// SPDX-License-Identifier: Apache-2.0
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::lint::{self, BaseTree, Content, Finding, Severity, judge, judge_foreign};
use loadgauge_builder::{Extension, Format, ImageError, Target};
use loadgauge_host::{FileError, Hint as _, fs};
use loadgauge_ignition::delivery::{HowDelivered, Payload, PayloadKind};
use loadgauge_images::{Image, OsRelease};
use serde::Serialize;

use super::Source;
use super::definition::image_name;

/// An extension of a planned machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedExtension {
    /// name for systemd-sysext
    pub name: String,
    /// the recipe or the image that the scenario names
    pub source: Source,
    /// format of the image; unknown for an image that was not built from a recipe
    pub format: Option<Format>,
    /// path on the host
    pub path: Utf8PathBuf,
    /// size in bytes
    pub size: u64,
    /// SHA-512, in hex
    pub sha512: String,
    /// its extension-release file; absent where the image has none of its name
    pub release: Option<OsRelease>,
    /// faults of an image that was not built from a recipe; a build reports its own
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// how the guest gets the extension
    pub delivered: HowDelivered,
}

/// A built extension in Ignition's terms.
fn payload(extension: &Extension) -> Payload {
    let path = extension.path.clone();
    let kind = match extension.format {
        Format::Directory => PayloadKind::Directory { path },
        _ => PayloadKind::Image { path, size: extension.size, sha512: extension.sha512.clone() },
    };
    Payload { name: extension.name.clone(), kind }
}

/// An extension that was built or found, before its delivery is chosen.
#[derive(Debug, Clone)]
pub(super) struct ResolvedExtension {
    pub(super) payload: Payload,
    format: Option<Format>,
    pub(super) path: Utf8PathBuf,
    size: u64,
    sha512: String,
    release: Option<OsRelease>,
    findings: Vec<Finding>,
    /// the files of an image; those of a built extension are listed next to it
    tree: Option<BaseTree>,
}

/// The images that the user brings, each of which is read once for a plan.
pub(super) struct Images<'a> {
    image: &'a Image,
    digest: &'a dyn Fn(&Utf8Path) -> io::Result<String>,
    target: OnceCell<Target<'a>>,
    known: RefCell<BTreeMap<(Utf8PathBuf, Option<String>), ResolvedExtension>>,
}

impl<'a> Images<'a> {
    /// No images yet. `image` is the one that boots, and `digest` computes the SHA-512 of a file.
    pub(super) fn new(image: &'a Image, digest: &'a dyn Fn(&Utf8Path) -> io::Result<String>) -> Self {
        Self { image, digest, target: OnceCell::new(), known: RefCell::default() }
    }

    /// What an extension for the image that boots is built and judged against.
    pub(super) fn target(&self) -> &Target<'a> {
        self.target.get_or_init(|| Target::of_image(self.image))
    }

    /// Reads and judges an image, unless it is known.
    ///
    /// # Errors
    /// It cannot be read, or was made to write outside of the directory that it is extracted to.
    pub(super) fn resolve(
        &self,
        path: &Utf8Path,
        name: Option<&str>,
    ) -> Result<ResolvedExtension, ImageError> {
        let key = (path.to_owned(), name.map(str::to_owned));
        if let Some(known) = self.known.borrow().get(&key) {
            return Ok(known.clone());
        }
        let resolved = ResolvedExtension::image(path, name, self.target(), self.digest)?;
        self.known.borrow_mut().insert(key, resolved.clone());
        Ok(resolved)
    }
}

impl ResolvedExtension {
    /// An extension that was built from a recipe.
    pub(super) fn built(extension: Extension) -> Self {
        Self {
            payload: payload(&extension),
            format: Some(extension.format),
            path: extension.path,
            size: extension.size,
            sha512: extension.sha512,
            release: Some(extension.release),
            findings: Vec::new(),
            tree: None,
        }
    }

    /// An image that the user brings. The findings of the builder's rules are logged and kept, but are not an
    /// error: the guest decides, and a scenario may expect its refusal. `digest` computes the SHA-512.
    fn image(
        path: &Utf8Path,
        name: Option<&str>,
        target: &Target<'_>,
        digest: &dyn Fn(&Utf8Path) -> io::Result<String>,
    ) -> Result<Self, ImageError> {
        let size = fs::metadata(path)?.len();
        let sha512 = digest(path).map_err(FileError::at("read", path))?;
        let name = name.unwrap_or(image_name(path)).to_owned();
        let kind = PayloadKind::Image { path: path.to_owned(), size, sha512: sha512.clone() };
        let (content, findings) = judged(path, &name, target)?;
        log(path.file_name().unwrap_or_default(), &findings);
        let release = content.as_ref().and_then(Content::release);
        let tree = content.as_ref().map(Content::tree);
        let payload = Payload { name, kind };
        Ok(Self { payload, format: None, path: path.to_owned(), size, sha512, release, findings, tree })
    }

    /// The name and the file of an image for a swap.
    pub(super) fn image_file(self) -> (String, Utf8PathBuf) {
        (self.payload.name, self.path)
    }

    /// The planned extension, once its delivery was chosen.
    pub(super) fn delivered(self, source: Source, delivered: HowDelivered) -> PlannedExtension {
        PlannedExtension {
            name: self.payload.name,
            source,
            format: self.format,
            path: self.path,
            size: self.size,
            sha512: self.sha512,
            release: self.release,
            findings: self.findings,
            delivered,
        }
    }
}

/// The content of an image, if it can be read, and the findings about it.
///
/// # Errors
/// The image was made to write outside of the directory that it is extracted to.
fn judged(
    path: &Utf8Path,
    name: &str,
    target: &Target<'_>,
) -> Result<(Option<Content>, Vec<Finding>), ImageError> {
    let error = match Content::of_extension(path, name) {
        Ok(content) => {
            let findings = judge(&content, target);
            return Ok((Some(content), findings));
        }
        Err(error) => error,
    };
    if error.is_hostile() {
        return Err(error);
    }
    let foreign = judge_foreign(path)?;
    if foreign.is_none() {
        let image = path.file_name().unwrap_or_default();
        let reason = error.source().map(ToString::to_string);
        tracing::warn!(image, %error, reason, hint = error.hint(), "the image was not checked");
    }
    Ok((None, foreign.into_iter().collect()))
}

/// Sentences about files that two extensions contain. Those of images were read; those of built extensions
/// are in the builder's lists of contents next to them.
pub(super) fn overlaps(extensions: &[ResolvedExtension]) -> Vec<String> {
    let contents = |extension: &ResolvedExtension| {
        let name = extension.payload.name.clone();
        if let Some(tree) = &extension.tree {
            return Some((name, tree.clone()));
        }
        let list = extension.path.with_file_name(format!("{name}_contents.txt"));
        Some((name, BaseTree::parse(&fs::read_to_string(list).ok()?)))
    };
    let contents: Vec<_> = extensions.iter().filter_map(contents).collect();
    let contents: Vec<_> = contents.iter().map(|(name, tree)| (name.as_str(), tree.clone())).collect();
    lint::overlaps(&contents)
}

fn log(image: &str, findings: &[Finding]) {
    for finding in findings {
        match finding.severity {
            Severity::Error => tracing::error!(image, "{finding}"),
            Severity::Warning => tracing::warn!(image, "{finding}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use loadgauge_host::{CommandExt as _, Tool};
    use loadgauge_images::Architecture;

    use super::*;

    #[test]
    fn only_the_extension_release_of_the_own_name_counts() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let place = directory.join("tree/usr/lib/extension-release.d");
        std::fs::create_dir_all(&place).expect("made");
        std::fs::write(place.join("extension-release.tool"), "ID=flatcar\nSYSEXT_LEVEL=1.0\n")
            .expect("written");
        let image = directory.join("tool-1.2.raw");
        let mut command = Tool::find("mksquashfs").expect("on the host").command();
        command.arg(directory.join("tree")).arg(&image).args(["-quiet", "-no-progress"]);
        command.run().expect("packed");
        let digest = |_: &Utf8Path| Ok("00".to_owned());
        let os_release = OsRelease::parse("ID=flatcar\nVERSION_ID=1.0.0\nSYSEXT_LEVEL=1.0\n").expect("valid");
        let target = Target {
            os_release: &os_release,
            architecture: Architecture::Amd64,
            systemd: Some(257),
            base: None,
            portage: None,
            root: None,
            links: BaseTree::new(),
        };
        let resolve = |name| ResolvedExtension::image(&image, name, &target, &digest).expect("read");
        let named = resolve(Some("tool"));
        assert_eq!(named.findings, []);
        assert_eq!(named.release.as_ref().and_then(|release| release.get("ID")), Some("flatcar"));
        let another = resolve(Some("another"));
        assert_eq!(
            overlaps(&[named, another]),
            [
                "`tool` and `another` both contain /usr/lib/extension-release.d/extension-release.tool: one hides the other"
            ]
        );
        let misnamed = resolve(None);
        assert_eq!(misnamed.release, None, "no `extension-release.tool-1.2`");
        assert_eq!(misnamed.findings[0].rule, "extension-release");
        std::fs::write(&image, "no image").expect("written");
        assert_eq!(resolve(Some("tool")).release, None);
        std::fs::write(&image, [0x1f, 0x8b, 8, 0]).expect("written");
        assert_eq!(resolve(Some("tool")).findings[0].rule, "format");
    }
}
