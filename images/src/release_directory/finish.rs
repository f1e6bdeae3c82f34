// SPDX-License-Identifier: Apache-2.0
use std::io::{BufReader, BufWriter, Read, Write as _};

use bzip2::Compression;
use bzip2::read::BzEncoder;
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};

use super::digests::Digests;
use super::error::ReleaseDirectoryError;
use super::{TEST_KEY, lists};
use crate::release::Release;
use crate::signature::SigningKey;
use loadgauge_host::{CommandExt as _, Tool};

/// What is listed in no file that a directory has when it is finished.
#[derive(Debug, Clone)]
pub struct Description<'a> {
    /// the release
    pub release: Release,
    /// distinguishes builds of a release; may be empty
    pub build: &'a str,
    /// packages with their versions, a line each
    pub packages: String,
    /// a tar of the tree that the image was made from
    pub tree: &'a Utf8Path,
    /// the image, which is compressed beside itself
    pub image: &'a str,
    /// files that belong to whoever made the directory and to no release
    pub private: &'a [&'a str],
    /// whose key it is that everything is signed by
    pub signer: &'a str,
}

/// How many bytes are compressed as a stream of their own, where the host has no program for it.
const CHUNK: usize = 8 << 20;

/// Writes what a release server has beside an image and its parts: `version.txt`, the lists of packages
/// and of contents, the compressed image, and for every file its digests, its digests with a signature,
/// and its signature.
///
/// The key is made for this directory and forgotten; its public half is left as [`TEST_KEY`].
///
/// # Errors
/// See [`ReleaseDirectoryError`].
pub fn finish(
    directory: &Utf8Path,
    description: &Description<'_>,
    progress: &dyn Fn(&str),
) -> Result<(), ReleaseDirectoryError> {
    let write = |name: &str, text: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(Into::into)
    };
    write("version.txt", lists::version_text(description.release, description.build).as_bytes())?;
    write("flatcar_production_image_packages.txt", description.packages.as_bytes())?;
    let tree = fs::open(description.tree)?;
    let contents = lists::contents(BufReader::with_capacity(1 << 20, tree)).map_err(FileError::at::<
        ReleaseDirectoryError,
    >(
        "read",
        description.tree,
    ))?;
    write("flatcar_production_image_contents.txt", contents.as_bytes())?;
    progress("compressing the image");
    compress(&directory.join(description.image))?;
    progress("signing the files");
    let key = SigningKey::generate(description.signer)?;
    for path in files(directory, description.private)? {
        sign(&path, &key)?;
    }
    write(TEST_KEY, key.public_key()?.as_bytes())
}

/// Compresses a file beside itself, on all processors: the streams of a `.bz2` may follow each other.
fn compress(path: &Utf8Path) -> Result<(), ReleaseDirectoryError> {
    let target = Utf8PathBuf::from(format!("{path}.bz2"));
    for name in ["lbzip2", "pbzip2"] {
        if let Ok(tool) = Tool::find(name) {
            let mut command = tool.command();
            command.args(["--keep", "--force", "-1"]).arg(path);
            command.run()?;
            return Ok(());
        }
    }
    let mut file = BufReader::new(fs::open(path)?);
    let mut output = BufWriter::new(fs::create(&target)?);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    loop {
        let mut chunks = Vec::new();
        for _ in 0..threads {
            let mut chunk = Vec::new();
            file.by_ref()
                .take(CHUNK as u64)
                .read_to_end(&mut chunk)
                .map_err(FileError::at::<ReleaseDirectoryError>("read", path))?;
            if !chunk.is_empty() {
                chunks.push(chunk);
            }
        }
        if chunks.is_empty() {
            return output.flush().map_err(FileError::at::<ReleaseDirectoryError>("write", &target));
        }
        let packed = std::thread::scope(|scope| {
            let pack = |chunk: Vec<u8>| {
                let mut packed = Vec::new();
                BzEncoder::new(chunk.as_slice(), Compression::fast()).read_to_end(&mut packed).map(|_| packed)
            };
            let workers: Vec<_> = chunks.into_iter().map(|chunk| scope.spawn(move || pack(chunk))).collect();
            workers
                .into_iter()
                .map(|worker| {
                    worker.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread panicked")))
                })
                .collect::<Result<Vec<_>, _>>()
        });
        for stream in packed.map_err(FileError::at::<ReleaseDirectoryError>("compress", path))? {
            output.write_all(&stream).map_err(FileError::at::<ReleaseDirectoryError>("write", &target))?;
        }
    }
}

/// The files of a release, those in directories too.
fn files(directory: &Utf8Path, private: &[&str]) -> Result<Vec<Utf8PathBuf>, ReleaseDirectoryError> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(directory).sort_by_file_name() {
        let entry =
            entry.map_err(|error| FileError::at::<ReleaseDirectoryError>("read", directory)(error.into()))?;
        let Some(path) = Utf8Path::from_path(entry.path()) else { continue };
        let name = path.strip_prefix(directory).unwrap_or(path);
        // A link has the name of another file, by which it can be verified.
        if entry.file_type().is_file() && !private.contains(&name.as_str()) {
            files.push(path.to_owned());
        }
    }
    Ok(files)
}

fn sign(path: &Utf8Path, key: &SigningKey) -> Result<(), ReleaseDirectoryError> {
    let digests =
        Digests::of_file(path).map_err(FileError::at::<ReleaseDirectoryError>("read", path))?.to_string();
    let content = fs::read(path)?;
    let write = |suffix: &str, bytes: &[u8]| {
        let target = Utf8PathBuf::from(format!("{path}{suffix}"));
        fs::write(&target, bytes).map_err(Into::into)
    };
    write(".sig", &key.sign_detached(&content)?)?;
    write(".DIGESTS", digests.as_bytes())?;
    write(".DIGESTS.asc", key.sign_clear(&digests)?.as_bytes())?;
    write(".DIGESTS.sig", &key.sign_detached(digests.as_bytes())?)
}
