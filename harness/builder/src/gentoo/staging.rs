// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Store, fs};

use super::base;
use super::binary::BinaryPackage;
use super::decompression::{Decompressed, Decompression};
use super::environment;
use super::error::GentooError;
use super::install_mask;
use super::pkginfo;
use super::sdk;
use super::selection::{SelectedPackage, Selection};
use crate::globs;
use crate::member::merge_usr;
use crate::recipe::Recipe;
use crate::source::AboutPackage;
use crate::stage::{StageError, Staged};
use crate::target::Target;
use crate::unpack::{Place, UnpackCause, Unpacking};

/// The result of unpacking packages.
#[derive(Debug, Default)]
pub(crate) struct StagedPackages {
    /// files and links outside /usr and /opt, which were not unpacked
    pub(crate) dropped: Vec<Utf8PathBuf>,
    /// the package database of the extension, as paths (`var/db/pkg/...`) with contents
    pub(crate) database: Vec<(String, Vec<u8>)>,
    /// what the packages say about themselves, by category and name
    pub(crate) about: BTreeMap<String, AboutPackage>,
}

/// Unpacks the packages into a stage, without running their install hooks.
///
/// # Errors
/// See [`GentooError`].
pub(crate) fn stage(
    staged: &mut Staged,
    recipe: &Recipe,
    selection: &Selection,
    target: &Target<'_>,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<StagedPackages, GentooError> {
    let directory =
        staged.scratch("packages").map_err(|error| UnpackCause::from(error).of("the packages", None))?;
    let all: Vec<&SelectedPackage> = selection.packages().collect();
    let decompression = Decompression::default();
    let result = thread::scope(|scope| {
        let mut decompressed = decompression.start(scope, &all, &directory).into_iter();
        let mut next = || decompressed.next().and_then(|receiver| receiver.recv().ok());
        let result = stage_all(staged, recipe, selection, target, &mut next, progress);
        decompression.cancel();
        result
    });
    let (result, added) = result?;
    fs::remove_dir_all(&directory)
        .map_err(StageError::from)
        .map_err(UnpackCause::from)
        .map_err(|cause| cause.of("the packages", None))?;
    check_collisions(staged, recipe, selection, &added, target, store)?;
    Ok(result)
}

/// Names with slots of packages.
type Slots = BTreeSet<(String, String)>;

/// Unpacks the packages in their order. `next` waits for the next one to be decompressed.
fn stage_all(
    staged: &mut Staged,
    recipe: &Recipe,
    selection: &Selection,
    target: &Target<'_>,
    next: &mut dyn FnMut() -> Option<Result<Decompressed, GentooError>>,
    progress: &dyn Fn(&str),
) -> Result<(StagedPackages, Slots), GentooError> {
    let (mut result, mut added) = (StagedPackages::default(), BTreeSet::new());
    for (section, packages) in recipe.gentoo.iter().zip(&selection.groups) {
        let exclude = globs::compile(recipe, &section.exclude)?;
        let mask = install_mask::of_section(recipe, section, sdk::major(target.os_release))?;
        for package in packages {
            progress(&format!("unpacking {} {}", package.name, package.version));
            let Some(message) = next() else { break };
            let Decompressed { binary, tar } = message?;
            check_name(package, &binary)?;
            let about = AboutPackage {
                homepage: binary.value("HOMEPAGE").filter(|text| !text.is_empty()).map(str::to_owned),
                display_name: binary
                    .entries
                    .get("environment.bz2")
                    .and_then(|bytes| environment::variable(bytes, "SYSEXT_NAME")),
            };
            result.about.insert(package.name.clone(), about);
            let slot = binary.value("SLOT").and_then(|slot| slot.split('/').next()).unwrap_or("0");
            added.insert((package.name.clone(), slot.to_owned()));
            let archive = package.path.file_name().unwrap_or_default().to_owned();
            let place = |member: &Utf8Path| {
                let Ok(path) = member.strip_prefix(binary.prefix) else { return Place::Nowhere };
                let path = merge_usr(path);
                let is_masked = globs::matches(&exclude, &path) || globs::matches(&mask, &path);
                if is_masked { Place::Nowhere } else { Place::At(path) }
            };
            let read = |error: FileError| UnpackCause::Read(error.source).of(&archive, None);
            let files = BufReader::with_capacity(1 << 18, fs::open(&tar).map_err(read)?);
            result.dropped.extend(Unpacking::new(staged, &archive, &place).tar(files)?);
            fs::remove_file(&tar).map_err(read)?;
            result.database.extend(pkginfo::entries(package, &binary.entries, staged, &archive));
        }
    }
    Ok((result, added))
}

/// Checks that the packages contain no file of another package in the base, except of one that an added
/// package replaces.
fn check_collisions(
    staged: &Staged,
    recipe: &Recipe,
    selection: &Selection,
    added: &Slots,
    target: &Target<'_>,
    store: &Store,
) -> Result<(), GentooError> {
    let Some(base) = &target.portage else { return Ok(()) };
    let patterns = recipe.gentoo.iter().flat_map(|section| &section.collision_ignore).cloned();
    let ignored = globs::compile(recipe, &patterns.collect::<Vec<_>>())?;
    let is_default = |path: &str| IGNORED.iter().any(|end| path.ends_with(end)) || path.contains(MODULES);
    let mut owned = base::owned_files(base, store, added)?;
    owned.retain(|path| !is_default(path.as_str()));
    let files = selection.packages().filter_map(|package| package.path.file_name().map(str::to_owned));
    Ok(owned.check(staged, &files.collect(), &|_, _| false, &ignored)?)
}

