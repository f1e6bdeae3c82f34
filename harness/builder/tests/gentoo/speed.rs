// SPDX-License-Identifier: Apache-2.0
//! Compares the time of a build with that of Flatcar's `build_sysext`: `emerge --usepkgonly` into an overlay
//! of the base, and `mksquashfs`.
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use loadgauge_builder::lint::BaseLinks;
use loadgauge_builder::{Format, Recipe, Target, build};
use loadgauge_host::{CommandExt as _, Store};
use loadgauge_images::{Architecture, OsRelease};

use crate::oracle::PortageRoot;

/// Number of packages in the extension.
const PACKAGES: usize = 10;
/// Repetitions, of which the fastest counts.
const ROUNDS: usize = 3;
/// Limit of our time, relative to theirs.
const LIMIT: f64 = 0.2;

/// Each package needs the next one, and has 40 files of 50 kB that compress like programs.
fn write_ebuilds(root: &PortageRoot) {
    for number in 0..PACKAGES {
        let mut text = "EAPI=8\nDESCRIPTION=\"One of ten\"\nLICENSE=\"Apache-2.0\"\nSLOT=\"0\"\nKEYWORDS=\"amd64\"\nS=\"${WORKDIR}\"\n".to_owned();
        if number + 1 < PACKAGES {
            writeln!(text, "RDEPEND=\"app-misc/part{}\"", number + 1).expect("written");
        }
        text.push_str(
            "src_install() {\n\tinsinto /usr/lib/${PN}\n\tlocal file\n\tfor file in $(seq 40); do\n\
             \t\thead -c 25000 /dev/urandom | od -An -tx1 | head -c 50000 >${file} || die\n\
             \t\tdoins ${file}\n\tdone\n}\n",
        );
        let place = root.path(&format!("repository/app-misc/part{number}"));
        fs::create_dir_all(&place).expect("made");
        fs::write(place.join(format!("part{number}-1.ebuild")), text).expect("written");
    }
}

const PREPARE: &str = "set -eu
    for ebuild in repository/*/*/*.ebuild; do ebuild \"$ebuild\" manifest >/dev/null; done
    export PKGDIR=$PWD/binhost BINPKG_FORMAT=xpak BINPKG_COMPRESS=bzip2
    emerge --quiet --oneshot sys-libs/base
    emerge --quiet --buildpkgonly --nodeps $(seq -f app-misc/part%g 0 9)
    mkdir -p base/var/db base/usr/lib
    cp -a var/db/pkg base/var/db/pkg
";

const THEIRS: &str = "set -eu
    rm -rf upper work merged theirs.raw
    mkdir upper work merged
    mount -t overlay -o lowerdir=base,upperdir=upper,workdir=work,userxattr overlay merged
    export PKGDIR=$PWD/binhost ROOT=$PWD/merged FEATURES='-ebuild-locks binpkg-multi-instance'
    emerge --quiet --usepkgonly --root-deps=rdeps --oneshot app-misc/part0 >/dev/null
    umount merged
    find upper -mindepth 1 -maxdepth 1 ! -name usr -exec rm -rf {} +
    mksquashfs upper theirs.raw -all-root -noappend -comp zstd -Xcompression-level 3 -quiet >/dev/null
    test -s upper/usr/lib/part9/40
";

#[test]
#[ignore = "a measurement of some minutes, for `make bench`"]
fn a_build_takes_a_fifth_of_what_emerge_and_mksquashfs_take() {
    let root = PortageRoot::new();
    write_ebuilds(&root);
    let run = |script: &str| {
        root.command("sh").args(["-c", script]).run().unwrap_or_else(|error| panic!("{error}"));
    };
    run(PREPARE);
    let recipe = root.path("parts.toml");
    fs::write(
        &recipe,
        "name = \"parts\"\n[[gentoo]]\npackages = [\"app-misc/part0\"]\nbinhost = \"binhost\"\n",
    )
    .expect("written");
    let recipe = Recipe::load(&recipe).expect("a recipe");
    let release = OsRelease::parse("ID=flatcar\nVERSION_ID=1.0.0\nSYSEXT_LEVEL=1.0\n").expect("valid");
    let ours = || {
        let cache = tempfile::tempdir().expect("a directory");
        let store = Store::at(camino::Utf8Path::from_path(cache.path()).expect("UTF-8"));
        let target = Target {
            os_release: &release,
            architecture: Architecture::Amd64,
            systemd: None,
            base: None,
            portage: Some(root.path("base")),
            root: None,
            links: BaseLinks::new(),
        };
        let built = build(&recipe, &target, Format::Squashfs, &store, &|_| {}).expect("built");
        assert_eq!(built.packages.len(), PACKAGES);
    };
    let (ours, theirs) = (fastest(ours), fastest(|| run(THEIRS)));
    let share = ours.as_secs_f64() / theirs.as_secs_f64();
    println!(
        "a build of {PACKAGES} Gentoo packages: {:.2} s; emerge --usepkgonly and mksquashfs: {:.2} s; {:.0} % (at most {:.0} %)",
        ours.as_secs_f64(),
        theirs.as_secs_f64(),
        share * 100.0,
        LIMIT * 100.0
    );
    assert!(share <= LIMIT);
}

fn fastest(action: impl Fn()) -> Duration {
    let once = || {
        let start = Instant::now();
        action();
        start.elapsed()
    };
    (0..ROUNDS).map(|_| once()).min().unwrap_or_default()
}
