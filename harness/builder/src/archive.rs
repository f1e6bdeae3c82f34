// SPDX-License-Identifier: Apache-2.0
use std::io::{BufReader, Read as _, Seek as _};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, Store, fs};

use super::fetch::FetchError;
use super::globs;
use super::member::merge_usr;
use super::origin::Origin;
use super::recipe::{ArchiveSection, Recipe, RecipeError};
use super::stage::Staged;
use super::unpack::{Place, UnpackCause, UnpackError, Unpacking, decoder};

/// The size limit of an archive, in bytes.
const MAXIMUM_SIZE: u64 = 8 << 30;

/// An archive that cannot be added to an extension.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// the recipe is wrong
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// it cannot be fetched
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// it cannot be unpacked
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// it cannot be read
    #[error(transparent)]
    File(#[from] FileError),
}

impl ArchiveError {
    /// Whether the host or its network lacks something; otherwise the recipe is wrong.
    pub fn is_host(&self) -> bool {
        matches!(self, Self::Fetch(error) if error.is_host())
    }
}

impl Hint for ArchiveError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Unpack(error) if matches!(*error.cause, UnpackCause::SetId { .. }) => Some(
                "exclude the file, or set `keep-owners = true` if the numbers are those of the image"
                    .to_owned(),
            ),
            Self::Unpack(_) => None,
        }
    }
}