/// The ends of paths that Portage ignores (`COLLISION_IGNORE` of its `make.globals`).
const IGNORED: [&str; 4] = [".pyc", ".pyo", "$py.class", "/dropin.cache"];
/// The directory whose files it ignores.
const MODULES: &str = "lib/modules/";

/// Checks that a package file contains the package that the index says.
fn check_name(package: &SelectedPackage, binary: &BinaryPackage) -> Result<(), GentooError> {
    let expected = format!("{}-{}", package.name, package.version);
    let (category, name_and_version) = (binary.value("CATEGORY"), binary.value("PF"));
    let found = format!("{}/{}", category.unwrap_or_default(), name_and_version.unwrap_or_default());
    // Old packages have neither key.
    if found == expected || (category.is_none() && name_and_version.is_none()) {
        return Ok(());
    }
    Err(GentooError::WrongPackage { path: package.path.clone(), expected, found })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;

    use loadgauge_images::{Architecture, OsRelease};
    use tar::EntryType;

    use super::super::gpkg::tests::container;
    use super::super::xpak::tests::package;
    use super::*;
    use crate::lint::BaseLinks;

    /// Name, kind, target of a link.
    type Member<'a> = (&'a str, EntryType, &'a str);

    /// A tar with any names, even those that the tar crate's builder refuses.
    fn tar(prefix: &str, members: &[Member<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, link) in members {
            let name = format!("{prefix}{name}");
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.set_size(0);
            header.set_cksum();
            builder.append(&header, &[][..]).expect("appended");
        }
        zstd::encode_all(&builder.into_inner().expect("a tar")[..], 1).expect("packed")
    }

    fn staged(bytes: &[u8]) -> Result<Vec<String>, String> {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let path = root.join("evil-1-1.package");
        fs::write(&path, bytes).expect("written");
        let text = "name = \"evil\"\n[[gentoo]]\npackages = [\"a/evil\"]\n";
        let recipe = Recipe::parse(text, Utf8Path::new("evil.toml")).expect("a recipe");
        let selected = SelectedPackage {
            name: "a/evil".to_owned(),
            version: "1".to_owned(),
            repository: String::new(),
            path,
            sha256: String::new(),
            size: 0,
        };
        let selection = Selection { groups: vec![vec![selected]], ..Selection::default() };
        let mut staged = Staged::new_in(root).expect("a stage");
        let os_release = OsRelease::parse("ID=flatcar\nVERSION_ID=4593.2.5\n").expect("valid");
        let target = Target {
            os_release: &os_release,
            architecture: Architecture::Amd64,
            base: None,
            portage: None,
            root: None,
            links: BaseLinks::new(),
            systemd: None,
        };
        let result =
            stage(&mut staged, &recipe, &selection, &target, &Store::at(root.join("cache")), &|_| {});
        let outside = fs::read_dir(root).expect("read").count();
        assert_eq!(outside, 2, "nothing is written outside the stage");
        match result {
            Ok(_) => Ok(staged.nodes().map(|(path, _)| path.to_string()).collect()),
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                Err(format!("{error}{cause}").replace(&format!("{root}/"), ""))
            }
        }
    }

    fn xpak(members: &[Member<'_>]) -> Vec<u8> {
        package(&tar("", members), &[("CATEGORY", b"a\n"), ("PF", b"evil-1\n")])
    }

    fn gpkg(members: &[Member<'_>]) -> Vec<u8> {
        let metadata =
            super::super::gpkg::tests::tar(&[("metadata/CATEGORY", b"a\n"), ("metadata/PF", b"evil-1\n")]);
        container(&[("gpkg-1", b""), ("metadata.tar", &metadata), ("image.tar.zst", &tar("image/", members))])
    }

    #[test]
    fn hostile_packages_are_refused_in_both_formats() {
        let file = EntryType::Regular;
        let good: &[Member<'_>] =
            &[("usr/bin/x", file, ""), ("etc/x", file, ""), ("usr/bin/y", EntryType::Link, "usr/bin/x")];
        let paths = staged(&xpak(good)).expect("a good one");
        assert_eq!(paths, ["usr", "usr/bin", "usr/bin/x", "usr/bin/y"]);
        let evil: &[(&str, &[Member<'_>])] = &[
            ("upwards", &[("usr/../../x", file, "")]),
            ("link out of the tree", &[("usr/x", EntryType::Symlink, "../../../etc")]),
            ("through a link", &[("usr/x", EntryType::Symlink, "/etc"), ("usr/x/shadow", file, "")]),
            ("hard link to nothing", &[("usr/x", EntryType::Link, "usr/y")]),
            ("device", &[("usr/x", EntryType::Char, "")]),
            ("pipe", &[("usr/x", EntryType::Fifo, "")]),
            ("twice", &[("usr/x", file, ""), ("usr/x", file, "")]),
        ];
        let mut errors = vec![
            format!(
                "absolute: {}",
                staged(&package(&tar("/", good), &[("CATEGORY", b"a"), ("PF", b"evil-1")]))
                    .expect_err("absolute")
            ),
            format!(
                "another package: {}",
                staged(&package(&tar("", good), &[("CATEGORY", b"a"), ("PF", b"good-1")]))
                    .expect_err("another")
            ),
            format!(
                "truncated: {}",
                staged(&package(&tar("", good)[..40], &[("CATEGORY", b"a"), ("PF", b"evil-1")]))
                    .expect_err("truncated")
            ),
        ];
        for (what, members) in evil {
            let refused = staged(&xpak(members)).expect_err(what);
            errors.push(format!("{what}: {refused}"));
            let same = staged(&gpkg(members)).expect_err(what);
            assert!(same.starts_with("cannot unpack `evil-1-1.package` at `image/usr/"), "{same}");
        }
        insta::assert_snapshot!(errors.join("\n"));
    }
}
