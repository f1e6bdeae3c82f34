// SPDX-License-Identifier: Apache-2.0
//! Kernel modules.
use std::collections::BTreeMap;

use camino::Utf8Path;

use crate::lint::base::Base;
use crate::lint::content::{Content, Kind};
use crate::lint::finding::Fault;

const MODULES: &str = "usr/lib/modules";

/// `modules.dep` and others, which depmod writes for all modules of a kernel together
/// (flatcar/Flatcar#1576: one extension hid the modules of another).
pub(super) fn index(content: &Content, _: &Base<'_>) -> Vec<Fault> {
    let is_index = |path: &Utf8Path| {
        path.starts_with(MODULES)
            && path.file_name().is_some_and(|name| name.starts_with("modules."))
            && path.components().count() == 5
    };
    let indexes = content.entries.iter().filter(|(path, entry)| entry.kind == Kind::File && is_index(path));
    let message = "hides the index of the kernel modules of the image and of other extensions";
    indexes.map(|(path, _)| Fault::warning(path, message)).collect()
}

/// Modules of another kernel than the image's, which modprobe does not look at, and modules of the image's
/// kernel in an extension that an update to another kernel would keep.
pub(super) fn kernel(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let mut modules: BTreeMap<&str, &Utf8Path> = BTreeMap::new();
    for (path, entry) in &content.entries {
        let Some(kernel) = path.strip_prefix(MODULES).ok().and_then(|rest| rest.components().next()) else {
            continue;
        };
        let name = path.file_name().unwrap_or_default();
        if entry.kind == Kind::File
            && [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().any(|end| name.ends_with(end))
        {
            modules.entry(kernel.as_str()).or_insert(path);
        }
    }
    let kernels = base.tree.kernels();
    let bound = is_bound_to_version(content);
    let bind =
        "bind the extension to a release: VERSION_ID in its extension-release, `version-id` in a recipe";
    let fault = |(kernel, path): (&str, &Utf8Path)| {
        if !kernels.is_empty() && !kernels.contains(&kernel) {
            let there = kernels.join(", ");
            let message = format!("is for kernel {}, the image's is {there}", kernel.escape_debug());
            return Some(Fault::warning(path, message).with_hint(bind));
        }
        let message = format!(
            "is for kernel {} alone, but the extension is merged after an update to another kernel, too",
            kernel.escape_debug()
        );
        (!bound).then(|| Fault::warning(path, message).with_hint(bind))
    };
    modules.into_iter().filter_map(fault).collect()
}

/// Whether the extension is for one version of the system. With a level on both sides, systemd does not
/// compare the version.
fn is_bound_to_version(content: &Content) -> bool {
    let Some(release) = content.release() else { return true };
    release.get("ID") != Some("_any")
        && release.get("VERSION_ID").is_some()
        && release.get("SYSEXT_LEVEL").is_none()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Image, unknown};
    use super::*;

    const RELEASE: &str = "usr/lib/extension-release.d/extension-release.tool";

    #[test]
    fn an_index_of_modules_is_warned_of() {
        let content = Content::of(&[
            "644 0 usr/lib/modules/6.12.1/modules.dep",
            "644 0 usr/lib/modules/6.12.1/a/modules.x",
        ]);
        assert_eq!(
            unknown().findings(index, &content),
            [
                "warning: /usr/lib/modules/6.12.1/modules.dep hides the index of the kernel modules of the image and of \
              other extensions"
            ]
        );
    }

    #[test]
    fn modules_are_for_the_kernel_of_the_image() {
        let image = Image::new("4593.2.0", 257, "drwxr ./usr/lib/modules/6.12.81-flatcar\n");
        let content = |kernel: &str, release: &str| {
            let path = format!("644 0 usr/lib/modules/{kernel}/extra/mine.ko");
            Content::of(&[&path]).with_text(RELEASE, release)
        };
        let bound = "ID=flatcar\nVERSION_ID=4593.2.0\n";
        assert_eq!(
            image.findings(kernel, &content("6.6.54-flatcar", bound)),
            [
                "warning: /usr/lib/modules/6.6.54-flatcar/extra/mine.ko is for kernel 6.6.54-flatcar, the image's is \
              6.12.81-flatcar"
            ]
        );
        assert!(image.findings(kernel, &content("6.12.81-flatcar", bound)).is_empty());
        for release in ["ID=flatcar\nSYSEXT_LEVEL=1.0\n", "ID=_any\nVERSION_ID=4593.2.0\n"] {
            let found = image.findings(kernel, &content("6.12.81-flatcar", release));
            assert!(found[0].contains("after an update to another kernel"), "{found:?}");
        }
    }
}
