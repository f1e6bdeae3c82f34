// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

use super::component::Component;
use super::contents::Listing;
use super::provenance::Input;
use super::{DescribeError, disk_usage, pkginfo, provenance, sbom, sums, transfer};
use crate::pack::Identity;
use crate::{Extension, Format};
use loadgauge_host::digest;

/// What is described.
pub(crate) struct Subject<'a> {
    /// what systemd-sysext calls it
    pub(crate) name: &'a str,
    /// its version, where the recipe has one
    pub(crate) version: Option<&'a str>,
    /// systemd's name of what it runs on, where it is bound to one
    pub(crate) architecture: &'a str,
    /// the file name of its recipe
    pub(crate) recipe: &'a str,
    /// how it is packed
    pub(crate) format: Format,
    /// the name of the image or directory
    pub(crate) file_name: &'a str,
    /// what packed it
    pub(crate) packer: &'a str,
    /// where it is published, where the recipe says so
    pub(crate) url: Option<&'a str>,
    /// its time, and what identifiers are derived from
    pub(crate) identity: &'a Identity,
}

/// What is in it.
pub(crate) struct Material {
    /// every file
    pub(crate) listing: Listing,
    /// bytes of all files
    pub(crate) uncompressed: u64,
    /// packages
    pub(crate) components: Vec<Component>,
    /// the files of Debian packages
    pub(crate) packages: Vec<Utf8PathBuf>,
    /// what Portage's database would say of Gentoo packages: files, by paths relative to the root
    pub(crate) database: Vec<(String, Vec<u8>)>,
    /// everything that it was made from
    pub(crate) inputs: Vec<Input>,
}

/// Writes all that is told about an extension into the directory in which it lies, and gives the
/// names of the files.
///
/// # Errors
/// See [`DescribeError`].
pub(crate) fn write(
    subject: &Subject<'_>,
    extension: &Extension,
    material: &Material,
    directory: &Utf8Path,
) -> Result<Vec<String>, DescribeError> {
    let name = subject.name;
    let Material { listing, uncompressed, components, packages, database, inputs } = material;
    let mut files = Files { directory, digests: BTreeMap::new() };
    files.write(&format!("{name}_contents.txt"), &listing.contents())?;
    files.write(&format!("{name}_contents_wtd.txt"), &listing.technical())?;
    let usage = disk_usage::table(subject.format, extension.size, *uncompressed);
    files.write(&format!("{name}_disk_usage.txt"), &usage)?;
    let mut components = components.clone();
    components.sort();
    let list: String = components.iter().map(|component| component.to_string() + "\n").collect();
    files.write(&format!("{name}_packages.txt"), &list)?;
    let mut database = database.clone();
    if !packages.is_empty() {
        let status = pkginfo::dpkg_status(packages.iter().map(Utf8PathBuf::as_path))?;
        database.push(("var/lib/dpkg/status".to_owned(), status.into_bytes()));
    }
    if !database.is_empty() {
        let file = format!("{name}_pkginfo.raw");
        pkginfo::pack(&database, subject.identity, &directory.join(&file))?;
        files.take(&file)?;
    }
    let (sha256, digests) = image_digests(subject, extension, &mut files)?;
    let bill = sbom::document(subject, &components, sha256.as_deref());
    files.write(&format!("{name}.spdx.json"), &pretty(&bill))?;
    let statement = provenance::statement(subject, inputs, &(subject.file_name, digests));
    files.write(&format!("{name}.provenance.json"), &pretty(&statement))?;
    publish(subject, &mut files)?;
    let text = sums::text(&files.digests);
    let mut names: Vec<String> = files.digests.keys().cloned().collect();
    files.write("SHA256SUMS", &text)?;
    names.retain(|file| file != subject.file_name);
    names.push("SHA256SUMS".to_owned());
    Ok(names)
}

fn image_digests(
    subject: &Subject<'_>,
    extension: &Extension,
    files: &mut Files<'_>,
) -> Result<(Option<String>, Value), DescribeError> {
    if subject.format == Format::Directory {
        // Of the listing with the digests of all files.
        return Ok((None, json!({ "sha512": extension.sha512 })));
    }
    let sha256 = files.take(subject.file_name)?;
    let digests = json!({ "sha256": sha256, "sha512": extension.sha512 });
    Ok((Some(sha256), digests))
}

/// A second name for the image, which systemd-sysupdate finds its version in, and the transfer file.
fn publish(subject: &Subject<'_>, files: &mut Files<'_>) -> Result<(), DescribeError> {
    let (Some(url), Some(version)) = (subject.url, subject.version) else { return Ok(()) };
    if subject.format == Format::Directory {
        return Ok(());
    }
    files.write(&format!("{}.conf", subject.name), &transfer::text(subject.name, url))?;
    let published = transfer::published(subject.name, version, subject.architecture);
    let path = files.directory.join(&published);
    fs::hard_link(files.directory.join(subject.file_name), &path)
        .map_err(DescribeError::io("create", &path))?;
    files.take(&published).map(drop)
}

/// The files in a directory, with their SHA-256.
struct Files<'a> {
    directory: &'a Utf8Path,
    digests: BTreeMap<String, String>,
}

impl Files<'_> {
    fn write(&mut self, name: &str, text: &str) -> Result<(), DescribeError> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(DescribeError::io("write", &path))?;
        self.take(name).map(drop)
    }

    fn take(&mut self, name: &str) -> Result<String, DescribeError> {
        let path = self.directory.join(name);
        let sha256 = digest::sha256_of_file(&path).map_err(DescribeError::io("read", &path))?;
        self.digests.insert(name.to_owned(), sha256.clone());
        Ok(sha256)
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
