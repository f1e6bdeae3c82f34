// SPDX-License-Identifier: Apache-2.0
//! The tables of a recipe that name a source.
use camino::Utf8PathBuf;
use serde::Deserialize;
use toml::Spanned;

/// One `[[debian]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DebianSection {
    /// names of packages
    pub packages: Vec<Spanned<String>>,
    /// names of packages that are not added: dependencies on them are dropped
    #[serde(default)]
    pub exclude_packages: Vec<Spanned<String>>,
    /// whether the archive's index is used after its `Valid-Until`, as that of an old release
    #[serde(default)]
    pub allow_expired: bool,
    /// whether recommended packages are installed too
    #[serde(default)]
    pub recommends: bool,
    /// globs of paths to leave out
    #[serde(default)]
    pub exclude: Vec<Spanned<String>>,
    /// globs of files that may hide those of packages in the base
    #[serde(default)]
    pub collision_ignore: Vec<Spanned<String>>,
}

/// One `[[gentoo]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GentooSection {
    /// atoms of packages: `app-misc/foo`, `>=dev-libs/bar-1.2:0[ssl]`
    pub packages: Vec<Spanned<String>>,
    /// a URL, in which `{board}` and `{version-id}` are those of the image, or a directory beside the
    /// recipe; by default Flatcar's binhost of the image's release
    pub binhost: Option<Spanned<String>>,
    /// USE flags that a build must have, as in Portage's `package.use`: `app-misc/foo ssl -x`
    #[serde(default)]
    pub package_use: Vec<Spanned<String>>,
    /// packages that count as installed, beside the `package.provided` of Flatcar's SDK
    #[serde(default)]
    pub package_provided: Vec<Spanned<String>>,
    /// whether the `package.provided` of Flatcar's SDK at the image's release is used
    #[serde(default = "yes")]
    pub sdk_package_provided: bool,
    /// globs of paths to leave out, in place of the `INSTALL_MASK` of Flatcar's SDK
    pub install_mask: Option<Vec<Spanned<String>>>,
    /// globs of further paths to leave out
    #[serde(default)]
    pub exclude: Vec<Spanned<String>>,
    /// globs of files that may hide those of packages in the base, as Portage's `COLLISION_IGNORE`
    #[serde(default)]
    pub collision_ignore: Vec<Spanned<String>>,
    /// whether the packages that install hooks use (`IDEPEND`) are installed too: they belong to the host
    /// that installs, and hooks do not run
    #[serde(default)]
    pub install_dependencies: bool,
}

fn yes() -> bool {
    true
}

/// One `[[archive]]`: a tar archive, compressed or not, or a zip archive.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ArchiveSection {
    /// a file beside the recipe
    pub source: Option<Spanned<Utf8PathBuf>>,
    /// the URL to fetch it from: `https`, `http` or `file`
    pub url: Option<Spanned<String>>,
    /// SHA-256 of the archive, in hex
    pub sha256: Spanned<String>,
    /// the number of leading components to remove from each name, as tar's `--strip-components`
    #[serde(default)]
    pub strip_components: usize,
    /// whether the owners in a tar archive are kept, as numbers; by default all files belong to root
    #[serde(default)]
    pub keep_owners: bool,
    /// the directory to unpack into; by default the root
    pub into: Option<Spanned<String>>,
    /// globs of paths to unpack; by default all
    #[serde(default)]
    pub include: Vec<Spanned<String>>,
    /// globs of paths to leave out
    #[serde(default)]
    pub exclude: Vec<Spanned<String>>,
}

/// One `[[image]]`: an existing extension in any format. Its files are copied, and its
/// extension-release is written anew.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageSection {
    /// an image or a directory beside the recipe
    pub source: Option<Spanned<Utf8PathBuf>>,
    /// the URL to fetch it from: `https`, `http` or `file`
    pub url: Option<Spanned<String>>,
    /// SHA-256 of the image, in hex; required with `url`
    pub sha256: Option<Spanned<String>>,
    /// globs of paths to leave out
    #[serde(default)]
    pub exclude: Vec<Spanned<String>>,
}

/// One `[[tree]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TreeSection {
    /// a directory beside the recipe that contains `usr` or `opt`
    pub source: Spanned<Utf8PathBuf>,
}

/// One `[[file]]`, with exactly one of `contents`, `source` and `link`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSection {
    /// an absolute path under /usr or /opt; `{name}` is replaced by the extension's name
    pub path: Spanned<String>,
    /// permission bits in octal; 0644 by default
    pub mode: Option<Spanned<String>>,
    /// the contents of the file; `{name}` is replaced by the extension's name
    pub contents: Option<String>,
    /// a file beside the recipe
    pub source: Option<Spanned<Utf8PathBuf>>,
    /// the target of a symbolic link
    pub link: Option<String>,
}

impl FileSection {
    /// The permission bits, or `None` where they are not octal or lock the owner out.
    pub(crate) fn mode(&self) -> Option<u32> {
        let Some(mode) = &self.mode else { return Some(0o644) };
        u32::from_str_radix(mode.get_ref(), 8).ok().filter(|mode| *mode <= 0o7777 && mode & 0o400 != 0)
    }
}
