// SPDX-License-Identifier: Apache-2.0
use std::io::Read as _;

use camino::Utf8Path;
use loadgauge_host::fs;

/// A format that is often taken for an image of an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherFormat {
    /// compressed with gzip, bzip2, xz or zstd
    Compressed(&'static str),
    /// a qcow2 disk
    Qcow2,
    /// a tar or zip archive
    Archive(&'static str),
}

impl OtherFormat {
    /// The format of a file by its first bytes; `None` where it is another one or cannot be read.
    pub(crate) fn of_file(path: &Utf8Path) -> Option<Self> {
        let mut start = Vec::new();
        fs::open_regular(path).ok()?.take(512).read_to_end(&mut start).ok()?;
        Self::of_bytes(&start)
    }

    fn of_bytes(start: &[u8]) -> Option<Self> {
        let formats: [(&[u8], Self); 6] = [
            (&[0x1f, 0x8b], Self::Compressed("gunzip")),
            (b"BZh", Self::Compressed("bunzip2")),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Self::Compressed("unxz")),
            (&[0x28, 0xb5, 0x2f, 0xfd], Self::Compressed("unzstd")),
            (b"QFI\xfb", Self::Qcow2),
            (b"PK\x03\x04", Self::Archive("zip")),
        ];
        let found = formats.into_iter().find(|(magic, _)| start.starts_with(magic));
        let is_tar = start.get(257..262) == Some(b"ustar");
        found.map(|(_, format)| format).or(is_tar.then_some(Self::Archive("tar")))
    }

    /// What to do with such a file.
    pub(super) fn hint(self) -> String {
        match self {
            Self::Compressed(program) => {
                format!("decompress it with `{program}` first; a compressed tar goes into [[archive]]")
            }
            Self::Qcow2 => "convert it first: `qemu-img convert -O raw IN.qcow2 OUT.raw`".to_owned(),
            Self::Archive(kind) => format!("it is a {kind} archive: use [[archive]]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        assert_eq!(OtherFormat::of_bytes(&[0x1f, 0x8b, 8]), Some(OtherFormat::Compressed("gunzip")));
        assert_eq!(OtherFormat::of_bytes(b"QFI\xfb\0\0\0\x03"), Some(OtherFormat::Qcow2));
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(OtherFormat::of_bytes(&tar), Some(OtherFormat::Archive("tar")));
        assert_eq!(OtherFormat::of_bytes(b"hsqs"), None);
    }
}
