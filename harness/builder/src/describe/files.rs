// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use camino::Utf8Path;
use loadgauge_host::{FileError, digest, fs};
use serde_json::{Value, json};

use super::component::Component;
use super::contents::Listing;
use super::input::Input;
use super::subject::Subject;
use super::{DescribeError, disk_usage, pkginfo, provenance, sbom, sums, transfer};
use crate::extension::{Extension, Format};

/// The facts about an extension besides its name.
pub(crate) struct Details {
    /// the listing of its files
    pub(crate) listing: Listing,
    /// bytes of all files
    pub(crate) uncompressed: u64,
    /// the packages in it
    pub(crate) components: Vec<Component>,
    /// the package database of these packages: files by paths relative to the root
    pub(crate) database: Vec<(String, Vec<u8>)>,
    /// the files that it was built from
    pub(crate) inputs: Vec<Input>,
}

/// Writes all descriptions of an extension into the directory that contains it, and returns the names of
/// the files.
///
/// # Errors
/// See [`DescribeError`].
pub(crate) fn write(
    subject: &Subject<'_>,
    extension: &Extension,
    details: &Details,
    directory: &Utf8Path,
) -> Result<Vec<String>, DescribeError> {
    let name = subject.name;
    let Details { listing, uncompressed, components, database, inputs } = details;
    let mut files = Files { directory, digests: BTreeMap::new() };
    files.write(&format!("{name}_contents.txt"), &listing.contents())?;
    files.write(&format!("{name}_contents_wtd.txt"), &listing.technical())?;
    let usage = disk_usage::table(subject.file_system, extension.size, *uncompressed);
    files.write(&format!("{name}_disk_usage.txt"), &usage)?;
    let mut components = components.clone();
    components.sort();
    let list: String = components.iter().map(|component| component.to_string() + "\n").collect();
    files.write(&format!("{name}_packages.txt"), &list)?;
    if !database.is_empty() {
        let file = format!("{name}_pkginfo.raw");
        pkginfo::pack(database, subject.identity, &directory.join(&file))?;
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
        // The SHA-512 is that of the listing with the digests of all files.
        return Ok((None, json!({ "sha512": extension.sha512 })));
    }
    let sha256 = files.take(subject.file_name)?;
    let digests = json!({ "sha256": sha256, "sha512": extension.sha512 });
    Ok((Some(sha256), digests))
}

/// Writes the transfer file, and links the image under the name that systemd-sysupdate finds its version
/// in.
fn publish(subject: &Subject<'_>, files: &mut Files<'_>) -> Result<(), DescribeError> {
    let (Some(url), Some(version)) = (subject.url, subject.version) else { return Ok(()) };
    if subject.format == Format::Directory {
        return Ok(());
    }
    files.write(&format!("{}.conf", subject.name), &transfer::text(subject.name, url))?;
    let published = transfer::published(subject.name, version, subject.architecture);
    let path = files.directory.join(&published);
    fs::hard_link(files.directory.join(subject.file_name), &path)?;
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
        fs::write(&path, text)?;
        self.take(name).map(drop)
    }

    fn take(&mut self, name: &str) -> Result<String, DescribeError> {
        let path = self.directory.join(name);
        let sha256 = digest::sha256_of_file(&path).map_err(FileError::at("read", &path))?;
        self.digests.insert(name.to_owned(), sha256.clone());
        Ok(sha256)
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
