// SPDX-License-Identifier: Apache-2.0
//! Settings of Flatcar's SDK, as data: each file names its source.

/// Packages that count as installed.
pub(super) const PACKAGE_PROVIDED: &str = include_str!("sdk/package.provided");
/// Further packages that count as installed on arm64.
pub(super) const PACKAGE_PROVIDED_ARM64: &str = include_str!("sdk/package.provided.arm64");
/// Globs of paths that are not installed.
pub(super) const INSTALL_MASK: &str = include_str!("sdk/install-mask");

/// The entries of a settings file: one on a line, without comments.
pub(super) fn entries(file: &str) -> impl Iterator<Item = &str> {
    file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}
