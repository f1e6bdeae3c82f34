// SPDX-License-Identifier: Apache-2.0
use std::io::Read as _;

use camino::Utf8Path;
use loadgauge_host::{FileError, fs};

use super::finding::{Fault, Finding};

/// A kind of file that is not an image of an extension: where its magic number is, its name, and what to do.
type Kind = (usize, &'static [u8], &'static str, &'static str);

const DECOMPRESS: &str = "decompress it";
const KINDS: [Kind; 9] = [
    (0, &[0x1f, 0x8b], "is a gzip file", DECOMPRESS),
    (0, &[0x28, 0xb5, 0x2f, 0xfd], "is a zstd file", DECOMPRESS),
    (0, &[0xfd, b'7', b'z', b'X', b'Z', 0], "is an xz file", DECOMPRESS),
    (0, b"BZh", "is a bzip2 file", DECOMPRESS),
    (0, b"QFI\xfb", "is a qcow2 disk", "convert it: qemu-img convert -O raw"),
    (0, b"PK\x03\x04", "is a zip archive", "unpack it, and build an extension with [[archive]]"),
    (257, b"ustar", "is a tar archive", "build an extension from it with [[archive]]"),
    (0, b"\x7fELF", "is a program", "build an extension with it: [[file]] with `source`"),
    (0, b"!<arch>", "is a Debian package or an archive", "build an extension from it"),
];

/// Judges a file that cannot be read as an image of an extension: `None` where its kind is not known.
///
/// # Errors
/// It cannot be read.
pub fn judge_foreign(path: &Utf8Path) -> Result<Option<Finding>, FileError> {
    let mut head = Vec::new();
    fs::open_regular(path)?.take(512).read_to_end(&mut head).map_err(FileError::at("read", path))?;
    if head.is_empty() {
        return Ok(Some(Fault::error("", "is an empty file").of_rule("format")));
    }
    let kind = KINDS
        .iter()
        .find(|(offset, magic, ..)| head.get(*offset..).is_some_and(|rest| rest.starts_with(magic)));
    Ok(kind.map(|(_, _, name, hint)| {
        let message =
            format!("{name}: systemd-sysext mounts squashfs, erofs, ext4, btrfs and raw disks with a GPT");
        Fault::error("", message).with_hint(*hint).of_rule("format")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_file_is_said() {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = Utf8Path::from_path(scratch.path()).expect("UTF-8").join("x.raw");
        let judged = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            judge_foreign(&path).expect("read").map(|finding| finding.to_string())
        };
        assert_eq!(
            judged(b"QFI\xfb\0\0\0\x03").as_deref(),
            Some(
                "the extension is a qcow2 disk: systemd-sysext mounts squashfs, erofs, ext4, btrfs and raw disks with a \
                 GPT (hint: convert it: qemu-img convert -O raw) [format]"
            )
        );
        assert!(judged(&[0x1f, 0x8b, 8]).is_some_and(|text| text.contains("a gzip file")));
        assert_eq!(judged(b"").as_deref(), Some("the extension is an empty file [format]"));
        assert_eq!(judged(b"hsqs").as_deref(), None);
    }
}
