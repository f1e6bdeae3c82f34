// SPDX-License-Identifier: Apache-2.0
use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use loadgauge_host::Store;
use loadgauge_images::{Image, Release};
use loadgauge_standin::{BLUEPRINTS, Options};

use super::context::{catalogue, remember_image, remember_release};
use super::{Exit, Failure, output, vendor};
use crate::scenario::Catalogue;

/// `loadgauge image build`
#[derive(Debug, Args)]
pub(super) struct ImageBuildArguments {
    /// Stand in for this release; may be given more than once, 4593.2.0 when not given
    #[arg(long, value_name = "RELEASE")]
    pub release: Vec<Release>,

    /// Make the stand-ins for all releases that there are: one of each era
    #[arg(long, conflicts_with = "release")]
    pub all: bool,

    /// The Debian archive to take packages from
    #[arg(
        long,
        value_name = "URL",
        env = "LOADGAUGE_DEBIAN_MIRROR",
        default_value = "http://deb.debian.org/debian"
    )]
    pub mirror: String,
}

/// How many images are made at a time: while one waits for the archive, another packs.
const AT_A_TIME: usize = 2;

/// `loadgauge image build`: the base, the vendor's extensions against it, the disk around both.
pub(super) fn build(arguments: &ImageBuildArguments) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let catalogue = catalogue(None, &store)?;
    let options = options(arguments)?;
    let queue = Mutex::new(options.iter().enumerate());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    let made = Mutex::new(Vec::new());
    let worker = || {
        while let Some((number, options)) = next() {
            let image = one(options, &catalogue, &store);
            if let Ok(mut made) = made.lock() {
                made.push((number, image));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME.min(options.len()) {
            scope.spawn(worker);
        }
    });
    let mut made = made.into_inner().unwrap_or_default();
    made.sort_by_key(|(number, _)| *number);
    let images = made.into_iter().map(|(_, image)| image).collect::<Result<Vec<_>, _>>()?;
    for (options, image) in options.iter().zip(&images) {
        remember_release(&options.blueprint.release.to_string(), image, &store)?;
        output::print(&format!("{}\n", directory(image)))?;
    }
    // Among several, the one that is made when nobody says which is the one to boot then too.
    let default = Options::default().blueprint.release;
    let last = options.iter().zip(&images).rfind(|(options, _)| options.blueprint.release == default);
    if let Some(image) = last.map(|(_, image)| image).or(images.last()) {
        remember_image(image, &store)?;
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

fn one(options: &Options, catalogue: &Catalogue, store: &Store) -> Result<Image, Failure> {
    let release = options.blueprint.release;
    let tell = |text: &str| output::tell(&format!("{release}: {text}"));
    let (base, directory) = loadgauge_standin::build_base(store, options, &tell)?;
    let extensions = vendor::extensions(options, &base, catalogue, store)?;
    Ok(loadgauge_standin::build_image(store, options, (&base, &directory), &extensions, &tell)?)
}

fn directory(image: &Image) -> Utf8PathBuf {
    image.disk.parent().unwrap_or(Utf8Path::new("/")).to_owned()
}
