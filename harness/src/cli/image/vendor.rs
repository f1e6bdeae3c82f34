// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_builder::pack::ErofsCompression;
use loadgauge_builder::signing::KeyPair;
use loadgauge_builder::{Built, Format, Recipe, Target};
use loadgauge_host::{Entry, Store, fs};
use loadgauge_images::Base;
use loadgauge_images::image::Era;
use loadgauge_standin::{Options, VendorExtension};
use sha2::{Digest as _, Sha256};

use crate::cli::{Failure, output};
use crate::scenario::Catalogue;

/// The recipes of the extensions that Flatcar ships in an image of an era, dependencies first.
fn recipes(era: Era) -> &'static [&'static str] {
    match era {
        Era::Torcx => &["docker-torcx", "oem-qemu"],
        Era::Sysext | Era::Initrd => &["containerd-flatcar", "docker-flatcar", "oem-qemu"],
    }
}

/// Builds the extensions that Flatcar ships in a release (Docker, containerd and the OEM's), against the
/// base of the release and in Flatcar's own format.
pub(super) fn extensions(
    options: &Options,
    base: &Base,
    catalogue: &Catalogue,
    store: &Store,
) -> Result<Vec<VendorExtension>, Failure> {
    let era = options.blueprint.era();
    let recipes = recipes(era)
        .iter()
        .map(|name| Ok(with_vendor_settings(Recipe::load(&catalogue.recipe(name)?)?, era)))
        .collect::<Result<Vec<_>, Failure>>()?;
    match era {
        Era::Torcx | Era::Sysext => recipes
            .iter()
            .map(|recipe| {
                let format =
                    if recipe.name() == "docker-torcx" { Format::Directory } else { Format::Squashfs };
                let built = build(recipe, base, format, store)?;
                Ok(VendorExtension { name: recipe.name().to_owned(), path: built.extension.path })
            })
            .collect(),
        Era::Initrd => signed(&recipes, base, store),
    }
}

/// The recipe with the settings that Flatcar uses for its own extensions.
fn with_vendor_settings(mut recipe: Recipe, era: Era) -> Recipe {
    // The OEM extension has no VERSION_ID before release 3717.
    recipe.compatible.version_id = (era != Era::Torcx).then(|| "image".to_owned());
    recipe.compatible.reload_manager = Some(era == Era::Initrd);
    recipe.pack.erofs_compression = Some(ErofsCompression::None);
    recipe
}

fn build(recipe: &Recipe, base: &Base, format: Format, store: &Store) -> Result<Built, Failure> {
    let progress = |text: &str| output::message(&format!("{}: {text}", recipe.name()));
    Ok(loadgauge_builder::build(recipe, &Target::of_base(base), format, store, &progress)?)
}

/// Builds the extensions as signed disk images, with the certificate `sysexts.crt` in the same directory.
///
/// As Flatcar does for each release, a new key signs all of them and is then discarded. The images are
/// therefore kept together in the store, under the digests of their contents.
fn signed(recipes: &[Recipe], base: &Base, store: &Store) -> Result<Vec<VendorExtension>, Failure> {
    let mut inputs = Sha256::new();
    inputs.update(format!("base {}\n", base.digest));
    for recipe in recipes {
        let contents = build(recipe, base, Format::Directory, store)?.extension.sha512;
        inputs.update(format!("{} {contents}\n", recipe.name()));
    }
    let directory = match store.entry("vendor", &hex::encode(inputs.finalize()))? {
        Entry::Ready(directory) => directory,
        Entry::Vacant(vacancy) => {
            sign(recipes, base, store, vacancy.directory())?;
            vacancy.commit()?
        }
    };
    let extension = |recipe: &Recipe| VendorExtension {
        name: recipe.name().to_owned(),
        path: directory.join(format!("{}.raw", recipe.name())),
    };
    Ok(recipes.iter().map(extension).collect())
}

fn sign(recipes: &[Recipe], base: &Base, store: &Store, directory: &Utf8Path) -> Result<(), Failure> {
    let pair = KeyPair::generate("sysexts")?;
    let certificate = directory.join("sysexts.crt");
    fs::write(&certificate, pair.certificate_pem()?)?;
    for recipe in recipes {
        let built = build(&recipe.signed_by(&pair), base, Format::Ddi, store)?.extension.path;
        for suffix in [".raw", "_contents.txt", "_packages.txt"] {
            let name = format!("{}{suffix}", recipe.name());
            let path = built.with_file_name(&name);
            if path.exists() {
                fs::copy(&path, directory.join(name))?;
            }
        }
    }
    Ok(())
}
