// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Problem;
use serde::Deserialize;
use toml::Spanned;

use super::error::RecipeError;
use super::finish::Finish;
use super::sections::{ArchiveSection, DebianSection, FileSection, GentooSection, ImageSection, TreeSection};
use crate::extension::Format;
use crate::pack::Packing;
use crate::signing::KeyPair;

/// A file that describes how an extension is built.
///
/// The same recipe serves any image: everything that depends on the image (its version, its
/// architecture, its packages) is in the [`Target`](crate::Target) that it is built for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// the name of the extension in systemd-sysext
    pub name: Spanned<String>,
    /// its purpose, in one line
    #[serde(default)]
    pub summary: String,
    /// its name for people; by default that of the ebuild's variable `SYSEXT_NAME`, if it has one
    pub display_name: Option<String>,
    /// its version, for people and for systemd-sysupdate
    pub version: Option<Spanned<String>>,
    /// the website of its project
    pub homepage: Option<String>,
    /// the URL of its bug tracker
    pub bug_report: Option<String>,
    /// the time of every file in seconds since 1970, unless the environment has `SOURCE_DATE_EPOCH`
    pub source_date_epoch: Option<u32>,
    /// the systems that can merge it
    #[serde(default)]
    pub compatible: Compatible,
    /// names of recipes in the same directory whose packages count as part of the base
    #[serde(default)]
    pub base_extensions: Vec<Spanned<String>>,
    /// package databases beside the recipe, such as a published `NAME_pkginfo.raw`, whose Gentoo packages
    /// count as part of the base
    #[serde(default)]
    pub base_packages: Vec<Spanned<Utf8PathBuf>>,
    /// Debian packages, with the dependencies that the base lacks
    #[serde(default)]
    pub debian: Vec<DebianSection>,
    /// Gentoo binary packages, with the dependencies that the base lacks
    #[serde(default)]
    pub gentoo: Vec<GentooSection>,
    /// archives to unpack
    #[serde(default, rename = "archive")]
    pub archives: Vec<ArchiveSection>,
    /// existing extension images
    #[serde(default, rename = "image")]
    pub images: Vec<ImageSection>,
    /// directories beside the recipe
    #[serde(default, rename = "tree")]
    pub trees: Vec<TreeSection>,
    /// single files and links
    #[serde(default, rename = "file")]
    pub files: Vec<FileSection>,
    /// changes to the complete tree
    #[serde(default)]
    pub finish: Finish,
    /// the image format and its options
    #[serde(default)]
    pub pack: Packing,
    /// the place of publication
    pub publish: Option<Publish>,
    /// the recipe's file
    #[serde(skip)]
    pub path: Utf8PathBuf,
    /// the text of the file, which is part of a build's key
    #[serde(skip)]
    pub text: String,
}

/// The contents of the extension-release file. See extension-release in os-release(5).
///
/// With neither `version-id` nor `sysext-level`, the extension is bound to the `SYSEXT_LEVEL` of the
/// image, as Flatcar advises, or to its `VERSION_ID` where the image has no level.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Compatible {
    /// `image` (the default): the image's own; `_any`; or a literal
    pub id: Option<String>,
    /// `image` or a literal
    pub version_id: Option<String>,
    /// `image` or a literal
    pub sysext_level: Option<String>,
    /// `image` (the default), `x86-64`, `arm64`, `_any`, or `other`: one that the image does not have
    pub architecture: Option<String>,
    /// whether systemd looks for new units after a merge; by default, whether the extension has units
    pub reload_manager: Option<bool>,
    /// the name inside `extension-release.NAME` where it differs from the extension's, for tests of
    /// systemd's refusal
    pub release_name: Option<String>,
}

/// The place where systemd-sysupdate finds the extension and its later versions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Publish {
    /// the directory with `SHA256SUMS` and the images
    pub url: Spanned<String>,
}

impl Recipe {
    /// The same recipe for an extension of another name.
    #[must_use]
    pub fn with_name(&self, name: &str) -> Self {
        let span = self.name.span();
        Self { name: Spanned::new(span, name.to_owned()), ..self.clone() }
    }

    /// The same recipe, with a key pair that signs a DDI.
    #[must_use]
    pub fn signed_by(&self, pair: &KeyPair) -> Self {
        let mut recipe = self.clone();
        recipe.pack.signer = Some(pair.clone());
        recipe
    }

    /// The image format: the requested one, else the recipe's, else squashfs.
    pub fn format(&self, requested: Option<Format>) -> Format {
        requested.or(self.pack.format).unwrap_or(Format::Squashfs)
    }

    /// The extension's name.
    pub fn name(&self) -> &str {
        self.name.get_ref()
    }

    /// Resolves a path of the recipe, which is relative to the recipe's directory.
    pub fn beside(&self, path: &Utf8Path) -> Utf8PathBuf {
        self.directory().join(path)
    }

    /// The directory of the recipe.
    pub(crate) fn directory(&self) -> &Utf8Path {
        self.path.parent().unwrap_or(Utf8Path::new(""))
    }

    /// An error at a place in the recipe.
    pub(crate) fn error<T>(&self, at: &Spanned<T>, cause: impl Into<String>, hint: &str) -> RecipeError {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Problem::new(&self.path, &self.text, at.span(), cause, hint).into()
    }

    /// The place of an `[[image]]` in the recipe, for errors about it.
    pub(crate) fn place_of<'a>(&'a self, section: &'a ImageSection) -> &'a Spanned<String> {
        section.url.as_ref().or(section.sha256.as_ref()).unwrap_or(&self.name)
    }

    /// Replaces `{name}` by the extension's name.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("{name}", self.name())
    }
}
