// SPDX-License-Identifier: Apache-2.0
//! Packages that count as installed although nobody has them.
use loadgauge_images::Architecture;

use super::super::recipe::{GentooSection, Recipe, RecipeError};
use super::atom::Atom;
use super::world::World;

/// What Flatcar does without although packages ask for it. Source: `package.provided` of the profiles
/// `coreos/base` and `coreos/targets/generic` of flatcar/scripts, which `build_sysext` installs with.
const SDK: [&str; 15] = [
    "virtual/mta-1",
    "net-mail/mailbase-1.1",
    "app-eselect/eselect-pinentry-0.7.4",
    "app-eselect/eselect-vi-20221122",
    "app-eselect/eselect-iptables-20220320",
    "app-misc/editor-wrapper-4-r1",
    "acct-group/named-0-r3",
    "acct-user/named-0-r3",
    "sys-process/psmisc-23.7",
    "dev-lang/perl-5.40.2",
    "dev-libs/icu-76.1-r1",
    "dev-perl/Parse-Yapp-1.210.0-r1",
    "dev-perl/JSON-4.100.0",
    "app-admin/setools-4.5.1",
    "sys-apps/selinux-python-3.7-r1",
];
/// The same of `coreos/arm64`.
const SDK_ARM64: [&str; 1] = ["dev-libs/gobject-introspection-1.40.0-r1"];

/// Lets count as installed what a section says, else what the SDK does, save for what the section asks for.
///
/// # Errors
/// The section says something that is no package with its version.
pub(super) fn provide(
    world: &mut World,
    recipe: &Recipe,
    section: &GentooSection,
    architecture: Architecture,
) -> Result<(), RecipeError> {
    let hint = "a category, a name and a version, such as \"virtual/mta-1\"";
    if let Some(provided) = &section.package_provided {
        for text in provided {
            world.provide(text.get_ref()).map_err(|error| recipe.error(text, error.to_string(), hint))?;
        }
        return Ok(());
    }
    let asked: Vec<Atom> =
        section.packages.iter().filter_map(|text| Atom::parse(text.get_ref()).ok()).collect();
    let also = if architecture == Architecture::Arm64 { SDK_ARM64.as_slice() } else { &[] };
    for text in SDK.iter().chain(also) {
        let is_asked = |atom: &Atom| {
            text.strip_prefix(atom.name.as_str()).is_some_and(|rest| {
                rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            })
        };
        if !asked.iter().any(is_asked) {
            world.provide(text).map_err(|error| recipe.error(&recipe.name, error.to_string(), hint))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn provided(section: &str, architecture: Architecture) -> Vec<bool> {
        let text = format!("name = \"x\"\n[[gentoo]]\n{section}");
        let recipe = Recipe::parse(&text, Utf8Path::new("x.toml")).expect("a recipe");
        let mut world = World::default();
        provide(&mut world, &recipe, &recipe.gentoo[0], architecture).expect("packages");
        ["virtual/mta", ">=dev-lang/perl-5.36", "dev-libs/gobject-introspection", "a/c"]
            .iter()
            .map(|atom| world.is_provided(&Atom::parse(atom).expect("an atom")))
            .collect()
    }

    #[test]
    fn what_the_sdk_provides_is_provided_unless_it_is_asked_for_or_the_recipe_says_otherwise() {
        let amd64 = |section| provided(section, Architecture::Amd64);
        assert_eq!(amd64("packages = [\"a/b\"]\n"), [true, true, false, false]);
        assert_eq!(amd64("packages = [\"dev-lang/perl\"]\n"), [true, false, false, false]);
        assert_eq!(amd64("packages = [\"dev-lang/perl-cleaner\"]\n"), [true, true, false, false]);
        assert_eq!(amd64("packages = [\"a/b\"]\npackage-provided = []\n"), [false; 4]);
        assert_eq!(
            amd64("packages = [\"a/b\"]\npackage-provided = [\"a/c-1\"]\n"),
            [false, false, false, true]
        );
        assert_eq!(provided("packages = [\"a/b\"]\n", Architecture::Arm64), [true, true, true, false]);
    }
}
