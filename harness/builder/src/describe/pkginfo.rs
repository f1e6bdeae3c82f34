// SPDX-License-Identifier: Apache-2.0
//! The package database of what an extension adds, so that a later one can be built beyond it.
//! Flatcar's SDK keeps `/var/db/pkg` of its packages in the same way.
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use camino::Utf8Path;

use super::DescribeError;
use crate::pack::{self, Identity};
use crate::stage::{StageError, Staged};

/// More than any control archive unpacks to, in bytes.
const MAXIMUM: u64 = 64 << 20;

/// dpkg's status file with the packages of these files in it, as if they were installed.
pub(super) fn dpkg_status<'a>(packages: impl Iterator<Item = &'a Utf8Path>) -> Result<String, DescribeError> {
    let mut paragraphs = packages
        .map(|path| control(path).map(|text| paragraph(&text)))
        .collect::<Result<Vec<String>, _>>()?;
    paragraphs.sort();
    Ok(paragraphs.join("\n"))
}

/// Packs files, by paths relative to the root, as the SDK does (`-comp zstd -Xcompression-level 22
/// -b 512k`).
pub(super) fn pack(
    files: &[(String, Vec<u8>)],
    identity: &Identity,
    output: &Utf8Path,
) -> Result<(), DescribeError> {
    let parent = output.parent().unwrap_or(Utf8Path::new("."));
    let stage = |error: StageError| DescribeError::io("stage", output)(std::io::Error::other(error));
    let mut staged = Staged::new_in(parent).map_err(stage)?;
    let origin: Arc<str> = Arc::from("the builder");
    for (path, bytes) in files {
        staged.put_file(Utf8Path::new(path), 0o644, &mut bytes.as_slice(), &origin).map_err(stage)?;
    }
    staged.settle(identity.epoch).map_err(stage)?;
    Ok(pack::pack_database(&staged, identity, output)?)
}

/// What dpkg keeps of a package: `Status` follows the name.
fn paragraph(control: &str) -> String {
    let mut lines: Vec<&str> = control.trim_end().lines().collect();
    let name = lines.iter().position(|line| line.starts_with("Package:")).unwrap_or(0);
    lines.insert(name + 1, "Status: install ok installed");
    lines.join("\n") + "\n"
}

/// The file `control` of a package, see deb(5).
fn control(path: &Utf8Path) -> Result<String, DescribeError> {
    let fail = |what: String| DescribeError::Control { path: path.to_owned(), what };
    let mut archive = ar::Archive::new(File::open(path).map_err(DescribeError::io("read", path))?);
    while let Some(entry) = archive.next_entry() {
        let entry = entry.map_err(|error| fail(error.to_string()))?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        let Some(suffix) = name.strip_prefix("control.tar") else { continue };
        let reader: Box<dyn Read> = match suffix {
            "" => Box::new(entry),
            ".gz" => Box::new(flate2::read::MultiGzDecoder::new(entry)),
            ".xz" => Box::new(liblzma::read::XzDecoder::new_multi_decoder(entry)),
            ".zst" => Box::new(zstd::Decoder::new(entry).map_err(|error| fail(error.to_string()))?),
            other => return Err(fail(format!("it is compressed as `{other}`"))),
        };
        return member(reader).map_err(|error| fail(error.to_string()));
    }
    Err(fail("there is no member `control.tar`".to_owned()))
}

fn member(reader: impl Read) -> std::io::Result<String> {
    let mut archive = tar::Archive::new(reader.take(MAXIMUM));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if matches!(entry.path_bytes().as_ref(), b"control" | b"./control") {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            return Ok(text);
        }
    }
    Err(std::io::Error::new(std::io::ErrorKind::NotFound, "there is no file `control` in it"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use camino::Utf8PathBuf;
    use loadgauge_host::{CommandExt as _, Tool};

    use super::*;

    #[test]
    fn dpkg_query_reads_what_is_written_of_real_packages() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        let mut packages = Vec::new();
        for (name, compression) in [("tool", "xz"), ("library", "gzip"), ("third", "zstd")] {
            let tree = root.join(name);
            fs::create_dir_all(tree.join("DEBIAN")).expect("made");
            let control = format!(
                "Package: {name}\nVersion: 1.0-1\nArchitecture: all\nMaintainer: nobody <x@example.org>\n\
                 Description: a package\n with two lines\n"
            );
            fs::write(tree.join("DEBIAN/control"), control).expect("written");
            let package = root.join(format!("{name}.deb"));
            let mut command = Tool::find("dpkg-deb").expect("a tool of the host").command();
            command.arg(format!("-Z{compression}")).args(["--build", "--root-owner-group"]);
            command.args([&tree, &package]).run().unwrap_or_else(|error| panic!("{error}"));
            packages.push(package);
        }
        let status = dpkg_status(packages.iter().map(Utf8PathBuf::as_path)).expect("read");
        fs::create_dir_all(root.join("db/info")).expect("made");
        fs::write(root.join("db/status"), status).expect("written");
        let mut query = Tool::find("dpkg-query").expect("a tool of the host").command();
        query
            .arg(format!("--admindir={root}/db"))
            .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"]);
        let output = query.run().unwrap_or_else(|error| panic!("{error}"));
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(said, "library installed\nthird installed\ntool installed\n");
    }
}
