// SPDX-License-Identifier: Apache-2.0
//! Versions of packages, as the lists of a release directory tell them.

/// The version that a list of packages names for one of some packages, without Gentoo's revision.
///
/// Two forms are read: Portage's `CATEGORY/NAME-VERSION::REPOSITORY` (`equery list`), and
/// `NAME VERSION ARCHITECTURE ...`, as the harness's builder writes for Debian's packages.
pub(crate) fn in_list(list: &str, packages: &[&str]) -> Option<String> {
    let version = |package: &&str| list.lines().find_map(|line| of_line(line, package));
    packages.iter().find_map(version)
}

fn of_line(line: &str, package: &str) -> Option<String> {
    let first = line.split_whitespace().next()?;
    let Some((_, rest)) = first.split_once('/') else {
        return (first == package).then(|| line.split_whitespace().nth(1).map(str::to_owned)).flatten();
    };
    let version = rest.strip_prefix(package)?.strip_prefix('-')?;
    let version = version.split("::").next()?;
    version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_longer_names_left_alone() {
        let gentoo = "app-containers/docker-cli-28.0.4::portage-stable\n\
                      app-containers/docker-28.0.4-r1::portage-stable\n";
        assert_eq!(in_list(gentoo, &["docker"]).as_deref(), Some("28.0.4-r1"));
        assert_eq!(in_list(gentoo, &["containerd"]), None);
        let debian = "docker-cli 26.1.5+dfsg1-9 amd64 sha256:00\ndocker.io 26.1.5+dfsg1-9+b1 amd64 sha256:01\n";
        assert_eq!(in_list(debian, &["docker", "docker.io"]).as_deref(), Some("26.1.5+dfsg1-9+b1"));
        assert_eq!(in_list("\n  \n", &["docker"]), None);
    }
}
