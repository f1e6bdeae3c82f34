// SPDX-License-Identifier: Apache-2.0
//! Settings of Flatcar's SDK by release, as data: each file names its source.
use loadgauge_images::OsRelease;

/// Packages that count as installed.
pub(super) const PACKAGE_PROVIDED: &str = include_str!("sdk/package.provided");
/// Globs of paths that are not installed.
pub(super) const INSTALL_MASK: &str = include_str!("sdk/install-mask");
/// The names of the packages in `@system`.
pub(super) const SYSTEM: &str = include_str!("sdk/system");

/// The major version of a Flatcar release; the newest one for a version of another form.
pub(super) fn major(release: &OsRelease) -> u32 {
    let version = release.get("VERSION_ID").unwrap_or_default();
    version.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(u32::MAX)
}

/// The entries of a settings file that apply to a major version. A line has an entry, and the range of
/// versions if it does not apply to all.
pub(super) fn entries(file: &str, major: u32) -> impl Iterator<Item = &str> {
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(move |line| match line.split_once(' ') {
        None => Some(line),
        Some((entry, range)) => contains(range, major).then_some(entry),
    })
}

/// Whether a range such as `4277..4459`, `4277..` or `..4459` contains a version.
fn contains(range: &str, major: u32) -> bool {
    let (from, before) = range.split_once("..").unwrap_or_default();
    let limit = |text: &str, default| if text.is_empty() { default } else { text.parse().unwrap_or(default) };
    (limit(from, 0)..limit(before, u32::MAX)).contains(&major) || before.is_empty() && major == u32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_the_releases_that_they_apply_to() {
        let file = "# comment\na\nb 3602..4081\nc 4081..\nd ..4081\n";
        let of = |major| entries(file, major).collect::<String>();
        assert_eq!([3601, 3602, 4080, 4081].map(of), ["ad", "abd", "abd", "ac"]);
        assert_eq!(of(u32::MAX), "ac");
    }

    #[test]
    fn every_range_of_the_settings_is_valid() {
        for file in [PACKAGE_PROVIDED, INSTALL_MASK, SYSTEM] {
            for range in
                file.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
            {
                let (from, before) = range.1.split_once("..").expect("a range");
                let number = |text: &str| text.is_empty() || text.parse::<u32>().is_ok();
                assert!(number(from) && number(before) && from != before, "{range:?}");
            }
        }
    }

    #[test]
    fn a_release_has_a_major_version() {
        let release = |text: &str| major(&OsRelease::parse(text).expect("valid"));
        assert_eq!(release("ID=flatcar\nVERSION_ID=4593.2.5\n"), 4593);
        assert_eq!(release("ID=flatcar\nVERSION_ID=trixie\n"), u32::MAX);
    }
}
