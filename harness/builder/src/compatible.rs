// SPDX-License-Identifier: Apache-2.0
use loadgauge_images::{Architecture, OsRelease};

/// The reason why systemd-sysext ignores an extension. It does so without failing: the exit status is 0 and
/// the unit is active, but the extension is not merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// it is for the initrd or portable services only
    #[error("it is for the scope `{0}`, not for `system`")]
    Scope(String),
    /// it is for another architecture
    #[error("it is for the architecture `{extension}`, the image has `{host}`")]
    Architecture {
        /// the extension's
        extension: String,
        /// the image's
        host: &'static str,
    },
    /// it names no system
    #[error("its extension-release has no `ID`")]
    NoId,
    /// it is for another system
    #[error("it is for `{extension}`, the image is `{host}`")]
    Id {
        /// the extension's
        extension: String,
        /// the image's
        host: String,
    },
    /// it is for a system that the image is like, which the image's systemd may or may not compare
    #[error(
        "it is for `{extension}`, which is in the image's `ID_LIKE`: systemd 258 merges it, systemd {systemd} in late \
         point releases only"
    )]
    IdLike {
        /// the extension's
        extension: String,
        /// the image's
        host: String,
        /// the image's systemd
        systemd: u32,
    },
    /// it is for any system, which systemd supports from version 252 on
    #[error("it is for any system (`ID=_any`), which systemd {0} does not support")]
    Any(u32),
    /// it is for another level
    #[error("it is for level `{extension}`, the image has level `{host}`")]
    Level {
        /// the extension's
        extension: String,
        /// the image's
        host: String,
    },
    /// it has neither a version nor a level that can be compared
    #[error("its extension-release has neither `VERSION_ID` nor a `SYSEXT_LEVEL` that the image has, too")]
    NoVersion,
    /// it is for another version
    #[error("it is for version `{extension}`, the image is version `{host}`")]
    Version {
        /// the extension's
        extension: String,
        /// the image's
        host: String,
    },
}

/// Checks that an image merges an extension. `systemd` is the major version of the image's systemd.
///
/// This is `extension_release_validate()` of systemd's `src/basic/` and `src/shared/` in the versions 249 to
/// 260: it supports `ID=_any` from 252 on, and compares the host's `ID_LIKE` from 258 on. The
/// backport of systemd/systemd#38128 is in 257.13; 255 and 256 may have it. The major version does not tell.
///
/// # Errors
/// The image does not merge it: the first reason that systemd finds. With [`Refusal::IdLike`] it may.
pub fn compatible(
    host: &OsRelease,
    architecture: Architecture,
    systemd: u32,
    extension: &OsRelease,
) -> Result<(), Refusal> {
    if let Some(scope) = extension.get("SYSEXT_SCOPE")
        && !scope.split_whitespace().any(|word| word == "system")
    {
        return Err(Refusal::Scope(scope.to_owned()));
    }
    let own = architecture.systemd_name();
    if let Some(name) = extension.get("ARCHITECTURE")
        && name != "_any"
        && name != own
    {
        return Err(Refusal::Architecture { extension: name.to_owned(), host: own });
    }
    let id = extension.get("ID").ok_or(Refusal::NoId)?;
    if id == "_any" {
        return if systemd >= 252 { Ok(()) } else { Err(Refusal::Any(systemd)) };
    }
    let host_id = host.get("ID").unwrap_or("linux");
    let is_like = host.get("ID_LIKE").is_some_and(|like| like.split_whitespace().any(|word| word == id));
    let (other, own) = (id.to_owned(), host_id.to_owned());
    match systemd {
        _ if id == host_id => same_version(host, extension),
        258.. if is_like => same_version(host, extension),
        255..=257 if is_like => {
            same_version(host, extension)?;
            Err(Refusal::IdLike { extension: other, host: own, systemd })
        }
        _ => Err(Refusal::Id { extension: other, host: own }),
    }
}

