// SPDX-License-Identifier: Apache-2.0
use crate::extension::Format;
use crate::pack::Identity;

/// The extension that is described.
pub(crate) struct Subject<'a> {
    /// its name in systemd-sysext
    pub(crate) name: &'a str,
    /// its version, where the recipe has one
    pub(crate) version: Option<&'a str>,
    /// systemd's name of its architecture, or `_any`
    pub(crate) architecture: &'a str,
    /// the file name of its recipe
    pub(crate) recipe: &'a str,
    /// its format
    pub(crate) format: Format,
    /// the file system in it: its format, or that of the partition of a disk image
    pub(crate) file_system: Format,
    /// the name of the image or directory
    pub(crate) file_name: &'a str,
    /// the program that packed it, with its version
    pub(crate) packer: &'a str,
    /// the URL of its publication, where the recipe has one
    pub(crate) url: Option<&'a str>,
    /// its time, and the seed of its identifiers
    pub(crate) identity: &'a Identity,
}
