// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::FileError;

use crate::file_system::{FilePattern, Tree};
use crate::image::Era;

/// Extensions that ship in /usr.
pub(super) const EXTENSIONS: FilePattern = FilePattern::between("share/flatcar/sysext", "", ".raw");
/// Torcx's packages, up to 3760.
const TORCX: FilePattern = FilePattern::between("share/torcx/store", "", ".torcx.tgz");
/// The service that starts the units of extensions in the booted system, up to 4593.
const ENSURE_SYSEXT: FilePattern = FilePattern::file("lib/systemd/system", "ensure-sysext.service");
/// Certificates that the signatures of extensions are verified with.
const CERTIFICATES: FilePattern = FilePattern::between("lib/verity.d", "", ".crt");
/// The library of systemd that has the version in its name: in Flatcar's directory, the one before
/// libraries had directories of their own, and Debian's.
const SYSTEMD: [FilePattern; 4] = [
    FilePattern::between("lib64/systemd", "libsystemd-shared-", ".so"),
    FilePattern::between("lib/systemd", "libsystemd-shared-", ".so"),
    FilePattern::between("lib/x86_64-linux-gnu/systemd", "libsystemd-shared-", ".so"),
    FilePattern::between("lib/aarch64-linux-gnu/systemd", "libsystemd-shared-", ".so"),
];

/// The files of /usr that an inspection reads.
pub(super) fn files_of_usr() -> Vec<FilePattern<'static>> {
    let others = [
        FilePattern::file("lib", "os-release"),
        FilePattern::file("share/flatcar", "release"),
        EXTENSIONS,
        TORCX,
        ENSURE_SYSEXT,
        CERTIFICATES,
    ];
    others.into_iter().chain(SYSTEMD).collect()
}

/// Extensions that ship in the OEM partition.
pub(super) const OEM_EXTENSIONS: FilePattern = FilePattern::between("sysext", "", ".raw");
/// The files of the OEM partition that an inspection reads.
pub(super) const FILES_OF_OEM: [FilePattern; 2] = [FilePattern::file("", "oem-release"), OEM_EXTENSIONS];

/// Determines the era by the files that deliver Docker; `None` where there are none.
pub(super) fn era(usr: &Tree) -> Option<Era> {
    if !usr.names(TORCX).is_empty() {
        Some(Era::Torcx)
    } else if usr.names(EXTENSIONS).is_empty() {
        None
    } else if usr.names(ENSURE_SYSEXT).is_empty() {
        Some(Era::Initrd)
    } else {
        Some(Era::Sysext)
    }
}

/// Determines the major version of systemd by the name of its library.
pub(super) fn systemd(usr: &Tree) -> Option<u32> {
    let number = |pattern: FilePattern| {
        usr.names(pattern).iter().find_map(|name| {
            let version = name.strip_prefix(pattern.prefix)?.strip_suffix(pattern.suffix)?;
            version.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
        })
    };
    SYSTEMD.into_iter().find_map(number)
}

/// The names of the certificates that the signatures of extensions are verified with.
pub(super) fn certificates(usr: &Tree) -> Vec<String> {
    usr.names(CERTIFICATES)
}

/// Packages and versions in the store of Torcx, whose files are named `NAME:VERSION.torcx.tgz`.
pub(super) fn torcx_versions(usr: &Tree) -> Vec<(String, String)> {
    let version = |name: String| {
        let (package, version) = name.strip_suffix(TORCX.suffix)?.split_once(':')?;
        let is_version = version.starts_with(|first: char| first.is_ascii_digit());
        is_version.then(|| (package.to_owned(), version.to_owned()))
    };
    usr.names(TORCX).into_iter().filter_map(version).collect()
}

/// The board in the file `release`: `FLATCAR_RELEASE_BOARD=amd64-usr`.
pub(super) fn board(usr: &Tree) -> Result<Option<String>, FileError> {
    let text = usr.text("share/flatcar/release")?.unwrap_or_default();
    Ok(text.lines().find_map(|line| line.strip_prefix("FLATCAR_RELEASE_BOARD=")).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn tree(files: &[&str]) -> (tempfile::TempDir, Tree) {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        for file in files {
            let path = directory.join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, "FLATCAR_RELEASE_BOARD=arm64-usr\n").expect("written");
        }
        let tree = Tree::at(directory).expect("there");
        (scratch, tree)
    }

    #[test]
    fn the_era_is_determined_by_the_files_that_deliver_docker() {
        let cases: [(&[&str], Option<Era>); 4] = [
            (&["share/torcx/store/docker:20.10.torcx.tgz"], Some(Era::Torcx)),
            (
                &["share/flatcar/sysext/docker-flatcar.raw", "lib/systemd/system/ensure-sysext.service"],
                Some(Era::Sysext),
            ),
            (&["share/flatcar/sysext/docker-flatcar.raw"], Some(Era::Initrd)),
            (&["lib/systemd/system/ensure-sysext.service"], None),
        ];
        for (files, expected) in cases {
            let (_scratch, tree) = tree(files);
            assert_eq!(era(&tree), expected, "{files:?}");
        }
    }

    #[test]
    fn versions_are_read_from_names() {
        let (_scratch, tree) = tree(&[
            "lib64/systemd/libsystemd-shared-257.9-1.so",
            "share/torcx/store/docker:20.10.23.torcx.tgz",
            "share/torcx/store/docker:com.coreos.cl.torcx.tgz",
            "share/flatcar/release",
        ]);
        assert_eq!(systemd(&tree), Some(257));
        assert_eq!(torcx_versions(&tree), [("docker".to_owned(), "20.10.23".to_owned())]);
        assert_eq!(board(&tree).expect("read").as_deref(), Some("arm64-usr"));
        let (_scratch, other) = self::tree(&["lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so"]);
        assert_eq!(systemd(&other), Some(252));
        assert_eq!(systemd(&self::tree(&[]).1), None);
    }
}
