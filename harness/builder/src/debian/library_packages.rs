// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Store;
use loadgauge_images::Base;

use super::archive::Archive;
use super::index::Index;
use super::source::allows_expired;
use crate::recipe::Recipe;

/// The names of packages in the base's archive that probably contain a library.
///
/// `Packages` does not list files, but Debian derives the name of a library's package from its soname.
/// Empty where the archive has no package of such a name, or the recipe uses no Debian packages.
pub(crate) fn packages_of_library(
    library: &str,
    recipe: &Recipe,
    base: Option<&Base>,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Vec<String> {
    let Some(base) = base.filter(|_| !recipe.debian.is_empty()) else { return Vec::new() };
    let index = Archive::open(base, allows_expired(recipe), store, progress)
        .and_then(|archive| archive.index())
        .map(Index::of_archive);
    let Ok(index) = index else { return Vec::new() };
    package_names(library)
        .into_iter()
        .filter(|name| index.named(name).is_ok_and(|records| !records.is_empty()))
        .collect()
}

/// The possible package names of a library (Debian policy 8.1): `libfoo1` for `libfoo.so.1`,
/// `libfoo-1.2` for `libfoo-1.2.so`, `libfoo2-1` for `libfoo2.so.1`; and `libfoo1t64` since the
/// transition to 64-bit time.
fn package_names(library: &str) -> Vec<String> {
    let file = library.rsplit('/').next().unwrap_or(library).to_ascii_lowercase().replace('_', "-");
    let Some((stem, rest)) = file.split_once(".so") else { return Vec::new() };
    let version = rest.trim_start_matches('.');
    let dash = if stem.ends_with(|c: char| c.is_ascii_digit()) && !version.is_empty() { "-" } else { "" };
    let name = format!("{stem}{dash}{version}");
    // Some names have the first number of the version only.
    let short = version.split('.').next().filter(|first| *first != version);
    let short = short.map(|first| format!("{stem}{dash}{first}"));
    [Some(name), short].into_iter().flatten().flat_map(|name| [format!("{name}t64"), name]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_names_are_derived_from_sonames() {
        assert_eq!(package_names("libseccomp.so.2"), ["libseccomp2t64", "libseccomp2"]);
        assert_eq!(package_names("libX11.so.6")[1], "libx11-6");
        assert_eq!(package_names("libgpgme.so.11")[1], "libgpgme11");
        assert_eq!(package_names("libsqlite3.so.0")[1], "libsqlite3-0");
        assert_eq!(package_names("liblua5.4.so.0")[1], "liblua5.4-0");
        assert_eq!(package_names("libpython3.13.so.1.0")[3], "libpython3.13-1");
        assert_eq!(package_names("/lib/ld-musl-x86-64.so.1")[1], "ld-musl-x86-64-1");
        assert!(package_names("no library").is_empty());
    }
}
