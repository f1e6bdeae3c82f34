// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Store;

use super::fetch::{FetchError, fetch, is_sha256};
use super::globs;
use super::member::merge_usr;
use super::recipe::{ArchiveSource, Recipe};
use super::recipe_error::RecipeError;
use super::stage::Staged;
use super::unpack::{Place, UnpackCause, UnpackError, Unpacking, decoder};
use loadgauge_host::digest;

/// How large an archive may be, in bytes.
const MAXIMUM_SIZE: u64 = 8 << 30;

/// An archive of a recipe cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// the recipe is wrong about it
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// it cannot be fetched
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// it cannot be unpacked
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// it cannot be read
    #[error("cannot read the archive `{path}`")]
    Read {
        /// which
        path: Utf8PathBuf,
        /// why not
        source: std::io::Error,
    },
}

impl ArchiveError {
    /// Whether the host or its network lacks something, rather than the recipe being wrong.
    pub fn is_host(&self) -> bool {
        matches!(self, Self::Fetch(error) if !matches!(error, FetchError::Digest { .. }) && !error.is_absent())
    }
}

impl Hint for ArchiveError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            _ => None,
        }
    }
}

/// Unpacks an archive of a recipe into a stage, and says what it brought that an extension does not
/// hold.
///
/// # Errors
/// See [`ArchiveError`].
pub(super) fn stage(
    staged: &mut Staged,
    recipe: &Recipe,
    source: &ArchiveSource,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Vec<Utf8PathBuf>, ArchiveError> {
    let (path, name) = locate(recipe, source, store, progress)?;
    progress(&format!("unpacking {name}"));
    let include = globs::compile(recipe, &source.include)?;
    let exclude = globs::compile(recipe, &source.exclude)?;
    let into = source.into.as_ref().map_or("", |into| into.get_ref().trim_matches('/'));
    let place = |member: &Utf8Path| {
        let Some(rest) = strip(member, source.strip) else { return Place::Nowhere };
        let path = merge_usr(&Utf8Path::new(into).join(rest));
        let wanted = source.include.is_empty() || globs::matches(&include, &path);
        if wanted && !globs::matches(&exclude, &path) { Place::At(path) } else { Place::Nowhere }
    };
    let before = staged.nodes().count();
    let dropped = unpack(Unpacking::new(staged, &name, &place), &path, &name)?;
    if staged.nodes().count() == before {
        let at = &source.sha256;
        let message = format!("nothing of `{name}` comes into the extension");
        let hint = "look at `strip`, `into` and `include`: an extension holds /usr and /opt";
        return Err(recipe.error(at, message, hint).into());
    }
    Ok(dropped)
}

/// Where the archive lies once it is there, and what it is called.
fn locate(
    recipe: &Recipe,
    source: &ArchiveSource,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<(Utf8PathBuf, String), ArchiveError> {
    if let Some(url) = &source.url {
        let url = url.get_ref();
        progress(&format!("fetching {url}"));
        let path = fetch(url, source.sha256.get_ref(), MAXIMUM_SIZE, store)?;
        let end = url.split(['?', '#']).next().unwrap_or(url);
        return Ok((path, end.rsplit('/').next().unwrap_or(end).to_owned()));
    }
    let file = source.source.as_ref().map(|file| file.get_ref().clone()).unwrap_or_default();
    let path = recipe.beside(&file);
    let found = digest::sha256_of_file(&path).map_err(read(&path))?;
    if found != *source.sha256.get_ref() {
        let message = format!("`{file}` has another SHA-256: {found}");
        let hint = "look whether it is the file that was meant before you change the digest";
        return Err(recipe.error(&source.sha256, message, hint).into());
    }
    let name = path.file_name().unwrap_or_default().to_owned();
    Ok((path, name))
}

/// A path without its first parts; nothing where it has no more.
fn strip(path: &Utf8Path, parts: usize) -> Option<&Utf8Path> {
    let mut components = path.components();
    for _ in 0..parts {
        components.next()?;
    }
    Some(components.as_path())
}

/// Unpacks by what the file is, not by what it is called: downloads are called anything.
fn unpack(unpacking: Unpacking<'_>, path: &Utf8Path, name: &str) -> Result<Vec<Utf8PathBuf>, ArchiveError> {
    let mut file = File::open(path).map_err(read(path))?;
    let mut magic = [0; 6];
    let length = file.by_ref().take(6).read(&mut magic).map_err(read(path))?;
    file.rewind().map_err(read(path))?;
    let reader = BufReader::with_capacity(1 << 20, file);
    let suffix = match &magic[..length] {
        [b'P', b'K', 3 | 5, 4 | 6, ..] => return Ok(unpacking.zip(reader)?),
        [0x1f, 0x8b, ..] => ".gz",
        [0xfd, b'7', b'z', b'X', b'Z', 0] => ".xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ".zst",
        [b'B', b'Z', b'h', ..] => ".bz2",
        _ => "",
    };
    let reader = decoder(suffix, reader).map_err(|cause| cause.of(name, None))?;
    unpacking.tar(reader).map_err(|error| not_a_tar(error, suffix).into())
}

/// A file that is no archive at all fails as a tar that ends too early or has no sound header.
fn not_a_tar(error: UnpackError, suffix: &str) -> UnpackError {
    match *error.cause {
        UnpackCause::Read(source) if suffix.is_empty() && error.member.is_none() => {
            let why = format!("{source}; known are tar, alone or as .gz, .xz, .zst and .bz2, and zip");
            UnpackCause::Layout { what: "an archive that can be read", why }.of(&error.archive, None)
        }
        cause => cause.of(&error.archive, error.member),
    }
}

fn read(path: &Utf8Path) -> impl FnOnce(std::io::Error) -> ArchiveError + use<> {
    let path = path.to_owned();
    move |source| ArchiveError::Read { path, source }
}

/// What is wrong with an `[[archive]]`, if anything is.
pub(super) fn check(recipe: &Recipe, source: &ArchiveSource) -> Result<(), RecipeError> {
    if !is_sha256(source.sha256.get_ref()) {
        let message = format!("`{}` is not a SHA-256", source.sha256.get_ref());
        return Err(recipe.error(
            &source.sha256,
            message,
            "64 digits of 0-9 and a-f, as sha256sum prints them",
        ));
    }
    match (&source.source, &source.url) {
        (Some(_), None) => Ok(()),
        (None, Some(url)) => {
            let known =
                ["http://", "https://", "file:"].iter().any(|scheme| url.get_ref().starts_with(scheme));
            let hint = "http, https or file";
            known.then_some(()).ok_or_else(|| {
                recipe.error(url, format!("`{}` is not a URL that can be fetched", url.get_ref()), hint)
            })
        }
        _ => {
            let hint = "source = \"a file beside the recipe\", or url = \"https://…\"";
            Err(recipe.error(&source.sha256, "an [[archive]] needs exactly one of source and url", hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Cursor, Write as _};

    use loadgauge_host::Store;

    use super::super::stage::NodeKind;
    use super::*;

    /// A directory with an archive and a cache.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn path(&self, name: &str) -> Utf8PathBuf {
            Utf8Path::from_path(self.0.path()).expect("UTF-8").join(name)
        }

        /// What comes into the tree of an archive, by a recipe's further words about it.
        fn unpack(&self, archive: &[u8], words: &str) -> Result<Vec<String>, String> {
            fs::write(self.path("tool"), archive).expect("written");
            let digest = digest::sha256_of_file(&self.path("tool")).expect("read");
            let text =
                format!("name = \"x\"\n[[archive]]\nsource = \"tool\"\nsha256 = \"{digest}\"\n{words}");
            let recipe = Recipe::parse(&text, &self.path("x.toml")).map_err(|error| error.to_string())?;
            let mut staged = Staged::new_in(&self.path("")).expect("a stage");
            let store = Store::at(self.path("cache"));
            match stage(&mut staged, &recipe, &recipe.archives[0], &store, &|_| {}) {
                Ok(_) => Ok(staged
                    .nodes()
                    .filter(|(_, node)| node.kind != NodeKind::Directory)
                    .map(|(path, node)| format!("{path} {:o}", node.mode))
                    .collect()),
                Err(ArchiveError::Unpack(error)) => Err(format!("{error}: {}", error.cause)),
                Err(error) => Err(error.to_string()),
            }
        }
    }

    fn tar(members: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, contents) in members {
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(contents.len() as u64);
            header.set_mode(0o755);
            header.set_cksum();
            builder.append(&header, contents.as_bytes()).expect("appended");
        }
        builder.into_inner().expect("a tar")
    }

    fn zip(members: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, contents) in members {
            let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
            writer.start_file(*name, options).expect("begun");
            writer.write_all(contents.as_bytes()).expect("written");
        }
        writer.finish().expect("a zip").into_inner()
    }

    const TOOL: &[(&str, &str)] =
        &[("tool-1.2/bin/tool", "x"), ("tool-1.2/README", "y"), ("tool-1.2/share/a", "z")];
    const WORDS: &str = "strip = 1\ninto = \"/usr\"\ninclude = [\"/usr/bin/*\", \"/usr/share/**\"]\n";

    #[test]
    fn every_kind_of_archive_is_unpacked_where_the_recipe_says() {
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).expect("compressed");
            encoder.finish().expect("compressed")
        };
        let bzip2 = |bytes: &[u8]| {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).expect("compressed");
            encoder.finish().expect("compressed")
        };
        let plain = tar(TOOL);
        let archives = [
            plain.clone(),
            gzip(&plain),
            bzip2(&plain),
            liblzma::encode_all(&plain[..], 1).expect("compressed"),
            zstd::encode_all(&plain[..], 1).expect("compressed"),
            zip(TOOL),
        ];
        let place = Place::new();
        for archive in archives {
            assert_eq!(
                place.unpack(&archive, WORDS).expect("unpacked"),
                ["usr/bin/tool 755", "usr/share/a 755"]
            );
        }
    }

    #[test]
    fn hostile_and_broken_archives_are_refused() {
        let place = Place::new();
        let refuse = |archive: &[u8]| place.unpack(archive, "into = \"/usr\"\n").expect_err("refused");
        for (archive, expected) in [
            (tar(&[("../x", "")]), "leads upwards out of the tree"),
            (zip(&[("../x", "")]), "leads upwards out of the tree"),
            (tar(&[("/x", "")]), "is an absolute path"),
            (tar(&[("x", "a"), ("x", "b")]), "the archive brings `/usr/x` twice"),
            (
                b"not an archive, and longer than that of a tar's header".repeat(20),
                "not an archive that can be read",
            ),
        ] {
            let found = refuse(&archive);
            assert!(found.contains(expected), "{expected}: {found}");
        }
        let whole = zip(TOOL);
        for length in [30, whole.len() / 2, whole.len() - 4] {
            assert!(refuse(&whole[..length]).contains("cannot unpack `tool`"), "{length}");
        }
        let packed = zstd::encode_all(&tar(TOOL)[..], 1).expect("compressed");
        assert!(refuse(&packed[..packed.len() - 5]).contains("cannot unpack `tool`"));
    }

    #[test]
    fn a_recipe_that_is_wrong_about_an_archive_is_told_where() {
        let place = Place::new();
        let nothing = place.unpack(&tar(TOOL), "").expect_err("nothing comes in");
        assert!(nothing.contains("x.toml:4:10: nothing of `tool` comes into the extension"), "{nothing}");
        let text = |words: &str| {
            Recipe::parse(&format!("name = \"x\"\n[[archive]]\n{words}"), &place.path("x.toml"))
        };
        let digest = "0".repeat(64);
        for (words, expected) in [
            ("sha256 = \"00\"".to_owned(), "`00` is not a SHA-256"),
            (format!("sha256 = \"{digest}\""), "exactly one of source and url"),
            (format!("sha256 = \"{digest}\"\nurl = \"ftp://x\""), "not a URL that can be fetched"),
            (format!("sha256 = \"{digest}\"\nsource = \"absent\""), "`absent` does not exist"),
        ] {
            let error = text(&words).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let recipe = text(&format!("sha256 = \"{digest}\"\nsource = \"tool\"")).expect("a recipe");
        let mut staged = Staged::new_in(&place.path("")).expect("a stage");
        let error =
            stage(&mut staged, &recipe, &recipe.archives[0], &Store::at(place.path("cache")), &|_| {});
        assert!(error.expect_err("changed").to_string().contains("`tool` has another SHA-256"));
    }
}
