// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::io::{self, Read};

/// Limit of a decompressed index in bytes: fifty times that of Gentoo's binhost.
const MAXIMUM_SIZE: u64 = 512 << 20;

/// The metadata of a package by key: `SLOT`, `RDEPEND` ...
pub type Metadata = BTreeMap<String, String>;

/// The index of a binhost, the file `Packages`.
///
/// Format, as Portage writes it: paragraphs of `KEY: value` lines, separated by an empty line. The first
/// paragraph is the header; its `CHOST` and `REPO` are the defaults of the packages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Index {
    /// the header: `TIMESTAMP`, `PACKAGES`, `VERSION` ...
    pub header: Metadata,
    /// the packages; each has `CPV`
    pub packages: Vec<Metadata>,
}

/// An index that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// it cannot be decompressed, or is not UTF-8
    #[error("cannot decode the index")]
    Read(#[source] io::Error),
    /// a line is invalid
    #[error("line {line}, `{text}`: {reason}")]
    Line {
        /// number of the line, from 1
        line: usize,
        /// the line, shortened
        text: String,
        /// what is wrong
        reason: &'static str,
    },
}

/// Keys of the header that are the defaults of the packages.
const INHERITED: [&str; 2] = ["CHOST", "REPO"];

impl Index {
    /// Reads an index, which may be compressed with gzip.
    ///
    /// # Errors
    /// The index cannot be decompressed, is not UTF-8, or has an invalid line.
    pub fn read(bytes: &[u8]) -> Result<Self, IndexError> {
        if !bytes.starts_with(&[0x1f, 0x8b]) {
            return Self::parse(text(bytes)?);
        }
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes)
            .take(MAXIMUM_SIZE + 1)
            .read_to_end(&mut unpacked)
            .map_err(IndexError::Read)?;
        if unpacked.len() as u64 > MAXIMUM_SIZE {
            return Err(IndexError::Read(io::Error::other("it is larger than 512 MiB when decompressed")));
        }
        Self::parse(text(&unpacked)?)
    }

    /// Parses the text of an index.
    ///
    /// # Errors
    /// A line is invalid.
    pub fn parse(text: &str) -> Result<Self, IndexError> {
        let mut index = Self::default();
        let mut paragraph = Metadata::new();
        let mut in_header = true;
        let mut start = 1;
        for (number, line) in text.lines().chain([""]).enumerate() {
            let fail = |line, text: &str, reason| {
                Err(IndexError::Line { line, text: text.chars().take(60).collect(), reason })
            };
            if !line.trim_end().is_empty() {
                let Some((key, value)) = line.split_once(':') else {
                    return fail(number + 1, line, "expected `KEY: value`");
                };
                if paragraph.insert(key.to_owned(), value.trim().to_owned()).is_some() {
                    return fail(number + 1, line, "duplicate key");
                }
                continue;
            }
            if in_header {
                // An index without a header starts with a package.
                in_header = false;
                if !paragraph.contains_key("CPV") {
                    index.header = std::mem::take(&mut paragraph);
                }
            }
            if !paragraph.is_empty() {
                if !paragraph.contains_key("CPV") {
                    return fail(
                        start,
                        text.lines().nth(start - 1).unwrap_or_default(),
                        "the package has no `CPV`",
                    );
                }
                index.packages.push(inherit(std::mem::take(&mut paragraph), &index.header));
            }
            start = number + 2;
        }
        Ok(index)
    }
}

fn text(bytes: &[u8]) -> Result<&str, IndexError> {
    std::str::from_utf8(bytes)
        .map_err(|error| IndexError::Read(io::Error::new(io::ErrorKind::InvalidData, error)))
}

fn inherit(mut package: Metadata, header: &Metadata) -> Metadata {
    for key in INHERITED {
        if let (false, Some(value)) = (package.contains_key(key), header.get(key)) {
            package.insert(key.to_owned(), value.clone());
        }
    }
    package
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "ARCH: amd64\nCHOST: x86_64-cros-linux-gnu\nPACKAGES: 2\nREPO: gentoo\nVERSION: 0\n\n\
                        CPV: app-misc/foo-1.0-r1\nDESC: A tool: with a colon\nSLOT: 0/1.2\n\n\
                        CPV: app-misc/bar-2\nREPO: coreos-overlay\nRDEPEND:\n\n";

    #[test]
    fn the_header_has_the_defaults_of_the_packages() {
        let index = Index::read(TEXT.as_bytes()).expect("an index");
        assert_eq!(index.header["PACKAGES"], "2");
        let value = |package: usize, key: &str| index.packages[package].get(key).map(String::as_str);
        assert_eq!(value(0, "DESC"), Some("A tool: with a colon"));
        assert_eq!((value(0, "REPO"), value(1, "REPO")), (Some("gentoo"), Some("coreos-overlay")));
        assert_eq!(value(1, "CHOST"), Some("x86_64-cros-linux-gnu"));
        assert_eq!(value(1, "RDEPEND"), Some(""));
        assert_eq!(index.packages.len(), 2);
    }

    #[test]
    fn a_compressed_index_is_decompressed() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(TEXT.as_bytes()).expect("compressed");
        let bytes = encoder.finish().expect("compressed");
        assert_eq!(Index::read(&bytes).expect("an index"), Index::parse(TEXT).expect("an index"));
        assert!(matches!(Index::read(&bytes[..bytes.len() - 5]), Err(IndexError::Read(_))));
    }

    #[test]
    fn errors_name_the_line() {
        let errors: Vec<String> =
            ["VERSION: 0\n\nCPV: a/b-1\nnonsense\n", "VERSION: 0\n\nSLOT: 0\n", "A: 1\nA: 2\n"]
                .into_iter()
                .map(|text| Index::parse(text).expect_err(text).to_string())
                .collect();
        insta::assert_snapshot!(errors.join("\n"));
        assert_eq!(Index::parse("").expect("an empty one"), Index::default());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), gzip in any::<bool>()) {
            let head: &[u8] = if gzip { &[0x1f, 0x8b, 8, 0] } else { &[] };
            let _ = Index::read(&[head, &bytes].concat());
        }

        #[test]
        fn no_lines_panic(lines in proptest::collection::vec("(CPV|SLOT|X)?:? ?[a-z/1-]{0,5}", 0..12)) {
            let _ = Index::parse(&lines.join("\n"));
        }
    }
}
