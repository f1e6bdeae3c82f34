// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::io::{self, Read};

/// Bytes that an index may hold once it is unpacked: some fifty times Gentoo's whole binhost.
const MAXIMUM_SIZE: u64 = 512 << 20;

/// What is written about a package, by key: `SLOT`, `RDEPEND` ..
pub type Metadata = BTreeMap<String, String>;

/// The index of a binhost, the file `Packages`.
///
/// Format, as Portage writes it: paragraphs of `KEY: value` lines with an empty line between them.
/// The first is about the binhost; what it says of `CHOST` and `REPO` counts for packages that say
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Index {
    /// about the binhost: `TIMESTAMP`, `PACKAGES`, `VERSION` ..
    pub header: Metadata,
    /// about each package; `CPV` is always there
    pub packages: Vec<Metadata>,
}

/// An index that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// its bytes, or their compression
    #[error("the bytes of the index cannot be read")]
    Read(#[source] io::Error),
    /// a line is not one of an index
    #[error("line {line} of the index, `{text}`, {reason}")]
    Line {
        /// 1-based
        line: usize,
        /// what it says, shortened
        text: String,
        /// what is wrong with it
        reason: &'static str,
    },
}

/// Keys that packages inherit from the header.
const INHERITED: [&str; 2] = ["CHOST", "REPO"];

impl Index {
    /// Reads an index from its bytes, which may be compressed with gzip.
    ///
    /// # Errors
    /// The compression is broken, the text is not UTF-8, or a line is not one of an index.
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
            return Err(IndexError::Read(io::Error::other("it grows beyond 512 MiB when it is unpacked")));
        }
        Self::parse(text(&unpacked)?)
    }

    /// Reads the text of an index.
    ///
    /// # Errors
    /// A line is not one of an index.
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
                    return fail(number + 1, line, "has no `:`");
                };
                if paragraph.insert(key.to_owned(), value.trim().to_owned()).is_some() {
                    return fail(number + 1, line, "gives a key a second time");
                }
                continue;
            }
            if in_header {
                // An index without a header begins with a package.
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
                        "begins a package without `CPV`",
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
    fn packages_inherit_from_the_header() {
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
    fn a_compressed_index_is_the_same() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(TEXT.as_bytes()).expect("compressed");
        let bytes = encoder.finish().expect("compressed");
        assert_eq!(Index::read(&bytes).expect("an index"), Index::parse(TEXT).expect("an index"));
        assert!(matches!(Index::read(&bytes[..bytes.len() - 5]), Err(IndexError::Read(_))));
    }

    #[test]
    fn what_is_not_an_index_is_told_with_its_line() {
        let told: Vec<String> =
            ["VERSION: 0\n\nCPV: a/b-1\nnonsense\n", "VERSION: 0\n\nSLOT: 0\n", "A: 1\nA: 2\n"]
                .into_iter()
                .map(|text| Index::parse(text).expect_err(text).to_string())
                .collect();
        insta::assert_snapshot!(told.join("\n"));
        assert_eq!(Index::parse("").expect("an empty one"), Index::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), gzip in any::<bool>()) {
            let head: &[u8] = if gzip { &[0x1f, 0x8b, 8, 0] } else { &[] };
            let _ = Index::read(&[head, &bytes].concat());
        }

        #[test]
        fn any_lines_are_read_or_refused(lines in proptest::collection::vec("(CPV|SLOT|X)?:? ?[a-z/1-]{0,5}", 0..12)) {
            let _ = Index::parse(&lines.join("\n"));
        }
    }
}