/// Compares the levels where both have one, otherwise the versions.
fn same_version(host: &OsRelease, extension: &OsRelease) -> Result<(), Refusal> {
    if let (Some(host), Some(extension)) = (host.get("SYSEXT_LEVEL"), extension.get("SYSEXT_LEVEL")) {
        if host == extension {
            return Ok(());
        }
        return Err(Refusal::Level { extension: extension.to_owned(), host: host.to_owned() });
    }
    // A rolling distribution has no version to compare.
    let Some(host) = host.get("VERSION_ID") else { return Ok(()) };
    match extension.get("VERSION_ID") {
        Some(version) if version == host => Ok(()),
        Some(version) => Err(Refusal::Version { extension: version.to_owned(), host: host.to_owned() }),
        None => Err(Refusal::NoVersion),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FLATCAR: &str = "ID=flatcar\nID_LIKE=coreos\nVERSION_ID=4593.2.5\nSYSEXT_LEVEL=1.0\n";

    fn verdict(host: &str, systemd: u32, extension: &str) -> Result<(), Refusal> {
        let read = |text: &str| OsRelease::parse(&text.replace(' ', "\n")).expect("valid");
        let host = OsRelease::parse(host).expect("valid");
        compatible(&host, Architecture::Amd64, systemd, &read(extension))
    }

    #[test]
    fn merged_extensions() {
        for (systemd, extension) in [
            (252, "ID=flatcar VERSION_ID=4593.2.5"),
            (252, "ID=flatcar SYSEXT_LEVEL=1.0"),
            (252, "ID=flatcar SYSEXT_LEVEL=1.0 VERSION_ID=1"),
            (252, "ID=_any"),
            (252, "ID=_any VERSION_ID=1 SYSEXT_LEVEL=9"),
            (252, "ID='flatcar' VERSION_ID='4593.2.5' ARCHITECTURE='x86-64'"),
            (257, "ID=_any ARCHITECTURE=_any"),
            (257, "ID=_any SYSEXT_SCOPE=system"),
            (258, "ID=coreos SYSEXT_LEVEL=1.0"),
        ] {
            assert_eq!(verdict(FLATCAR, systemd, extension), Ok(()), "{systemd} {extension}");
        }
        assert_eq!(verdict("ID=arch\n", 257, "ID=arch"), Ok(()), "a rolling distribution");
    }

    #[test]
    fn refusals_have_the_first_reason_of_systemd() {
        let refusals: Vec<String> = [
            (252, "ID=flatcar VERSION_ID=9999.0.0"),
            (252, "ID=flatcar"),
            (252, "ID=flatcar SYSEXT_LEVEL=2.0 VERSION_ID=4593.2.5"),
            (252, "ID=debian VERSION_ID=4593.2.5"),
            (252, "VERSION_ID=4593.2.5"),
            (252, "ID=_any ARCHITECTURE=arm64"),
            (251, "ID=_any"),
            (254, "ID=coreos SYSEXT_LEVEL=1.0"),
            (257, "ID=coreos SYSEXT_LEVEL=1.0"),
            (257, "ID=coreos SYSEXT_LEVEL=9"),
            (257, "ID=_any SYSEXT_SCOPE=initrd"),
        ]
        .iter()
        .map(|(systemd, extension)| {
            let refusal = verdict(FLATCAR, *systemd, extension).expect_err(extension);
            format!("systemd {systemd}, {extension}: {refusal}")
        })
        .collect();
        insta::assert_snapshot!(refusals.join("\n"));
        let levelless = verdict("ID=flatcar\nVERSION_ID=1\n", 252, "ID=flatcar SYSEXT_LEVEL=1.0");
        assert_eq!(levelless, Err(Refusal::NoVersion));
    }

    proptest! {
        #[test]
        fn an_extension_for_any_system_is_merged(version in "[0-9.]{0,9}", level in "[0-9.]{0,3}", systemd in 252_u32..300) {
            let mut extension = OsRelease::default();
            extension.set("ID", "_any");
            extension.set("VERSION_ID", version);
            extension.set("SYSEXT_LEVEL", level);
            let host = OsRelease::parse(FLATCAR).expect("valid");
            prop_assert_eq!(compatible(&host, Architecture::Arm64, systemd, &extension), Ok(()));
        }

        #[test]
        fn an_image_merges_an_extension_of_its_version(version in "[0-9]{1,4}\\.[0-9]\\.[0-9]", systemd in 249_u32..300) {
            let mut host = OsRelease::default();
            host.set("ID", "flatcar");
            host.set("VERSION_ID", version.clone());
            let mut extension = host.clone();
            prop_assert_eq!(compatible(&host, Architecture::Amd64, systemd, &extension), Ok(()));
            extension.set("VERSION_ID", format!("{version}1"));
            let refused = matches!(compatible(&host, Architecture::Amd64, systemd, &extension), Err(Refusal::Version { .. }));
            prop_assert!(refused);
        }
    }
}
