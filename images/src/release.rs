// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::str::FromStr;

use crate::image::Era;

/// The version of a Flatcar release: `MAJOR.MINOR.PATCH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// counts the days since the first release of CoreOS; says which series it is
    pub major: u32,
    /// 0 alpha, 1 beta, 2 stable, 3 LTS
    pub minor: u32,
    /// counts the releases of a series
    pub patch: u32,
}

/// A text that is not the version of a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a release version such as `4593.2.0`")]
pub struct ReleaseError(pub String);

/// First major version of a series, and its major version of systemd.
///
/// Source: the release notes of Flatcar's `image_packages`, first alpha of each series.
const SYSTEMD: &[(u32, u32)] = &[
    (3033, 249),
    (3185, 250),
    (3480, 251),
    (3510, 252),
    (3913, 255),
    (4214, 256),
    (4487, 257),
    (4628, 258),
    (4722, 260),
];

impl Release {
    /// The major version of systemd that it carries, or nothing for a release before 3033.
    pub fn systemd(self) -> Option<u32> {
        SYSTEMD.iter().rev().find(|(first, _)| *first <= self.major).map(|(_, systemd)| *systemd)
    }

    /// What delivers Docker and containerd in it.
    pub fn era(self) -> Era {
        Era::of_major(self.major)
    }

    /// The channel that it came out in, as its minor number says.
    pub fn channel(self) -> Option<&'static str> {
        ["alpha", "beta", "stable", "lts"].get(usize::try_from(self.minor).ok()?).copied()
    }

    /// `SYSEXT_LEVEL=` of its os-release, which has the field from 3185.
    pub fn sysext_level(self) -> Option<&'static str> {
        (self.major >= 3185).then_some("1.0")
    }
}

impl FromStr for Release {
    type Err = ReleaseError;

    /// Reads `4593.2.0`, and `4593.2.0+nightly-20260101-2100` without what follows the plus.
    fn from_str(text: &str) -> Result<Self, ReleaseError> {
        let fail = || ReleaseError(text.to_owned());
        let version = text.split_once('+').map_or(text, |(version, _)| version);
        let mut numbers = version.split('.').map(|part| {
            // `parse` would take a sign as well.
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| digits).ok_or_else(fail)
        });
        let mut next = || numbers.next().unwrap_or_else(|| Err(fail()));
        let release = Self { major: next()?, minor: next()?, patch: next()? };
        numbers.next().map_or(Ok(release), |_| Err(fail()))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(SYSTEMD.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
    }

    #[test]
    fn a_release_between_two_series_has_the_systemd_of_the_older() {
        let systemd = |text: &str| text.parse::<Release>().expect("a version").systemd();
        assert_eq!(systemd("3032.9.9"), None);
        assert_eq!(systemd("3509.2.0"), Some(251));
        assert_eq!(systemd("3654.0.0"), Some(252));
        assert_eq!(systemd("4593.2.5"), Some(257));
        assert_eq!(systemd("9999.0.0"), Some(260));
    }

    #[test]
    fn reads_versions_and_refuses_the_rest() {
        let release = Release { major: 4593, minor: 2, patch: 0 };
        assert_eq!("4593.2.0".parse(), Ok(release));
        assert_eq!("4593.2.0+nightly-20260101-2100".parse(), Ok(release));
        assert_eq!(release.to_string(), "4593.2.0");
        assert_eq!(release.channel(), Some("stable"));
        assert_eq!("3654.0.0".parse::<Release>().expect("a version").channel(), Some("alpha"));
        for text in
            ["", "4593", "4593.2", "4593.2.0.1", "4593.2.x", "4593..0", "+4.2.0", "4593.2.99999999999"]
        {
            assert_eq!(text.parse::<Release>(), Err(ReleaseError(text.to_owned())));
        }
    }
}
