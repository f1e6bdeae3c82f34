// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use globset::GlobSet;
use loadgauge_host::{CommandError, FileError, Store};

use super::marks::Mark;
use super::partition::{self, PartitionError};
use super::unpack::{FileSystem, UnpackImageError};
use crate::attributes::{self, Attribute};
use crate::fetch::FetchError;
use crate::globs;
use crate::member::{NameError, link_target, member_path, merge_usr};
use crate::origin::Origin;
use crate::recipe::{ImageSection, Recipe, RecipeError};
use crate::stage::{StageError, Staged};

/// How large an image may be, in bytes.
const MAXIMUM_SIZE: u64 = 8 << 30;
/// What says for whom an extension is. The builder writes its own.
pub(super) const RELEASES: &str = "usr/lib/extension-release.d";

/// An extension that was built before and cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// the recipe is wrong about it
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// it cannot be fetched
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// it holds no file system that is known
    #[error("`{image}` is no image of an extension")]
    Partition {
        /// its file name
        image: String,
        /// why not
        source: PartitionError,
    },
    /// its files cannot be taken out
    #[error("cannot take `{image}` apart")]
    Unpack {
        /// its file name
        image: String,
        /// why not
        source: UnpackImageError,
    },
    /// it holds a name that cannot be used
    #[error("`{image}` holds a name that an extension cannot")]
    Name {
        /// its file name
        image: String,
        /// which
        source: NameError,
    },
    /// it holds something that an extension must not hold
    #[error("`{image}` holds `/{path}`, which is {what}")]
    Forbidden {
        /// its file name
        image: String,
        /// inside of it
        path: Utf8PathBuf,
        /// what it is
        what: String,
    },
    /// it does not fit with what is there
    #[error(transparent)]
    Stage(#[from] StageError),
    /// a file beside the recipe cannot be read
    #[error(transparent)]
    File(#[from] FileError),
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: String,
        /// why not
        source: std::io::Error,
    },
}

impl ImageError {
    /// Whether the host or its network lacks something, rather than the recipe being wrong.
    pub fn is_host(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_host(),
            Self::Unpack { source, .. } => matches!(source, UnpackImageError::Missing(_)),
            Self::Io { .. } => true,
            _ => false,
        }
    }

    pub(super) fn io<P: AsRef<Path>>(action: &'static str, path: P) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().display().to_string();
        move |source| Self::Io { action, path, source }
    }
}

impl Hint for ImageError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::Unpack { source: UnpackImageError::Missing(missing), .. } => missing.hint(),
            Self::Unpack { source: UnpackImageError::Command(CommandError::Failed { tail, .. }), .. }
                if tail.contains("incompatible feature") =>
            {
                Some("a newer erofs-utils has packed it: install a newer one (zstd needs 1.8)".to_owned())
            }
            Self::Forbidden { what, .. } if what.contains("be lost") => Some(
                "leave it out with `exclude`, or the image as it is; a program has its rights from its unit as well"
                    .to_owned(),
            ),
            Self::Forbidden { what, .. } if what.contains("whiteout") => {
                Some("it hides a file of the base, which an extension must not".to_owned())
            }
            _ => None,
        }
    }
}

/// What came of taking an image in.
#[derive(Debug, Default)]
pub(crate) struct StagedImage {
    /// files and links outside /usr and /opt
    pub(crate) dropped: Vec<Utf8PathBuf>,
    /// directories that were marked opaque
    pub(crate) opaque: Vec<Utf8PathBuf>,
}

/// Takes an extension that was built before into a stage, with the modes that its files have; its
/// extension-release falls away.
///
/// # Errors
/// See [`ImageError`].
pub(crate) fn stage(
    staged: &mut Staged,
    recipe: &Recipe,
    source: &ImageSection,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<StagedImage, ImageError> {
    let origin = Origin {
        source: source.source.as_ref(),
        url: source.url.as_ref(),
        sha256: source.sha256.as_ref(),
        limit: MAXIMUM_SIZE,
    };
    let (path, name) = origin.locate::<ImageError>(recipe, store, progress)?;
    progress(&format!("taking {name} apart"));
    let exclude = globs::compile(recipe, &source.exclude)?;
    let scratch = staged.scratch("image")?;
    let (root, (under, marks)) = if path.is_dir() {
        (path, ("", Vec::new()))
    } else {
        (scratch.join("root"), take_apart(&path, &name, &scratch, None)?)
    };
    let mut taking = Taking {
        staged,
        image: &name,
        root: &root,
        under,
        exclude: &exclude,
        origin: Arc::from(format!("the image `{name}`")),
        names: HashMap::new(),
        marks: marks_by_path(marks),
        found: StagedImage::default(),
    };
    taking.all()?;
    let (found, is_empty) = (taking.found, staged.nodes().next().is_none());
    fs::remove_dir_all(&scratch).map_err(ImageError::io("remove", &scratch))?;
    if is_empty {
        let message = format!("nothing of `{name}` comes into the extension");
        return Err(recipe.error(source.at(recipe), message, "an extension holds /usr and /opt").into());
    }
    Ok(found)
}

fn marks_by_path(marks: Vec<Mark>) -> HashMap<Utf8PathBuf, Vec<Attribute>> {
    let mut found: HashMap<Utf8PathBuf, Vec<Attribute>> = HashMap::new();
    for Mark { path, name } in marks {
        found.entry(path).or_default().extend(attributes::classify(&name));
    }
    found
}

/// Takes the files of an image out to `root` in a directory, and says what they lie under, and which
/// attributes did not come along. Where a part is named, as it is called under the root of the extension,
/// other files may be left out.
pub(super) fn take_apart(
    image: &Utf8Path,
    name: &str,
    scratch: &Utf8Path,
    part: Option<&str>,
) -> Result<(&'static str, Vec<Mark>), ImageError> {
    let unpack = |kind: FileSystem, image: &Utf8Path, part: Option<&str>| {
        let unpacked = kind.unpack(image, &scratch.join("root"), part);
        unpacked.map_err(|source| ImageError::Unpack { image: name.to_owned(), source })
    };
    let file = File::open(image).map_err(ImageError::io("open", image))?;
    if let Some(kind) = FileSystem::identify(&file) {
        return unpack(kind, image, part).map(|marks| ("", marks));
    }
    let none = |source| ImageError::Partition { image: name.to_owned(), source };
    let partition = partition::find(&file).map_err(none)?;
    let inner = scratch.join("partition");
    copy_part(file, &partition, &inner).map_err(ImageError::io("copy", image))?;
    let inside = File::open(&inner).map_err(ImageError::io("open", &inner))?;
    let kind = FileSystem::identify(&inside).ok_or_else(|| none(PartitionError::Unknown))?;
    let part = part.map(|part| part.strip_prefix(partition.under).unwrap_or(part).trim_start_matches('/'));
    Ok((partition.under, unpack(kind, &inner, part)?))
}

fn copy_part(mut file: File, partition: &partition::Partition, to: &Utf8Path) -> std::io::Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    file.seek(SeekFrom::Start(partition.offset))?;
    std::io::copy(&mut file.take(partition.length), &mut File::create_new(to)?).map(drop)
}

