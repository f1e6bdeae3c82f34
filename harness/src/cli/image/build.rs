// SPDX-License-Identifier: Apache-2.0
use std::sync::Mutex;

use clap::Args;
use loadgauge_host::{Store, environment};
use loadgauge_images::{Image, Release};
use loadgauge_standin::{BLUEPRINTS, Options};

use super::vendor;
use crate::cli::{Exit, Failure, built_images, output};
use crate::scenario::Catalogue;

/// Arguments of `loadgauge image build`.
#[derive(Debug, Args)]
pub(crate) struct ImageBuildArguments {
    /// Release to stand in for; can be repeated [default: 4593.2.0]
    #[arg(long, value_name = "RELEASE")]
    release: Vec<Release>,

    /// Build a stand-in for every supported release, one of each era
    #[arg(long, conflicts_with = "release")]
    all: bool,

    /// Debian mirror that packages are downloaded from
    #[arg(
        long,
        value_name = "URL",
        env = environment::DEBIAN_MIRROR,
        default_value = "http://deb.debian.org/debian"
    )]
    mirror: String,
}

/// Number of images that are built at a time: one waits for the mirror while another is packed.
const CONCURRENT_BUILDS: usize = 2;

/// Builds stand-ins and remembers them by their release.
pub(super) fn run(arguments: &ImageBuildArguments) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let catalogue = Catalogue::embedded(&store)?;
    let options = options(arguments)?;
    let queue = Mutex::new(options.iter().enumerate());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    let built = Mutex::new(Vec::new());
    let worker = || {
        while let Some((number, options)) = next() {
            let image = build(options, &catalogue, &store);
            if let Ok(mut built) = built.lock() {
                built.push((number, image));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CONCURRENT_BUILDS.min(options.len()) {
            scope.spawn(worker);
        }
    });
    let mut built = built.into_inner().unwrap_or_default();
    built.sort_by_key(|(number, _)| *number);
    let images = built.into_iter().map(|(_, image)| image).collect::<Result<Vec<_>, _>>()?;
    for (options, image) in options.iter().zip(&images) {
        built_images::remember_release(options.blueprint.release, image, &store)?;
        output::print(&format!("{}\n", built_images::directory(image)))?;
    }
    // Among several, the default release is the one to boot by default too.
    let default = Options::default().blueprint.release;
    let last = options.iter().zip(&images).rfind(|(options, _)| options.blueprint.release == default);
    if let Some(image) = last.map(|(_, image)| image).or(images.last()) {
        built_images::remember_last(image, &store)?;
    }
    Ok(Exit::Passed)
}

fn options(arguments: &ImageBuildArguments) -> Result<Vec<Options>, Failure> {
    let mut releases = arguments.release.clone();
    if arguments.all {
        releases = BLUEPRINTS.iter().map(|blueprint| blueprint.release).collect();
    } else if releases.is_empty() {
        releases.push(Options::default().blueprint.release);
    }
    releases.sort_unstable();
    releases.dedup();
    let mut all = Vec::new();
    for release in releases {
        all.push(Options { mirror: arguments.mirror.clone(), ..Options::for_release(release)? });
    }
    Ok(all)
}

/// Builds the base, the vendor's extensions against it, and the disk with both.
fn build(options: &Options, catalogue: &Catalogue, store: &Store) -> Result<Image, Failure> {
    let release = options.blueprint.release;
    let progress = |text: &str| output::message(&format!("{release}: {text}"));
    let (base, directory) = loadgauge_standin::build_base(store, options, &progress)?;
    let extensions = vendor::extensions(options, &base, catalogue, store)?;
    Ok(loadgauge_standin::build_image(store, options, (&base, &directory), &extensions, &progress)?)
}
