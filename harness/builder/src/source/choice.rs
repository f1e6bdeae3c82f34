// SPDX-License-Identifier: Apache-2.0
use super::archive::Archives;
use super::debian::DebianPackages;
use super::file::Files;
use super::gentoo::GentooPackages;
use super::image::Images;
use super::traits::Source;
use super::tree::Trees;
use crate::recipe::Recipe;

/// The sources that a recipe uses, in the order in which they are staged: later ones replace the files
/// of earlier ones.
pub(crate) fn of_recipe(recipe: &Recipe) -> Vec<Box<dyn Source>> {
    let all: [(bool, Box<dyn Source>); 6] = [
        (recipe.debian.is_empty(), Box::new(DebianPackages::default())),
        (recipe.gentoo.is_empty(), Box::new(GentooPackages::default())),
        (recipe.archives.is_empty(), Box::new(Archives)),
        (recipe.images.is_empty(), Box::new(Images)),
        (recipe.trees.is_empty(), Box::new(Trees)),
        (recipe.files.is_empty(), Box::new(Files)),
    ];
    all.into_iter().filter(|(unused, _)| !unused).map(|(_, source)| source).collect()
}