/// The way of an unpacked tree into a stage.
struct Taking<'a> {
    staged: &'a mut Staged,
    image: &'a str,
    root: &'a Utf8Path,
    under: &'static str,
    exclude: &'a GlobSet,
    origin: Arc<str>,
    names: HashMap<(u64, u64), Utf8PathBuf>,
    /// what files in the image have and the unpacked ones have not
    marks: HashMap<Utf8PathBuf, Vec<Attribute>>,
    found: StagedImage,
}

impl Taking<'_> {
    fn all(&mut self) -> Result<(), ImageError> {
        for entry in walkdir::WalkDir::new(self.root).min_depth(1).sort_by_file_name() {
            let entry = entry.map_err(|error| ImageError::io("read", self.root)(error.into()))?;
            let host = entry.path();
            let relative = host.strip_prefix(self.root).unwrap_or(host);
            let inside = member_path(relative.as_os_str().as_bytes())
                .map_err(|source| ImageError::Name { image: self.image.to_owned(), source })?;
            let path = merge_usr(&Utf8Path::new(self.under).join(&inside));
            let metadata = fs::symlink_metadata(host).map_err(ImageError::io("read", host))?;
            if path.starts_with(RELEASES) || globs::matches(self.exclude, &path) {
                continue;
            }
            if !self.staged.takes(&path) {
                if !metadata.is_dir() {
                    self.found.dropped.push(path);
                }
                continue;
            }
            let marks = self.marks.remove(&inside).unwrap_or_default();
            self.one(host, path, &metadata, marks)?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        host: &Path,
        path: Utf8PathBuf,
        metadata: &Metadata,
        marks: Vec<Attribute>,
    ) -> Result<(), ImageError> {
        let forbid = |what: &str| ImageError::Forbidden {
            image: self.image.to_owned(),
            path: path.clone(),
            what: what.to_owned(),
        };
        let mut is_opaque = false;
        for attribute in attributes::of(host).map_err(ImageError::io("read", host))?.into_iter().chain(marks)
        {
            match attribute {
                Attribute::Opaque(_) => is_opaque = true,
                other => return Err(forbid(&other.description())),
            }
        }
        self.found.opaque.extend(is_opaque.then(|| path.clone()));
        let (kind, mode) = (metadata.file_type(), metadata.permissions().mode() & 0o7777);
        if kind.is_dir() {
            self.staged.put_directory(&path, mode, &self.origin)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(host).map_err(ImageError::io("read", host))?;
            let target = link_target(&path, target.as_os_str().as_bytes())
                .map_err(|source| ImageError::Name { image: self.image.to_owned(), source })?;
            self.staged.put_link(&path, &target, &self.origin)?;
        } else if kind.is_file() {
            self.file(host, path, mode, metadata)?;
        } else if kind.is_char_device() && metadata.rdev() == 0 {
            return Err(forbid("a whiteout of an overlay"));
        } else {
            return Err(forbid("neither a file, a directory nor a link"));
        }
        Ok(())
    }

    fn file(
        &mut self,
        host: &Path,
        path: Utf8PathBuf,
        mode: u32,
        metadata: &Metadata,
    ) -> Result<(), ImageError> {
        let key = (metadata.dev(), metadata.ino());
        if metadata.nlink() > 1
            && let Some(first) = self.names.get(&key)
        {
            return Ok(self.staged.put_hard_link(&path, first, &self.origin)?);
        }
        let mut contents = File::open(host).map_err(ImageError::io("open", host))?;
        self.staged.put_file(&path, mode, &mut contents, &self.origin)?;
        self.names.insert(key, path);
        Ok(())
    }
}
