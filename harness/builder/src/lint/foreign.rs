// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::FileError;

use super::finding::{Fault, Finding};
use crate::foreign_file::ForeignFile;

/// Judges a file that cannot be read as an image of an extension: `None` where its kind is not known.
///
/// # Errors
/// It cannot be read.
pub fn judge_foreign(path: &Utf8Path) -> Result<Option<Finding>, FileError> {
    Ok(ForeignFile::of_file(path)?.map(|ForeignFile { kind, hint }| {
        let message =
            format!("{kind}: systemd-sysext mounts squashfs, erofs, ext4, btrfs and raw disks with a GPT");
        Fault::error("", message).with_hint(hint).of_rule("format")
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
                 GPT (hint: convert it: qemu-img convert -O raw IN.qcow2 OUT.raw) [format]"
            )
        );
        assert!(judged(&[0x1f, 0x8b, 8]).is_some_and(|text| text.contains("a gzip file")));
        assert!(judged(b"").is_some_and(|text| text.contains("an empty file")));
        assert_eq!(judged(b"hsqs").as_deref(), None);
    }
}