/// Unpacks an archive of a recipe into a stage. Returns the files outside /usr and /opt, which were left
/// out.
///
/// # Errors
/// See [`ArchiveError`].
pub(super) fn stage(
    staged: &mut Staged,
    recipe: &Recipe,
    section: &ArchiveSection,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Vec<Utf8PathBuf>, ArchiveError> {
    let origin = Origin {
        source: section.source.as_ref(),
        url: section.url.as_ref(),
        sha256: Some(&section.sha256),
        limit: MAXIMUM_SIZE,
    };
    let (path, name) = origin.locate::<ArchiveError>(recipe, store, progress)?;
    progress(&format!("unpacking {name}"));
    let include = globs::compile(recipe, &section.include)?;
    let exclude = globs::compile(recipe, &section.exclude)?;
    let into = section.into.as_ref().map_or("", |into| into.get_ref().trim_matches('/'));
    let place = |member: &Utf8Path| {
        let Some(rest) = strip(member, section.strip_components) else { return Place::Nowhere };
        let path = merge_usr(&Utf8Path::new(into).join(rest));
        let wanted = section.include.is_empty() || globs::matches(&include, &path);
        if wanted && !globs::matches(&exclude, &path) { Place::At(path) } else { Place::Nowhere }
    };
    let before = staged.nodes().count();
    let mut unpacking = Unpacking::new(staged, &name, &place);
    if !section.keep_owners {
        unpacking = unpacking.owned_by_root();
    }
    let dropped = unpack(unpacking, &path, &name)?;
    if staged.nodes().count() == before {
        let cause = format!("no file of `{name}` is under /usr or /opt");
        let hint = "check `strip-components`, `into` and `include`";
        return Err(recipe.error(&section.sha256, cause, hint).into());
    }
    Ok(dropped)
}

/// A path without its first components; `None` where nothing is left of it, as tar leaves out such members.
fn strip(path: &Utf8Path, count: usize) -> Option<&Utf8Path> {
    let mut components = path.components();
    for _ in 0..count {
        components.next()?;
    }
    Some(components.as_path()).filter(|rest| !rest.as_str().is_empty())
}

/// Unpacks a file by its magic number: the names of downloads say nothing about their type.
fn unpack(unpacking: Unpacking<'_>, path: &Utf8Path, name: &str) -> Result<Vec<Utf8PathBuf>, ArchiveError> {
    let mut file = fs::open(path)?;
    let mut magic = [0; 6];
    let length = file.by_ref().take(6).read(&mut magic).map_err(FileError::at("read", path))?;
    file.rewind().map_err(FileError::at("read", path))?;
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

/// Explains the error of a file that is not an archive: tar finds no valid header in it, or no end.
fn not_a_tar(error: UnpackError, suffix: &str) -> UnpackError {
    match *error.cause {
        UnpackCause::Read(source) if suffix.is_empty() && error.member.is_none() => {
            let why = format!("{source}; expected tar, tar.gz, tar.xz, tar.zst, tar.bz2 or zip");
            UnpackCause::Layout { what: "an archive that can be read", why }.of(&error.archive, None)
        }
        cause => cause.of(&error.archive, error.member),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Cursor, Write as _};

    use loadgauge_host::{Store, digest};

    use super::super::stage::NodeKind;
    use super::*;

    /// A directory with an archive and a store.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn path(&self, name: &str) -> Utf8PathBuf {
            Utf8Path::from_path(self.0.path()).expect("UTF-8").join(name)
        }

        /// The files of an archive in the tree; `keys` are the further ones of the recipe.
        fn unpack(&self, archive: &[u8], keys: &str) -> Result<Vec<String>, String> {
            fs::write(self.path("tool"), archive).expect("written");
            let digest = digest::sha256_of_file(&self.path("tool")).expect("read");
            let text = format!("name = \"x\"\n[[archive]]\nsource = \"tool\"\nsha256 = \"{digest}\"\n{keys}");
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
    const KEYS: &str =
        "strip-components = 1\ninto = \"/usr\"\ninclude = [\"/usr/bin/*\", \"/usr/share/**\"]\n";

    #[test]
    fn every_type_of_archive_is_unpacked() {
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
                place.unpack(&archive, KEYS).expect("unpacked"),
                ["usr/bin/tool 755", "usr/share/a 755"]
            );
        }
    }

    #[test]
    fn members_without_a_rest_are_left_out_as_tar_does() {
        let place = Place::new();
        let members = [("tool-1.2/tool", "x"), ("tool-1.2/bin/tool", "y"), ("README", "z")];
        for archive in [tar(&members), zip(&members)] {
            let found = place.unpack(&archive, "strip-components = 2\ninto = \"/usr/bin\"\n");
            assert_eq!(found.expect("unpacked"), ["usr/bin/tool 755"]);
        }
    }

    #[test]
    fn hostile_and_broken_archives_are_refused() {
        let place = Place::new();
        let refuse = |archive: &[u8]| place.unpack(archive, "into = \"/usr\"\n").expect_err("refused");
        for (archive, expected) in [
            (tar(&[("../x", "")]), "leads out of the tree"),
            (zip(&[("../x", "")]), "leads out of the tree"),
            (tar(&[("/x", "")]), "is an absolute path"),
            (tar(&[("x", "a"), ("x", "b")]), "the archive contains `/usr/x` twice"),
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
    fn errors_about_an_archive_have_a_place() {
        let place = Place::new();
        let nothing = place.unpack(&tar(TOOL), "").expect_err("no files");
        assert!(nothing.contains("x.toml:4:10: no file of `tool` is under /usr or /opt"), "{nothing}");
        let text =
            |keys: &str| Recipe::parse(&format!("name = \"x\"\n[[archive]]\n{keys}"), &place.path("x.toml"));
        let digest = "0".repeat(64);
        for (keys, expected) in [
            ("sha256 = \"00\"".to_owned(), "`00` is not a SHA-256 digest"),
            (format!("sha256 = \"{digest}\""), "exactly one of source and url"),
            (format!("sha256 = \"{digest}\"\nurl = \"ftp://x\""), "not a URL that can be fetched"),
            (format!("sha256 = \"{digest}\"\nsource = \"absent\""), "`absent` does not exist"),
        ] {
            let error = text(&keys).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let recipe = text(&format!("sha256 = \"{digest}\"\nsource = \"tool\"")).expect("a recipe");
        let mut staged = Staged::new_in(&place.path("")).expect("a stage");
        let error =
            stage(&mut staged, &recipe, &recipe.archives[0], &Store::at(place.path("cache")), &|_| {});
        assert!(error.expect_err("changed").to_string().contains("`tool` has SHA-256 "));
    }
}
