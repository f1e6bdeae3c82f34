// SPDX-License-Identifier: Apache-2.0
//! The form of the image file.
use camino::Utf8PathBuf;
use loadgauge_images::file_system::FileSystem;

use crate::lint::base::Base;
use crate::lint::content::{Content, Packed};
use crate::lint::finding::Fault;

/// Flatcar's first release whose kernel mounts erofs with its attributes.
const FIRST_EROFS: u32 = 4284;

/// The first kernel that reads a compression of erofs.
const EROFS_COMPRESSIONS: [(&str, (u32, u32)); 3] =
    [("lzma", (5, 16)), ("deflate", (6, 6)), ("zstd", (6, 10))];

/// The kernel of the image can mount the file system.
pub(super) fn format(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let Some(Packed { file_system, compression }) = content.packed else { return Vec::new() };
    let whole = Utf8PathBuf::new();
    let mut found = Vec::new();
    match (file_system, compression) {
        (FileSystem::Squashfs, Some("lzma")) => found.push(
            Fault::error(&whole, "is a squashfs with lzma, which Linux cannot mount")
                .with_hint("use zstd, or xz with mksquashfs -comp xz"),
        ),
        (FileSystem::Erofs, compression) => {
            if let Some(release) = base.release().filter(|release| release.major < FIRST_EROFS) {
                let message = format!(
                    "is an erofs, which Flatcar mounts from release {FIRST_EROFS} on: the image is {release}"
                );
                found.push(Fault::warning(&whole, message).with_hint("use squashfs"));
            }
            found.extend(erofs_compression(compression, base));
        }
        _ => {}
    }
    found
}

fn erofs_compression(compression: Option<&'static str>, base: &Base<'_>) -> Option<Fault> {
    let (name, first) = EROFS_COMPRESSIONS.iter().find(|(name, _)| Some(*name) == compression)?;
    let kernels: Vec<(u32, u32)> = base.tree.kernels().into_iter().filter_map(version).collect();
    if kernels.is_empty() || kernels.iter().any(|kernel| kernel >= first) {
        return None;
    }
    let ((major, minor), there) = (first, base.tree.kernels().join(", "));
    let message =
        format!("is an erofs with {name}, which needs kernel {major}.{minor}: the image's is {there}");
    Some(Fault::error(Utf8PathBuf::new(), message).with_hint("use lz4hc, or squashfs"))
}

/// The first two numbers of a kernel's version.
fn version(kernel: &str) -> Option<(u32, u32)> {
    let mut numbers = kernel.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Image;
    use super::*;

    fn findings(
        release: &str,
        kernel: &str,
        file_system: FileSystem,
        compression: &'static str,
    ) -> Vec<String> {
        let image = Image::new(release, 252, &format!("drwxr ./usr/lib/modules/{kernel}\n"));
        let packed = Some(Packed { file_system, compression: Some(compression) });
        image.findings(format, &Content { packed, ..Content::default() })
    }

    #[test]
    fn the_kernel_of_the_release_mounts_the_format() {
        let erofs = FileSystem::Erofs;
        for (release, kernel, file_system, compression) in [
            ("3654.0.0", "6.1.37-flatcar", FileSystem::Squashfs, "zstd"),
            ("3654.0.0", "6.1.37-flatcar", FileSystem::Btrfs, "zstd"),
            ("4284.0.0", "6.6.83-flatcar", erofs, "lz4"),
            ("4593.2.0", "6.12.81-flatcar", erofs, "zstd"),
        ] {
            assert!(
                findings(release, kernel, file_system, compression).is_empty(),
                "{release} {file_system}"
            );
        }
        assert_eq!(
            findings("3654.0.0", "6.1.37-flatcar", erofs, "lz4"),
            ["warning: / is an erofs, which Flatcar mounts from release 4284 on: the image is 3654.0.0"]
        );
        assert_eq!(
            findings("4284.0.0", "6.6.83-flatcar", erofs, "zstd"),
            ["error: / is an erofs with zstd, which needs kernel 6.10: the image's is 6.6.83-flatcar"]
        );
        assert_eq!(
            findings("4593.2.0", "6.12.81-flatcar", FileSystem::Squashfs, "lzma"),
            ["error: / is a squashfs with lzma, which Linux cannot mount"]
        );
    }
}
