// SPDX-License-Identifier: Apache-2.0
//! dpkg's database of the packages in an extension.
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, fs};

/// The size limit of an unpacked control archive, in bytes.
const MAXIMUM: u64 = 64 << 20;

/// A Debian package whose control file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DpkgStatusError {
    /// the file cannot be read
    #[error(transparent)]
    File(#[from] FileError),
    /// the file has no control file that can be read
    #[error("cannot read the control file of `{path}`: {reason}")]
    Control {
        /// the package file
        path: Utf8PathBuf,
        /// the reason
        reason: String,
    },
}

impl Hint for DpkgStatusError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Control { .. } => None,
        }
    }
}

/// dpkg's status file for package files, as if the packages were installed.
///
/// # Errors
/// A file is not a Debian package, or cannot be read.
pub(crate) fn dpkg_status(packages: &[Utf8PathBuf]) -> Result<String, DpkgStatusError> {
    let mut paragraphs = packages
        .iter()
        .map(|path| control(path).map(|text| paragraph(&text)))
        .collect::<Result<Vec<String>, _>>()?;
    paragraphs.sort();
    Ok(paragraphs.join("\n"))
}

/// The paragraph of an installed package: dpkg writes `Status` behind the name.
fn paragraph(control: &str) -> String {
    let mut lines: Vec<&str> = control.trim_end().lines().collect();
    let name = lines.iter().position(|line| line.starts_with("Package:")).unwrap_or(0);
    lines.insert(name + 1, "Status: install ok installed");
    lines.join("\n") + "\n"
}

/// The file `control` of a package, see deb(5).
///
/// # Errors
/// The file is not a Debian package, or cannot be read.
pub(super) fn control(path: &Utf8Path) -> Result<String, DpkgStatusError> {
    let fail = |reason: String| DpkgStatusError::Control { path: path.to_owned(), reason };
    let mut archive = ar::Archive::new(fs::open(path)?);
    while let Some(entry) = archive.next_entry() {
        let entry = entry.map_err(|error| fail(error.to_string()))?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        let Some(suffix) = name.strip_prefix("control.tar") else { continue };
        let reader: Box<dyn Read> = match suffix {
            "" => Box::new(entry),
            ".gz" => Box::new(flate2::read::MultiGzDecoder::new(entry)),
            ".xz" => Box::new(liblzma::read::XzDecoder::new_multi_decoder(entry)),
            ".zst" => Box::new(zstd::Decoder::new(entry).map_err(|error| fail(error.to_string()))?),
            other => return Err(fail(format!("unknown compression `{other}`"))),
        };
        return member(reader).map_err(|error| fail(error.to_string()));
    }
    Err(fail("no member `control.tar`".to_owned()))
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
    Err(std::io::Error::new(std::io::ErrorKind::NotFound, "no file `control` in `control.tar`"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use loadgauge_host::{CommandExt as _, Tool};

    use super::*;

    #[test]
    fn dpkg_query_reads_the_status_of_real_packages() {
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
        let status = dpkg_status(&packages).expect("read");
        fs::create_dir_all(root.join("db/info")).expect("made");
        fs::write(root.join("db/status"), status).expect("written");
        let mut query = Tool::find("dpkg-query").expect("a tool of the host").command();
        query
            .arg(format!("--admindir={root}/db"))
            .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"]);
        let output = query.run().unwrap_or_else(|error| panic!("{error}"));
        let output = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(output, "library installed\nthird installed\ntool installed\n");
    }
}
