// SPDX-License-Identifier: Apache-2.0
//! The `[[gentoo]]` of a recipe: which packages they come to, and their files.
use loadgauge_host::Hint;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Store;
use loadgauge_images::Architecture;
use serde::{Deserialize, Serialize};

use super::super::explain::{Explained, Explanation, Need};
use super::super::globs;
use super::super::member::merge_usr;
use super::super::recipe::{GentooSection, Recipe, RecipeError};
use super::super::stage::Staged;
use super::super::target::Target;
use super::super::unpack::{Place, UnpackCause, UnpackError, Unpacking};
use super::atom::Atom;
use super::base::{self, BaseError};
use super::binary::{Binary, BinaryError};
use super::binhost::{Binhost, BinhostError};
use super::index::Metadata;
use super::install_mask;
use super::package::Package;
use super::pkginfo;
use super::provided;
use super::resolve::{Resolution, Taken, resolve};
use super::use_dependency::UseDependency;
use super::world::{Id, Origin, UseRule, World};

/// Where Flatcar keeps the packages that a release was made from.
const FLATCAR: &str = "https://mirror.release.flatcar-linux.net/boards/{board}/{version-id}/pkgs/";

/// What keeps Gentoo packages out of an extension.
#[derive(Debug, thiserror::Error)]
pub enum GentooError {
    /// packages are wanted and there is nothing to resolve them against
    #[error("`{0}` takes Gentoo packages, and the image has no base to build against")]
    NoBase(String),
    /// the recipe or one that it builds beyond is wrong
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// the packages of the base cannot be read
    #[error(transparent)]
    Base(#[from] BaseError),
    /// the binhost does not give what it should
    #[error(transparent)]
    Binhost(#[from] BinhostError),
    /// a package file cannot be opened
    #[error("cannot open `{path}`")]
    Binary {
        /// which
        path: Utf8PathBuf,
        /// why not
        source: Box<BinaryError>,
    },
    /// a package file is of another package
    #[error("`{path}` holds `{found}`, and the index of the binhost says `{expected}`")]
    Other {
        /// which
        path: Utf8PathBuf,
        /// as the index has it
        expected: String,
        /// as it says itself
        found: String,
    },
    /// a package file cannot be unpacked
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

impl GentooError {
    /// Whether the host or its network lacks something, rather than the recipe being wrong.
    pub fn is_host(&self) -> bool {
        match self {
            Self::Base(error) => !matches!(error, BaseError::None(_) | BaseError::Database(_)),
            Self::Binhost(error) => error.is_host(),
            _ => false,
        }
    }
}

impl Hint for GentooError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoBase(_) => Some(
                "the base of a Flatcar release is the file `flatcar_production_image_sysext.squashfs` beside its image".to_owned(),
            ),
            Self::Recipe(error) => error.hint(),
            Self::Base(BaseError::Missing(missing)) => missing.hint(),
            Self::Binhost(error) => error.hint(),
            _ => None,
        }
    }
}

/// The packages of a recipe's sections, found and brought onto this host.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    groups: Vec<Vec<Chosen>>,
    /// why they are in
    pub explanation: Explanation,
    /// what the author should know
    pub warnings: Vec<String>,
}

/// A package that goes into the extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// category and name
    pub name: String,
    /// its version with the revision
    pub version: String,
    /// where its ebuild came from
    pub repository: String,
    /// its licence, as Gentoo writes it
    pub license: String,
    /// a line about it
    pub description: String,
    /// the package file on this host
    pub path: Utf8PathBuf,
    /// SHA-256 of the package file, in hex
    pub sha256: String,
    /// bytes of the package file
    pub size: u64,
}

impl Selection {
    /// All packages, in the order in which they are unpacked.
    pub fn packages(&self) -> impl Iterator<Item = &Chosen> {
        self.groups.iter().flatten()
    }
}

impl Chosen {
    /// As `equery list` writes it: `app-misc/foo-1.0::gentoo`.
    pub fn line(&self) -> String {
        let repository = if self.repository.is_empty() { "unknown" } else { &self.repository };
        format!("{}-{}::{repository}", self.name, self.version)
    }
}

