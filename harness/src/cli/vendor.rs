// SPDX-License-Identifier: Apache-2.0
use std::fs;

use camino::Utf8Path;
use loadgauge_host::{Entry, Store};
use loadgauge_images::Base;
use loadgauge_images::image::Era;
use loadgauge_standin::{Options, VendorExtension};
use sha2::{Digest as _, Sha256};

use super::{Exit, Failure, output};
use crate::scenario::Catalogue;
use loadgauge_builder::pack::ErofsCompression;
use loadgauge_builder::signing::KeyPair;
use loadgauge_builder::{Built, Format, Recipe, Target};

/// What the vendor ships in an image of the era, in the order in which they depend on each other.
fn recipes(era: Era) -> &'static [&'static str] {
    match era {
        Era::Torcx => &["docker-torcx", "oem-qemu"],
        Era::Sysext | Era::Initrd => &["containerd-flatcar", "docker-flatcar", "oem-qemu"],
    }
}

/// Builds what delivers Docker and containerd in a release, and the OEM's extension, against the
/// release's base, each in the form that the vendor gives it.
pub(super) fn extensions(
    options: &Options,
    base: &Base,
    catalogue: &Catalogue,
    store: &Store,
) -> Result<Vec<VendorExtension>, Failure> {
    let era = options.blueprint.era();
    let recipes = recipes(era)
        .iter()
        .map(|name| Ok(vendors_own(Recipe::load(&catalogue.recipe(name)?)?, era)))
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

/// The recipe with what the vendor says of its own extensions, and users do not of theirs.
fn vendors_own(mut recipe: Recipe, era: Era) -> Recipe {
    // The OEM's is bound to no version until 3717.
    recipe.compatible.version_id = (era != Era::Torcx).then(|| "image".to_owned());
    recipe.compatible.reload_manager = Some(era == Era::Initrd);
    recipe.pack.erofs_compression = Some(ErofsCompression::None);
    recipe
}

fn build(recipe: &Recipe, base: &Base, format: Format, store: &Store) -> Result<Built, Failure> {
    let progress = |text: &str| output::tell(&format!("{}: {text}", recipe.name()));
    Ok(loadgauge_builder::build(recipe, &Target::of_base(base), format, store, &progress)?)
}

/// All of them as disk images that are signed by one key, with the certificate `sysexts.crt` for it
/// beside them.
///
/// The key is made for this and kept nowhere, as the vendor does for each release: what is built
/// again is signed by another, so that they are kept together, under what is in them.
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
    fs::write(&certificate, pair.certificate_pem()?).map_err(io("write", &certificate))?;
    for recipe in recipes {
        let built = build(&recipe.signed_by(&pair), base, Format::Ddi, store)?.extension.path;
        for suffix in [".raw", "_contents.txt", "_packages.txt"] {
            let name = format!("{}{suffix}", recipe.name());
            let path = built.with_file_name(&name);
            if path.exists() {
                fs::copy(&path, directory.join(name)).map_err(io("copy", &path))?;
            }
        }
    }
    Ok(())
}

fn io(action: &'static str, path: &Utf8Path) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::words(Exit::Host, format!("cannot {action} `{path}`: {error}"), None)
}
