// SPDX-License-Identifier: Apache-2.0
//! What an author's config asks of a guest that this guest cannot do. These are warnings and not errors,
//! since a scenario may test the failure.
use camino::Utf8Path;
use loadgauge_builder::lint::{BaseNode, BaseTree};
use loadgauge_ignition::{Config, Written, WrittenKind};

/// The facts about a guest that decide whether a config can work in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct GuestFacts<'a> {
    /// the files of the image, where they are known
    pub(super) files: &'a BaseTree,
    /// whether the guest reaches the harness only
    pub(super) hermetic: bool,
}

/// The directories that are on the partition of /usr, or links to it.
const READ_ONLY: [&str; 5] = ["/usr", "/bin", "/sbin", "/lib", "/lib64"];

/// Where releases of Flatcar have the files of /etc, which a guest sees in /etc: below an overlay, or as
/// they are.
const LOWER_ETC: [&str; 2] = ["usr/share/flatcar/etc", "etc"];

/// The warnings about an author's config. `extensions` is the config that delivers the extensions.
pub(super) fn guest_warnings(author: &Config, extensions: &Config, guest: GuestFacts<'_>) -> Vec<String> {
    let mut written = author.written();
    let own = written.len();
    written.extend(extensions.written());
    let mut warnings = Vec::new();
    for one in &written[..own] {
        warnings.extend(read_only(one).or_else(|| existing(one, guest.files)));
        warnings.extend(dangling(one, &written));
    }
    if guest.hermetic {
        warnings.extend(author.remote_urls().into_iter().map(|(place, url)| {
            format!(
                "`{place}`: the guest cannot fetch `{url}`, since its network is hermetic; set `network = \
                 \"internet\"` in `[machine]`, use a local file, or name the extension as `[[sysext]]` too"
            )
        }));
    }
    warnings
}

fn read_only(one: &Written) -> Option<String> {
    let directory = READ_ONLY.iter().find(|directory| one.path.starts_with(directory))?;
    Some(format!(
        "Ignition cannot write `{}`, since `{directory}` is read-only; put it into an extension",
        one.path
    ))
}

/// A path that the image's /etc has, without `overwrite`: Ignition fails in the initrd.
fn existing(one: &Written, files: &BaseTree) -> Option<String> {
    let below = one.path.strip_prefix("/etc").ok()?;
    let node = LOWER_ETC.iter().find_map(|etc| files.get(&Utf8Path::new(etc).join(below)))?;
    let same =
        matches!((node, &one.kind), (BaseNode::Link(there), WrittenKind::Link(target)) if there == target);
    (!one.overwrite && !same).then(|| {
        format!(
            "the image has `{}`, so Ignition will fail to write it in the initrd; set `overwrite = true`",
            one.path
        )
    })
}

/// A link of an extension to an image that nothing writes.
fn dangling(one: &Written, written: &[Written]) -> Option<String> {
    let WrittenKind::Link(target) = &one.kind else { return None };
    let of_extension = one.path.parent() == Some(Utf8Path::new("/etc/extensions"));
    let made_later = target.starts_with("/opt") || target.starts_with("/var") || target.starts_with("/etc");
    let is_written = written.iter().any(|other| other.path == *target || other.path.starts_with(target));
    (of_extension && made_later && !is_written).then(|| {
        format!(
            "the link `{}` leads to `{target}`, which the config does not write; add the file, or name the \
             extension as `[[sysext]]`",
            one.path
        )
    })
}

#[cfg(test)]
mod tests {
    use loadgauge_ignition::{Contents, File, Link};

    use super::*;

    const CONTENTS: &str = "\
drwxr-xr-x 2 0 0 0 2025-01-01 00:00 ./usr/share/flatcar/etc/flatcar
-rw-r--r-- 1 0 0 9 2025-01-01 00:00 ./usr/share/flatcar/etc/flatcar/update.conf
-rw-r--r-- 1 0 0 9 2025-01-01 00:00 ./etc/hosts
lrwxrwxrwx 1 0 0 0 2025-01-01 00:00 ./etc/localtime -> ../usr/share/zoneinfo/UTC
";

    fn warnings(fill: impl Fn(&mut Config), hermetic: bool) -> Vec<String> {
        let (mut author, mut extensions) = (Config::new(), Config::new());
        fill(&mut author);
        extensions.file(file("/opt/extensions/hello.raw", false));
        let files = BaseTree::parse(CONTENTS);
        guest_warnings(&author, &extensions, GuestFacts { files: &files, hermetic })
    }

    fn file(path: &str, overwrite: bool) -> File {
        File { path: path.into(), mode: 0o644, contents: Contents::Inline(b"x".to_vec()), overwrite }
    }

    fn link(path: &str, target: &str) -> Link {
        Link { path: path.into(), target: target.into(), ..Link::default() }
    }

    #[test]
    fn a_path_that_ignition_cannot_write_is_told_of() {
        for (path, overwrite, expected) in [
            ("/etc/flatcar/update.conf", false, Some("the image has `/etc/flatcar/update.conf`")),
            ("/etc/hosts", false, Some("the image has `/etc/hosts`")),
            ("/etc/localtime", false, Some("the image has `/etc/localtime`")),
            ("/usr/bin/tool", true, Some("Ignition cannot write `/usr/bin/tool`, since `/usr` is read-only")),
            ("/lib/tool", false, Some("Ignition cannot write `/lib/tool`, since `/lib` is read-only")),
            ("/etc/flatcar/update.conf", true, None),
            ("/etc/flatcar/other.conf", false, None),
            ("/usrlocal/x", false, None),
            ("/var/hosts", false, None),
        ] {
            let found = warnings(
                |config| {
                    config.file(file(path, overwrite));
                },
                true,
            );
            let first = found.first();
            assert_eq!(first.is_some(), expected.is_some(), "{path}: {found:?}");
            assert!(first.is_none_or(|first| first.starts_with(expected.unwrap_or_default())), "{found:?}");
        }
        let same = |config: &mut Config| {
            config.link(link("/etc/localtime", "../usr/share/zoneinfo/UTC"));
        };
        assert_eq!(warnings(same, true), [""; 0]);
        let other = |config: &mut Config| {
            config.link(link("/etc/localtime", "/usr/share/zoneinfo/CET"));
        };
        assert!(warnings(other, true)[0].starts_with("the image has `/etc/localtime`"));
    }

    #[test]
    fn a_link_to_an_image_that_nobody_writes_is_told_of() {
        for (target, dangling) in [
            ("/opt/extensions/other.raw", true),
            ("/opt/extensions/hello.raw", false),
            ("/dev/null", false),
            ("/usr/share/oem/x.raw", false),
        ] {
            let found = warnings(
                |config| {
                    config.link(link("/etc/extensions/x.raw", target));
                },
                true,
            );
            assert_eq!(found.len(), usize::from(dangling), "{target}: {found:?}");
        }
    }

    #[test]
    fn a_url_that_a_hermetic_guest_cannot_fetch_is_told_of() {
        let fill = |config: &mut Config| {
            let contents = Contents::Remote { url: "https://example.org/x".into(), sha512: "ab".repeat(64) };
            config.file(File { contents, ..file("/opt/x", false) });
        };
        assert!(warnings(fill, true)[0].contains("the guest cannot fetch `https://example.org/x`"));
        assert_eq!(warnings(fill, false), [""; 0]);
    }
}
