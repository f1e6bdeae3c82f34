// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};

use super::base::{ROOT_ARCHIVE, TIME};
use super::blueprint::UsrFileSystem;
use super::disk::{self, Content, PlacedPartition};
use super::error::StandinError;
use super::options::Options;
use super::vendor_extension::VendorExtension;
use super::{namespace, tree};
use loadgauge_host::digest::Inputs;
use loadgauge_host::{CommandExt as _, Entry, Store, Tool};
use loadgauge_images::base::Base;

/// The version of an entry's layout, raised when the layout changes and the inputs do not.
const FORMAT: &str = "1";
/// Programs of the host that the script calls.
const TOOLS: [&str; 8] =
    ["mke2fs", "mkfs.btrfs", "mkfs.erofs", "openssl", "sfdisk", "sha256sum", "tar", "veritysetup"];

/// The file systems of a disk, stored in an entry of the store.
#[derive(Debug)]
pub(super) struct FileSystems {
    directory: Utf8PathBuf,
    /// the digest of all inputs
    key: String,
    /// the root hash of /usr, in hex
    pub(super) root_hash: String,
}

impl FileSystems {
    /// Returns the digest of all inputs, in hex.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Returns the image of a partition's content, if this module makes one.
    pub(super) fn image(&self, content: Content) -> Option<Utf8PathBuf> {
        let name = match content {
            Content::Usr => "usr.img",
            Content::Oem => "oem.img",
            Content::Root => "root.img",
            Content::Esp | Content::BiosBoot | Content::Empty => return None,
        };
        Some(self.directory.join(name))
    }
}

/// Builds the content of USR-A, OEM and ROOT, or finds it in the store.
pub(super) fn build(
    store: &Store,
    options: &Options,
    (base, directory): (&Base, &Utf8Path),
    extensions: &[VendorExtension],
    records: &BTreeMap<String, String>,
    progress: &dyn Fn(&str),
) -> Result<FileSystems, StandinError> {
    let layout = disk::layout(options.blueprint);
    let scripts = scripts(options)?;
    let key = key(options, base, &layout, &scripts, records);
    let directory = match store.entry("standin-file-systems", &key)? {
        Entry::Ready(entry) => entry,
        Entry::Vacant(vacancy) => {
            progress("making the file systems");
            make(vacancy.directory(), options, &layout, &scripts, &directory.join(ROOT_ARCHIVE), extensions)?;
            vacancy.commit()?
        }
    };
    let path = directory.join("root-hash");
    let root_hash = fs::read_to_string(&path)?.trim().to_owned();
    Ok(FileSystems { directory, key, root_hash })
}

/// Returns the script that makes the file systems and the scripts that it calls; the last is optional.
fn scripts(options: &Options) -> Result<Vec<(&'static str, String)>, StandinError> {
    let missing = |name| FileError::at("read", Utf8Path::new(name))(std::io::ErrorKind::NotFound.into());
    let mut scripts = Vec::new();
    for (name, required) in [("assemble.sh", true), ("deliver.sh", true), ("finish.sh", false)] {
        match tree::hook(name, options) {
            Some(text) => scripts.push((name, text)),
            None if required => return Err(missing(name).into()),
            None => {}
        }
    }
    Ok(scripts)
}

/// Returns the digest of all inputs.
fn key(
    options: &Options,
    base: &Base,
    layout: &[PlacedPartition],
    scripts: &[(&str, String)],
    extensions: &BTreeMap<String, String>,
) -> String {
    let mut inputs = Inputs::default();
    inputs.add("format", FORMAT);
    inputs.add("release", options.blueprint.release.to_string());
    inputs.add("base", &base.digest);
    inputs.add("table", disk::sfdisk_script(layout));
    for (name, text) in scripts {
        inputs.add(name, text);
    }
    for (name, digest) in extensions {
        inputs.add(name, digest);
    }
    inputs.finish()
}

/// Runs the script, which writes the file systems to `work`.
fn make(
    work: &Utf8Path,
    options: &Options,
    layout: &[PlacedPartition],
    scripts: &[(&str, String)],
    root_archive: &Utf8Path,
    extensions: &[VendorExtension],
) -> Result<(), StandinError> {
    for tool in TOOLS {
        Tool::find(tool)?;
    }
    for (name, text) in scripts {
        let path = work.join(name);
        fs::write(&path, text)?;
    }
    let usr = match options.blueprint.usr_file_system() {
        UsrFileSystem::Ext2 => "ext2",
        UsrFileSystem::Btrfs => "btrfs",
    };
    let mut arguments = vec![root_archive.to_string(), work.to_string(), usr.to_owned()];
    arguments.extend(extensions.iter().map(|extension| format!("{}={}", extension.name, extension.path)));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = namespace::script(&work.join("assemble.sh"), &arguments)?;
    command.env("SOURCE_DATE_EPOCH", TIME.to_string());
    for (name, content) in [("OEM_BYTES", Content::Oem), ("ROOT_BYTES", Content::Root)] {
        command.env(name, disk::length_of(layout, content).to_string());
    }
    command.run()?;
    for (name, _) in scripts {
        let path = work.join(name);
        fs::remove_file(&path)?;
    }
    Ok(())
}
