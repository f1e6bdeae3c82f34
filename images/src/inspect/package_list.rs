// SPDX-License-Identifier: Apache-2.0
//! Lists of packages on a release server, with a line `CATEGORY/NAME-VERSION::REPOSITORY` for each
//! (`equery list --format '$cpv::$repo'` of the SDK's `build_sysext` and `build_image`).

/// The version of the first listed package with one of some names.
pub(super) fn version(list: &str, packages: &[&str]) -> Option<String> {
    let of_line = |line: &str| {
        let package = line.split_once("::").map_or(line, |(package, _)| package).trim();
        let package = package.rsplit_once('/').map_or(package, |(_, package)| package);
        packages.iter().find_map(|name| {
            let version = package.strip_prefix(name)?.strip_prefix('-')?;
            version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.to_owned())
        })
    };
    list.lines().find_map(of_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_belong_to_the_package_and_not_to_a_longer_name() {
        let list = "app-containers/docker-buildx-0.14.0::portage-stable\n\
                    app-containers/docker-cli-28.0.4::portage-stable\n\
                    app-containers/docker-28.0.4-r1::coreos-overlay\n\
                    containerd-1.7.24~ds1-6+deb13u1::trixie\n";
        assert_eq!(version(list, &["docker", "docker.io"]).as_deref(), Some("28.0.4-r1"));
        assert_eq!(version(list, &["containerd"]).as_deref(), Some("1.7.24~ds1-6+deb13u1"));
        assert_eq!(version(list, &["runc"]), None);
        assert_eq!(version("docker.io-26.1.5::trixie", &["docker", "docker.io"]).as_deref(), Some("26.1.5"));
        assert_eq!(version("", &["docker"]), None);
    }
}
