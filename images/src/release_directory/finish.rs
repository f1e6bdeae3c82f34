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

/// The facts about a release that its directory does not contain yet.
#[derive(Debug, Clone)]
pub struct Description<'a> {
    /// the release
    pub release: Release,
    /// the suffix that distinguishes builds of a release; may be empty
    pub build: &'a str,
    /// the packages with their versions, one per line
    pub packages: String,
    /// the tar of the tree that the image was made from
    pub tree: &'a Utf8Path,
    /// the image, of which a compressed copy is written
    pub image: &'a str,
    /// the user id of the key that signs the release
    pub signer: &'a str,
}

/// The size of a block to compress as a stream of its own, in bytes, on hosts without a parallel bzip2.
const CHUNK: usize = 8 << 20;

/// Completes a directory that contains an image and its parts as a release directory.
///
/// This writes `version.txt`, the lists of packages and contents, and the compressed image. Every file
/// gets its digests, signed digests and a signature.
///
/// The key is made for this directory and not stored. Its public half is written to [`TEST_KEY`].
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
    let contents = lists::contents(BufReader::with_capacity(1 << 20, tree))
        .map_err(FileError::at("read", description.tree))?;
    write("flatcar_production_image_contents.txt", contents.as_bytes())?;
    progress("compressing the image");
    compress(&directory.join(description.image))?;
    progress("signing the files");
    let key = SigningKey::generate(description.signer)?;
    for path in files(directory)? {
        sign(&path, &key)?;
    }
    write(TEST_KEY, key.public_key()?.as_bytes())
}

/// Compresses a file on all processors; a `.bz2` may consist of several streams.
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
            file.by_ref().take(CHUNK as u64).read_to_end(&mut chunk).map_err(FileError::at("read", path))?;
            if !chunk.is_empty() {
                chunks.push(chunk);
            }
        }
        if chunks.is_empty() {
            return Ok(output.flush().map_err(FileError::at("write", &target))?);
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
        for stream in packed.map_err(FileError::at("compress", path))? {
            output.write_all(&stream).map_err(FileError::at("write", &target))?;
        }
    }
}

/// Returns the files of a release, including those in subdirectories.
fn files(directory: &Utf8Path) -> Result<Vec<Utf8PathBuf>, ReleaseDirectoryError> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(directory).sort_by_file_name() {
        let entry = entry.map_err(|error| FileError::at("read", directory)(error.into()))?;
        let Some(path) = Utf8Path::from_path(entry.path()) else { continue };
        // A link is verified by the file that it leads to.
        if entry.file_type().is_file() {
            files.push(path.to_owned());
        }
    }
    Ok(files)
}

fn sign(path: &Utf8Path, key: &SigningKey) -> Result<(), ReleaseDirectoryError> {
    let digests = Digests::of_file(path).map_err(FileError::at("read", path))?.to_string();
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
