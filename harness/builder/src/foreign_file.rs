// SPDX-License-Identifier: Apache-2.0
use std::io::Read as _;

use camino::Utf8Path;
use loadgauge_host::{FileError, fs};

/// A file of a kind that is often taken for an image of an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignFile {
    /// what it is: `is a gzip file`
    pub kind: &'static str,
    /// what to do with it
    pub hint: &'static str,
}

/// Where a magic number is, the number, what the file is, and what to do with it.
type Magic = (usize, &'static [u8], &'static str, &'static str);

const MAGICS: [Magic; 9] = [
    (
        0,
        &[0x1f, 0x8b],
        "is a gzip file",
        "decompress it with `gunzip`; a compressed tar goes into [[archive]]",
    ),
    (
        0,
        &[0x28, 0xb5, 0x2f, 0xfd],
        "is a zstd file",
        "decompress it with `unzstd`; a compressed tar goes into [[archive]]",
    ),
    (
        0,
        &[0xfd, b'7', b'z', b'X', b'Z', 0],
        "is an xz file",
        "decompress it with `unxz`; a compressed tar goes into [[archive]]",
    ),
    (0, b"BZh", "is a bzip2 file", "decompress it with `bunzip2`; a compressed tar goes into [[archive]]"),
    (0, b"QFI\xfb", "is a qcow2 disk", "convert it: qemu-img convert -O raw IN.qcow2 OUT.raw"),
    (0, b"PK\x03\x04", "is a zip archive", "build an extension from it with [[archive]]"),
    (257, b"ustar", "is a tar archive", "build an extension from it with [[archive]]"),
    (0, b"\x7fELF", "is a program", "build an extension with it: [[file]] with `source`"),
    (0, b"!<arch>", "is a Debian package or an archive", "build an extension from it"),
];

impl ForeignFile {
    /// The kind of a file by its first bytes; nothing where it is another one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn of_file(path: &Utf8Path) -> Result<Option<Self>, FileError> {
        let mut head = Vec::new();
        fs::open_regular(path)?.take(512).read_to_end(&mut head).map_err(FileError::at("read", path))?;
        if head.is_empty() {
            return Ok(Some(Self { kind: "is an empty file", hint: "build or copy it again" }));
        }
        let is =
            |(offset, magic, ..): &&Magic| head.get(*offset..).is_some_and(|rest| rest.starts_with(magic));
        Ok(MAGICS.iter().find(is).map(|(_, _, kind, hint)| Self { kind, hint }))
    }
}
