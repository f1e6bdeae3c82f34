// SPDX-License-Identifier: Apache-2.0
//! What Flatcar's SDK leaves out of every package that it installs for an image or an extension.
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::super::globs;
use super::super::recipe::{GentooSection, Recipe, RecipeError};

/// Globs of paths. Source: `INSTALL_MASK` of the profiles `coreos/base` and `coreos/targets/generic`
/// of flatcar/scripts, which `build_sysext` installs with, and what the features `nodoc`, `noinfo` and
/// `noman` of the latter leave out. Portage's `*` crosses directories.
const SDK: [&str; 53] = [
    "/usr/lib*/**/*.la",
    "/usr/lib/debug/.build-id/**",
    "/usr/share/portage/config/repos.conf",
    "/usr/share/doc/**",
    "/usr/share/info/**",
    "/usr/share/man/**",
    "/usr/sbin/locale-gen",
    "/usr/share/bash-completion/**",
    "/usr/share/gtk-doc/**",
    "/usr/share/locale/**",
    "/usr/share/zsh/**",
    "/usr/bin/sqlite3",
    "/usr/bin/lua*",
    "/usr/sbin/selinuxenabled",
    "/usr/sbin/i2c-stub-from-dump",
    "/usr/lib/modules/*-coreos/source/scripts/**/*.pl",
    "/usr/share/git-core/templates/hooks/fsmonitor-watchman.sample",
    "/usr/share/rsync/**",
    "/usr/bin/glib-mkenums",
    "/usr/bin/afmtodit",
    "/usr/bin/decode-edid",
    "/usr/bin/gtkdoc-rebase",
    "/usr/bin/ddcmon",
    "/usr/bin/mtrace",
    "/usr/bin/import-tars",
    "/usr/bin/help2man",
    "/usr/bin/gropdf",
    "/usr/bin/mmroff",
    "/usr/bin/decode-dimms",
    "/usr/bin/pdfmom",
    "/usr/bin/decode-vaio",
    "/usr/bin/cvtsudoers",
    "/usr/bin/mk_cmds",
    "/usr/bin/compile_et",
    "/usr/share/et/**",
    "/usr/share/ss/**",
    "/etc/init.d/**",
    "/etc/conf.d/**",
    "/etc/acpi/**",
    "/etc/bash_completion.d/**",
    "/etc/DIR_COLORS",
    "/etc/dmtab",
    "/etc/e2fsck.conf",
    "/etc/libnl/**",
    "/etc/logrotate.{conf,d}",
    "/etc/logrotate.d/**",
    "/etc/lvm/**",
    "/etc/mdadm.conf",
    "/etc/rsyncd.conf",
    "/etc/{sudoers,wgetrc}",
    "/etc/xinetd.d/**",
    "/etc/vim/vimrc",
    "/etc/ssl/misc/{CA.pl,tsget}",
];

/// What a section leaves out when it installs a package: what it says, else what the SDK does.
///
/// # Errors
/// The section says something that is no glob.
pub(super) fn of_section(recipe: &Recipe, section: &GentooSection) -> Result<GlobSet, RecipeError> {
    if let Some(mask) = &section.install_mask {
        return globs::compile(recipe, mask);
    }
    let mut builder = GlobSetBuilder::new();
    for pattern in SDK {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        builder.add(glob.map_err(|error| recipe.error(&recipe.name, error.to_string(), ""))?);
    }
    builder.build().map_err(|error| recipe.error(&recipe.name, error.to_string(), ""))
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn masked(section: &str, paths: &[&str]) -> Vec<bool> {
        let text = format!("name = \"x\"\n[[gentoo]]\npackages = [\"a/b\"]\n{section}");
        let recipe = Recipe::parse(&text, Utf8Path::new("x.toml")).expect("a recipe");
        let mask = of_section(&recipe, &recipe.gentoo[0]).expect("globs");
        paths.iter().map(|path| globs::matches(&mask, Utf8Path::new(path))).collect()
    }

    #[test]
    fn what_the_sdk_leaves_out_is_left_out_unless_the_recipe_says_otherwise() {
        let paths =
            ["usr/lib64/a/b.la", "usr/share/man/man1/x.1", "usr/bin/luac", "etc/init.d", "usr/bin/tool"];
        assert_eq!(masked("", &paths), [true, true, true, true, false]);
        assert_eq!(masked("install-mask = []\n", &paths), [false; 5]);
        assert_eq!(masked("install-mask = [\"/usr/bin/*\"]\n", &paths), [false, false, true, false, true]);
    }
}
