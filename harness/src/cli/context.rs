// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Algorithm, Store, kept_digest};
use loadgauge_ignition::delivery::INLINE_LIMIT;
use loadgauge_images::{Architecture, Image, Release};

use super::arguments::{ImageChoice, Selection};
use super::{Exit, Failure, output};
use crate::machine::{AccelChoice, Acceleration, FirmwareChoice, ORIGIN, prove};
use crate::scenario::{Catalogue, Plan, Planner, Scenario, builder, select};

/// Name of the link in the store that leads to the image made last.
const LAST_IMAGE: &str = "last-image";
/// Name of the directory in the store with a link for each release.
const RELEASES: &str = "releases";

/// What most subcommands work with: the store, the catalogue and the image.
pub(super) struct Context {
    pub(super) store: Store,
    pub(super) catalogue: Catalogue,
    pub(super) image: Image,
}

impl Context {
    /// Opens the user's store, the catalogue and the image that the arguments name.
    pub(super) fn open(scenarios: Option<&Utf8Path>, image: Option<&Utf8Path>) -> Result<Self, Failure> {
        let store = Store::of_user()?;
        let catalogue = catalogue(scenarios, &store)?;
        let image = open_image(image, &store)?;
        Ok(Self { store, catalogue, image })
    }

    /// The same, with the scenarios that are selected. They are read first: whether they are sound
    /// does not depend on the image.
    pub(super) fn with_scenarios(
        selection: &Selection,
        image: &ImageChoice,
    ) -> Result<(Self, Vec<Scenario>), Failure> {
        let store = Store::of_user()?;
        let catalogue = catalogue(selection.scenarios.as_deref(), &store)?;
        let scenarios = select(&catalogue, &selection.patterns)?;
        let image = open_image(image.image.as_deref(), &store)?;
        Ok((Self { store, catalogue, image }, scenarios))
    }

    /// Finds the accelerator that works on this host for the image.
    pub(super) async fn prove(&self, choice: AccelChoice) -> Result<Acceleration, Failure> {
        let proven = prove(choice, &self.store).await?;
        Ok(proven.for_guest(choice, self.image.facts.architecture, Architecture::of_host())?)
    }

    /// Builds what scenarios need and resolves their machines.
    pub(super) fn plan(
        &self,
        scenarios: Vec<Scenario>,
        acceleration: &Acceleration,
        firmware: Option<FirmwareChoice>,
    ) -> Result<Plan, Failure> {
        let build = builder(&self.image, &self.store, &output::tell);
        let planner = Planner {
            image: &self.image,
            acceleration,
            build: &build,
            digest: &|path| kept_digest(path, Algorithm::Sha512, &self.store),
            origin: ORIGIN,
            firmware,
            inline_limit: INLINE_LIMIT,
        };
        Ok(planner.plan(scenarios)?)
    }
}

/// The catalogue that is asked for, or the one in the binary.
pub(super) fn catalogue(scenarios: Option<&Utf8Path>, store: &Store) -> Result<Catalogue, Failure> {
    Ok(match scenarios {
        Some(directory) => Catalogue::at(directory)?,
        None => Catalogue::embedded(store)?,
    })
}

/// Opens the image that is asked for, or the one made last.
fn open_image(asked: Option<&Utf8Path>, store: &Store) -> Result<Image, Failure> {
    Ok(Image::open(&find_image(asked, store)?, store, &output::tell)?)
}

/// Where the image lies that is asked for, by its path or its release, or else the one made last.
pub(super) fn find_image(asked: Option<&Utf8Path>, store: &Store) -> Result<Utf8PathBuf, Failure> {
    if let Some(asked) = asked {
        if asked.exists() {
            return Ok(asked.to_owned());
        }
        return match made_release(asked.as_str(), store) {
            Some(made) => Ok(made),
            None if is_release(asked.as_str()) => Err(not_made(asked.as_str(), store)),
            None => Ok(asked.to_owned()),
        };
    }
    last_image(store).ok_or_else(|| {
        let hint = "make the stand-in with `loadgauge image build`, or name a Flatcar disk with --image";
        Failure::words(Exit::Host, "there is no image to boot", Some(hint))
    })
}

/// The image to boot when none is named.
pub(super) fn last_image(store: &Store) -> Option<Utf8PathBuf> {
    store.root().join(LAST_IMAGE).canonicalize_utf8().ok()
}

/// Remembers an image as the one to boot when none is named.
pub(super) fn remember_image(image: &Image, store: &Store) -> Result<(), Failure> {
    lead(&store.root().join(LAST_IMAGE), image)
}

/// Remembers an image as the one of its release.
pub(super) fn remember_release(release: &str, image: &Image, store: &Store) -> Result<(), Failure> {
    let directory = store.root().join(RELEASES);
    std::fs::create_dir_all(&directory)
        .map_err(|error| Failure::words(Exit::Host, format!("cannot create `{directory}`: {error}"), None))?;
    lead(&directory.join(release), image)
}

/// The releases that images were made for here, with where they are.
pub(super) fn made_releases(store: &Store) -> Vec<(Release, Utf8PathBuf)> {
    let Ok(entries) = store.root().join(RELEASES).read_dir_utf8() else { return Vec::new() };
    let mut releases: Vec<(Release, Utf8PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().parse().ok()?, entry.path().canonicalize_utf8().ok()?)))
        .collect();
    releases.sort();
    releases
}

/// The image that was made here for a release, by its version or as `CHANNEL-MAJOR`.
fn made_release(name: &str, store: &Store) -> Option<Utf8PathBuf> {
    let is_meant = |release: &Release| {
        let (channel, major) = (release.channel(), release.major);
        release.to_string() == name || channel.is_some_and(|channel| format!("{channel}-{major}") == name)
    };
    made_releases(store).into_iter().find(|(release, _)| is_meant(release)).map(|(_, path)| path)
}

/// Whether a word is meant as a release: a version, or `CHANNEL-MAJOR`.
fn is_release(name: &str) -> bool {
    let major =
        name.split_once('-').filter(|(channel, _)| ["alpha", "beta", "stable", "lts"].contains(channel));
    name.parse::<Release>().is_ok() || major.is_some_and(|(_, major)| major.parse::<u32>().is_ok())
}

/// Says which releases there are in place of one that is not.
fn not_made(name: &str, store: &Store) -> Failure {
    let made: Vec<String> = made_releases(store).iter().map(|(release, _)| release.to_string()).collect();
    let hint = match made.as_slice() {
        [] => "make a stand-in with `loadgauge image build`, or name a Flatcar disk".to_owned(),
        made => format!("there are {}; `loadgauge image build --release` makes others", made.join(", ")),
    };
    Failure::words(Exit::Host, format!("no image of release {name} was made here"), Some(&hint))
}

/// Makes a link lead to the directory of an image.
fn lead(link: &Utf8Path, image: &Image) -> Result<(), Failure> {
    let directory = image.disk.parent().unwrap_or(Utf8Path::new("/"));
    let fresh = Utf8PathBuf::from(format!("{link}.{}", std::process::id()));
    std::os::unix::fs::symlink(directory, &fresh)
        .and_then(|()| std::fs::rename(&fresh, link))
        .map_err(|error| Failure::words(Exit::Host, format!("cannot create `{link}`: {error}"), None))
}