/// Finds out which packages the last of some recipes takes, section by section, over the base, the recipes of
/// `beyond` and the sections before.
///
/// # Errors
/// See [`GentooError`].
pub(crate) fn select(
    chain: &[&Recipe],
    target: &Target<'_>,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Selection, GentooError> {
    let Some(recipe) = chain.last() else { return Ok(Selection::default()) };
    let base = target.portage.as_ref().ok_or_else(|| GentooError::NoBase(recipe.name().to_owned()))?;
    let layer: Arc<str> = Arc::from("the base");
    let mut installed: Vec<(Package, Arc<str>)> =
        base::packages(base, store)?.into_iter().map(|package| (package, Arc::clone(&layer))).collect();
    progress("what the packages need beyond the base");
    let mut selection = Selection::default();
    for member in chain {
        selection = Selection::default();
        let layer: Arc<str> = Arc::from(format!("the extension `{}`", member.name()));
        for section in &member.gentoo {
            let binhost = binhost(member, section, target);
            let (world, mut warnings) =
                world(member, section, target.architecture, &binhost, &installed, store, progress)?;
            let resolution = resolve(&world, &asked(section)).map_err(|refusal| {
                let at = section.packages.first().unwrap_or(&member.name);
                member.error(at, refusal.to_string(), &refusal.hint().unwrap_or_default())
            })?;
            warnings.extend(resolution.warnings.iter().cloned());
            let mut group = Vec::new();
            for taken in &resolution.taken {
                let package = world.package(taken.id);
                if std::ptr::eq(*member, *recipe) {
                    group.push(bring(package, &binhost, store, progress)?);
                }
                installed.push((package.clone(), Arc::clone(&layer)));
            }
            selection.groups.push(group);
            selection.explanation.extend(explain(&world, &resolution));
            selection.warnings.append(&mut warnings);
        }
    }
    Ok(selection)
}

/// What a section asks for; that these are atoms was seen when the recipe was read.
fn asked(section: &GentooSection) -> Vec<Atom> {
    section.packages.iter().filter_map(|text| Atom::parse(text.get_ref()).ok()).collect()
}

/// The names of the packages that a recipe asks for.
pub(crate) fn requested(recipe: &Recipe) -> impl Iterator<Item = String> {
    recipe.gentoo.iter().flat_map(asked).map(|atom| atom.name)
}

/// Reads a rule such as `app-misc/foo ssl -x`.
pub(super) fn read_rule(text: &str) -> Option<UseRule> {
    let mut words = text.split_ascii_whitespace();
    let atom =
        Atom::parse(words.next()?).ok().filter(|atom| atom.blocker.is_none() && atom.flags.is_empty())?;
    let flags = words
        .map(|word| {
            UseDependency::read(word)
                .filter(|flag| !word.ends_with(['?', '=', ')']) && flag.default.is_none())
        })
        .collect::<Option<Vec<_>>>()?;
    (!flags.is_empty()).then_some(UseRule { atom, flags })
}

fn binhost(recipe: &Recipe, section: &GentooSection, target: &Target<'_>) -> Binhost {
    let text = section.binhost.as_ref().map_or(FLATCAR, |text| text.get_ref());
    if !text.contains("://") {
        return Binhost::Directory(recipe.beside(Utf8Path::new(text)));
    }
    let board = match target.architecture {
        Architecture::Amd64 => "amd64-usr",
        Architecture::Arm64 => "arm64-usr",
    };
    let version = target.os_release.get("VERSION_ID").unwrap_or_default();
    let url = text.replace("{board}", board).replace("{version-id}", version);
    Binhost::Url(if url.ends_with('/') { url } else { format!("{url}/") })
}

