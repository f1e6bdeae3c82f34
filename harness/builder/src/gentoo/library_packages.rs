// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;

use loadgauge_host::Store;

use super::index::Metadata;
use super::select::binhost_of;
use crate::recipe::Recipe;
use crate::target::Target;

/// The packages of the recipe's binhosts that contain a library, according to `PROVIDES` in the index:
/// `x86_64: libfoo.so.1 libbar.so.2`.
pub(crate) fn packages_of_library(
    library: &str,
    recipe: &Recipe,
    target: &Target<'_>,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Vec<String> {
    let contains = |metadata: &&Metadata| {
        metadata.get("PROVIDES").is_some_and(|names| names.split_whitespace().any(|name| name == library))
    };
    let mut names = BTreeSet::new();
    for section in &recipe.gentoo {
        let Ok(index) = binhost_of(recipe, section, target).index(store, progress) else { continue };
        let packages = index.packages.iter().filter(contains);
        names.extend(packages.filter_map(|metadata| metadata.get("CPV").cloned()));
    }
    names.into_iter().collect()
}
