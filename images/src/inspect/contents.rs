// SPDX-License-Identifier: Apache-2.0
use super::file_system::{Tree, Wanted};
use crate::image::Era;
use crate::image::ImageError;

const fn open(directory: &'static str, prefix: &'static str, suffix: &'static str) -> Wanted {
    Wanted { directory, prefix, suffix, is_open: true }
}

/// Extensions that ship in /usr.
pub(super) const EXTENSIONS: Wanted = open("share/flatcar/sysext", "", ".raw");
/// What Torcx unpacks, up to 3760.
const TORCX: Wanted = open("share/torcx/store", "", ".torcx.tgz");
/// Up to 4593 the units of extensions are started by this, in the booted system.
const ENSURE_SYSEXT: Wanted = Wanted::file("lib/systemd/system", "ensure-sysext.service");
/// Keys that extensions may be signed with.
const CERTIFICATES: Wanted = open("lib/verity.d", "", ".crt");
/// The library of systemd that has the version in its name: Flatcar's place for it, Debian's, and the
/// one before libraries had directories of their own.
const SYSTEMD: [Wanted; 4] = [
    open("lib64/systemd", "libsystemd-shared-", ".so"),
    open("lib/systemd", "libsystemd-shared-", ".so"),
    open("lib/x86_64-linux-gnu/systemd", "libsystemd-shared-", ".so"),
    open("lib/aarch64-linux-gnu/systemd", "libsystemd-shared-", ".so"),
];

/// All that is looked at in /usr.
pub(super) fn wanted_of_usr() -> Vec<Wanted> {
    let others = [
        Wanted::file("lib", "os-release"),
        Wanted::file("share/flatcar", "release"),
        EXTENSIONS,
        TORCX,
        ENSURE_SYSEXT,
        CERTIFICATES,
    ];
    others.into_iter().chain(SYSTEMD).collect()
}

/// Extensions that ship in the OEM partition.
pub(super) const OEM_EXTENSIONS: Wanted = open("sysext", "", ".raw");
/// What is looked at in the OEM partition.
pub(super) const WANTED_OF_OEM: [Wanted; 2] = [Wanted::file("", "oem-release"), OEM_EXTENSIONS];

/// What delivers Docker, by what is there to do it; nothing where nothing is.
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

/// The major version of systemd, by the name of its library.
pub(super) fn systemd(usr: &Tree) -> Option<u32> {
    let number = |wanted: Wanted| {
        usr.names(wanted).iter().find_map(|name| {
            let version = name.strip_prefix(wanted.prefix)?.strip_suffix(wanted.suffix)?;
            version.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
        })
    };
    SYSTEMD.into_iter().find_map(number)
}

/// The names of certificates that extensions may be signed with.
pub(super) fn certificates(usr: &Tree) -> Vec<String> {
    usr.names(CERTIFICATES)
}

/// Versions that names in the store of Torcx tell: `NAME:VERSION.torcx.tgz`.
pub(super) fn torcx_versions(usr: &Tree) -> Vec<(String, String)> {
    let version = |name: String| {
        let (package, version) = name.strip_suffix(TORCX.suffix)?.split_once(':')?;
        let is_version = version.starts_with(|first: char| first.is_ascii_digit());
        is_version.then(|| (package.to_owned(), version.to_owned()))
    };
    usr.names(TORCX).into_iter().filter_map(version).collect()
}

/// Which board a release file names: `FLATCAR_RELEASE_BOARD=amd64-usr`.
pub(super) fn board(usr: &Tree) -> Result<Option<String>, ImageError> {
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
    fn the_era_is_told_by_what_delivers_docker() {
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
    fn versions_are_told_by_names() {
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