fn world(
    recipe: &Recipe,
    section: &GentooSection,
    architecture: Architecture,
    binhost: &Binhost,
    installed: &[(Package, Arc<str>)],
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<(World, Vec<String>), GentooError> {
    let (mut world, mut warnings) = (World::default(), Vec::new());
    for (package, layer) in installed {
        world.add_installed(package.clone(), layer);
    }
    for metadata in &binhost.index(store, progress)?.packages {
        match Package::of_index(metadata) {
            Ok(mut package) => {
                if !section.install_dependencies {
                    package.dependencies.install.clear();
                }
                world.add_available(package, 0);
            }
            Err(error) => {
                let name = metadata.get("CPV").map(String::as_str).unwrap_or_default();
                warnings.push(format!("`{name}` of the binhost is passed over: {error}"));
            }
        }
    }
    for rule in section.package_use.iter().filter_map(|text| read_rule(text.get_ref())) {
        world.restrict(rule);
    }
    provided::provide(&mut world, recipe, section, architecture)?;
    Ok((world, warnings))
}

fn bring(
    package: &Package,
    binhost: &Binhost,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Chosen, GentooError> {
    let Some(file) = &package.file else {
        return Err(BinhostError::Path(package.to_string()).into());
    };
    progress(&format!("package {package}"));
    let local = binhost.file(file, store)?;
    Ok(Chosen {
        name: package.name.clone(),
        version: package.version.to_string(),
        repository: package.repository.clone(),
        license: package.license.clone(),
        description: package.description.clone(),
        path: local.path,
        sha256: local.sha256,
        size: local.size,
    })
}

fn explain(world: &World, resolution: &Resolution) -> Explanation {
    let name = |id: Id| world.package(id).to_string();
    let of = |taken: &Taken| {
        let needs = taken.needs.iter().map(|(by, atom)| Need { by: by.map(name), how: atom.to_string() });
        let note = match (&world.entry(taken.id).origin, taken.hides) {
            (Origin::Layer(layer), _) => Some(format!("in {layer}")),
            (Origin::Binhost(_), Some(hidden)) => match &world.entry(hidden).origin {
                Origin::Layer(layer) => Some(format!("hides {} of {layer}", name(hidden))),
                Origin::Binhost(_) => None,
            },
            (Origin::Binhost(_), None) => None,
        };
        Explained { package: name(taken.id), needs: needs.collect(), note }
    };
    Explanation {
        taken: resolution.taken.iter().map(of).collect(),
        present: resolution.present.iter().map(of).collect(),
    }
}

/// The packages of the recipe's binhosts that say they bring a library: Portage notes the names of a
/// package's libraries as its `PROVIDES`, by their kind, such as `x86_64: libfoo.so.1 libbar.so.2`.
pub(crate) fn bringing(
    library: &str,
    recipe: &Recipe,
    target: &Target<'_>,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Vec<String> {
    let mut found = BTreeSet::new();
    for section in &recipe.gentoo {
        let Ok(index) = binhost(recipe, section, target).index(store, progress) else { continue };
        let brings = |metadata: &&Metadata| {
            metadata.get("PROVIDES").is_some_and(|names| names.split_whitespace().any(|name| name == library))
        };
        found
            .extend(index.packages.iter().filter(brings).filter_map(|metadata| metadata.get("CPV").cloned()));
    }
    found.into_iter().collect()
}

/// What came of unpacking.
#[derive(Debug, Default)]
pub(crate) struct StagedPackages {
    /// files and links outside /usr and /opt
    pub(crate) dropped: Vec<Utf8PathBuf>,
    /// the files of the package database of what was added, by path: `var/db/pkg/..`
    pub(crate) database: Vec<(String, Vec<u8>)>,
    /// where the projects of packages are at home, by category and name
    pub(crate) homepages: BTreeMap<String, String>,
}

/// Unpacks the packages into a stage. Their install hooks are not run.
///
/// # Errors
/// See [`GentooError`].
pub(crate) fn stage(
    staged: &mut Staged,
    recipe: &Recipe,
    selection: &Selection,
    progress: &dyn Fn(&str),
) -> Result<StagedPackages, GentooError> {
    let mut result = StagedPackages::default();
    for (section, packages) in recipe.gentoo.iter().zip(&selection.groups) {
        let exclude = globs::compile(recipe, &section.exclude)?;
        let mask = install_mask::of_section(recipe, section)?;
        for package in packages {
            progress(&format!("unpacking {} {}", package.name, package.version));
            let mut binary = Binary::open(&package.path).map_err(|source| GentooError::Binary {
                path: package.path.clone(),
                source: Box::new(source),
            })?;
            check_name(package, &binary)?;
            if let Some(homepage) = binary.value("HOMEPAGE").filter(|text| !text.is_empty()) {
                // Several are parted by spaces; the first is the main one.
                let first = homepage.split_whitespace().next().unwrap_or_default().to_owned();
                result.homepages.insert(package.name.clone(), first);
            }
            let archive = package.path.file_name().unwrap_or_default().to_owned();
            let prefix = binary.prefix;
            let place = |member: &Utf8Path| {
                let Ok(path) = member.strip_prefix(prefix) else { return Place::Nowhere };
                let path = merge_usr(path);
                let is_out = globs::matches(&exclude, &path) || globs::matches(&mask, &path);
                if is_out { Place::Nowhere } else { Place::At(path) }
            };
            let files = binary.files().map_err(|error| UnpackError {
                archive: archive.clone(),
                member: None,
                cause: Box::new(UnpackCause::Read(error)),
            })?;
            result.dropped.extend(Unpacking::new(staged, &archive, &place).tar(files)?);
            result.database.extend(pkginfo::entries(package, &binary.entries, staged, &archive));
        }
    }
    Ok(result)
}

/// Refuses a package file that is of another package than the index says.
fn check_name(package: &Chosen, binary: &Binary) -> Result<(), GentooError> {
    let expected = format!("{}-{}", package.name, package.version);
    let (category, name) = (binary.value("CATEGORY"), binary.value("PF"));
    let found = format!("{}/{}", category.unwrap_or_default(), name.unwrap_or_default());
    // Old packages do not say their category.
    if found == expected || (category.is_none() && name.is_none()) {
        return Ok(());
    }
    Err(GentooError::Other { path: package.path.clone(), expected, found })
}

/// What of a selection decides the bytes of an extension.
pub(crate) fn key(selection: &Selection) -> String {
    let lines: Vec<String> =
        selection.packages().map(|package| format!("{} sha256:{}", package.line(), package.sha256)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;

    use tar::EntryType;

    use super::super::gpkg::tests::container;
    use super::super::xpak::tests::package;
    use super::*;

    /// Name, kind, target of a link.
    type Member<'a> = (&'a str, EntryType, &'a str);

    /// A tar whose names are written as they are, which the tar crate's builder would refuse.
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
        let chosen = Chosen {
            name: "a/evil".to_owned(),
            version: "1".to_owned(),
            repository: String::new(),
            license: String::new(),
            description: String::new(),
            path,
            sha256: String::new(),
            size: 0,
        };
        let selection = Selection { groups: vec![vec![chosen]], ..Selection::default() };
        let mut staged = Staged::new_in(root).expect("a stage");
        let result = stage(&mut staged, &recipe, &selection, &|_| {});
        let outside = fs::read_dir(root).expect("read").count();
        assert_eq!(outside, 2, "nothing is written but the stage");
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
    fn hostile_packages_are_refused_in_either_format() {
        let file = EntryType::Regular;
        let good: &[Member<'_>] =
            &[("usr/bin/x", file, ""), ("etc/x", file, ""), ("usr/bin/y", EntryType::Link, "usr/bin/x")];
        let paths = staged(&xpak(good)).expect("a good one");
        assert_eq!(paths, ["usr", "usr/bin", "usr/bin/x", "usr/bin/y"]);
        let evil: &[(&str, &[Member<'_>])] = &[
            ("upwards", &[("usr/../../x", file, "")]),
            ("link that climbs out", &[("usr/x", EntryType::Symlink, "../../../etc")]),
            ("through a link", &[("usr/x", EntryType::Symlink, "/etc"), ("usr/x/shadow", file, "")]),
            ("hard link to nothing", &[("usr/x", EntryType::Link, "usr/y")]),
            ("device", &[("usr/x", EntryType::Char, "")]),
            ("pipe", &[("usr/x", EntryType::Fifo, "")]),
            ("twice", &[("usr/x", file, ""), ("usr/x", file, "")]),
        ];
        let mut told = vec![
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
                "cut off: {}",
                staged(&package(&tar("", good)[..40], &[("CATEGORY", b"a"), ("PF", b"evil-1")]))
                    .expect_err("cut off")
            ),
        ];
        for (what, members) in evil {
            let refused = staged(&xpak(members)).expect_err(what);
            told.push(format!("{what}: {refused}"));
            let same = staged(&gpkg(members)).expect_err(what);
            assert!(same.starts_with("cannot unpack `evil-1-1.package` at `image/usr/"), "{same}");
        }
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn rules_name_a_package_and_plain_flags() {
        assert!(read_rule("a/b x -y").is_some() && read_rule(">=a/b-1:0 x").is_some());
        for text in ["", "a/b", "a/b x?", "a/b x=", "a/b x(+)", "!a/b x", "a/b[x] y", "a x"] {
            assert!(read_rule(text).is_none(), "{text}");
        }
    }
}
