// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};

use bzip2::read::MultiBzDecoder;
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::digest::Inputs;
use loadgauge_host::{Entry, FileError, Store, fs};

use super::disk_digest;
use crate::image::ImageError;

/// The names of disks on a release server, the preferred first.
const DISKS: [&str; 4] = [
    "flatcar_production_qemu_image.img",
    "flatcar_production_qemu_uefi_image.img",
    "flatcar_production_qemu_uefi_secure_image.img",
    "flatcar_production_image.bin",
];
const COMPRESSED: &str = ".bz2";
/// The largest disk that is decompressed, in bytes: seven times the size of Flatcar's.
const LARGEST_DISK: u64 = 64 << 30;
/// Bytes that are decompressed at once; a block of zeros becomes a hole.
const BLOCK: usize = 1 << 20;

/// A disk and the directory of its release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReleaseDisk {
    /// the disk, not compressed
    pub(super) disk: Utf8PathBuf,
    /// the directory with the files of its release
    pub(super) directory: Utf8PathBuf,
}

/// Finds the disk that a path leads to: a disk, a disk that is compressed with bzip2, or the directory of a
/// release. A compressed disk is decompressed into the store once, with messages to `progress`.
///
/// # Errors
/// There is none, or it cannot be decompressed.
pub(super) fn locate(
    path: &Utf8Path,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<ReleaseDisk, ImageError> {
    let path = camino::absolute_utf8(path).map_err(FileError::at("resolve", path))?;
    let file = if fs::metadata(&path)?.is_dir() {
        find(&path).ok_or_else(|| ImageError::NoDisk(path.clone()))?
    } else {
        path
    };
    let directory = file.parent().unwrap_or(Utf8Path::new("/")).to_owned();
    let mut magic = Vec::new();
    let reader = fs::open_regular(&file)?;
    reader.take(4).read_to_end(&mut magic).map_err(FileError::at("read", &file))?;
    let disk = match magic.as_slice() {
        [b'B', b'Z', b'h', _] => decompress(&file, store, progress)?,
        [0x1f, 0x8b, ..] | [0xfd, b'7', b'z', b'X'] | [0x28, 0xb5, 0x2f, 0xfd] => {
            return Err(ImageError::Compressed(file));
        }
        _ => file,
    };
    Ok(ReleaseDisk { disk, directory })
}

/// The disk in the directory of a release.
fn find(directory: &Utf8Path) -> Option<Utf8PathBuf> {
    let plain = DISKS.into_iter().map(|name| directory.join(name));
    let compressed = DISKS.into_iter().map(|name| directory.join(format!("{name}{COMPRESSED}")));
    plain.chain(compressed).find(|path| path.is_file())
}

/// Decompresses a disk into the store, or finds it there.
fn decompress(file: &Utf8Path, store: &Store, progress: &dyn Fn(&str)) -> Result<Utf8PathBuf, ImageError> {
    let mut inputs = Inputs::default();
    inputs.add("packed", disk_digest::of_file(file, store)?);
    let name = file.file_name().unwrap_or("disk");
    let name = name.strip_suffix(COMPRESSED).unwrap_or(name);
    inputs.add("name", name);
    let key = inputs.finish();
    loop {
        let vacancy = match store.entry_to_use("unpacked", &key)? {
            Entry::Ready(entry) => return Ok(entry.join(name)),
            Entry::Vacant(vacancy) => vacancy,
        };
        let target = vacancy.directory().join(name);
        let length = fs::metadata(file)?.len();
        let source = ProgressReader { file: fs::open(file)?, done: 0, length, reported: 0, name, progress };
        copy(MultiBzDecoder::new(source), &target, LARGEST_DISK)
            .map_err(FileError::at("decompress", file))?;
        vacancy.commit()?;
    }
}

/// Copies at most `limit` bytes to a new file, with holes for zeros.
fn copy(mut source: impl Read, target: &Utf8Path, limit: u64) -> io::Result<()> {
    let mut file = File::create_new(target)?;
    let (mut block, mut length) = (vec![0; BLOCK], 0);
    loop {
        let mut count = 0;
        while count < BLOCK {
            match source.read(&mut block[count..])? {
                0 => break,
                more => count += more,
            }
        }
        if count == 0 {
            return file.set_len(length);
        }
        if length + count as u64 > limit {
            let reason = format!("it contains more than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        if block[..count].iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start(length))?;
            file.write_all(&block[..count])?;
        }
        length += count as u64;
    }
}

/// A file that reports how much of it was read, at every tenth.
struct ProgressReader<'a> {
    file: File,
    done: u64,
    length: u64,
    reported: u64,
    name: &'a str,
    progress: &'a dyn Fn(&str),
}

impl Read for ProgressReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.done += count as u64;
        let tenth = self.done * 10 / self.length.max(1);
        if tenth > self.reported {
            self.reported = tenth;
            (self.progress)(&format!("decompressing {}: {}0 %", self.name, tenth));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;

    use bzip2::Compression;
    use bzip2::write::BzEncoder;

    use super::*;

    fn scratch() -> (tempfile::TempDir, Utf8PathBuf, Store) {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
        let release = path.join("release");
        fs::create_dir(&release).expect("made");
        (scratch, release, Store::at(path.join("store")))
    }

    fn packed(parts: &[&[u8]]) -> Vec<u8> {
        let pack = |part: &&[u8]| {
            let mut encoder = BzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(part).expect("packed");
            encoder.finish().expect("packed")
        };
        parts.iter().flat_map(pack).collect()
    }

    #[test]
    fn a_compressed_disk_of_many_streams_is_decompressed_once_and_keeps_its_directory() {
        let (_scratch, release, store) = scratch();
        let file = release.join("flatcar_production_image.bin.bz2");
        let content = [vec![0; 3 << 20], b"end".to_vec(), vec![0; 5]].concat();
        fs::write(&file, packed(&[&content[..100], &content[100..]])).expect("written");
        let messages = RefCell::new(Vec::new());
        let progress = |text: &str| messages.borrow_mut().push(text.to_owned());
        let first = locate(&release, &store, &progress).expect("located");
        assert!(fs::read(&first.disk).expect("read") == content);
        assert_eq!(first.directory, release);
        assert_eq!(
            messages.borrow().last().map(String::as_str),
            Some("decompressing flatcar_production_image.bin: 100 %")
        );
        messages.borrow_mut().clear();
        assert_eq!(locate(&file, &store, &progress).expect("located"), first);
        assert!(messages.borrow().is_empty());
        fs::write(&file, &packed(&[&content])[..40]).expect("written");
        assert!(locate(&file, &store, &progress).is_err(), "half a stream is not a disk");
    }

    #[test]
    fn a_disk_that_decompresses_to_too_much_is_refused() {
        let (_scratch, release, _store) = scratch();
        let content = vec![0; 100];
        copy(content.as_slice(), &release.join("whole"), 100).expect("copied");
        let error = copy(content.as_slice(), &release.join("cut"), 99).expect_err("too large");
        assert_eq!(error.to_string(), "it contains more than 99 bytes");
    }

    #[test]
    fn the_disk_for_qemu_is_preferred_and_other_compressions_are_refused() {
        let (_scratch, release, store) = scratch();
        let located = |path: &Utf8Path| locate(path, &store, &|_| ());
        assert!(matches!(located(&release), Err(ImageError::NoDisk(path)) if path == release));
        for name in ["flatcar_production_image.bin", "flatcar_production_qemu_image.img"] {
            fs::write(release.join(name), "disk").expect("written");
            assert_eq!(located(&release).expect("located").disk, release.join(name));
        }
        let other = release.join("disk.gz");
        fs::write(&other, [0x1f, 0x8b, 8, 0]).expect("written");
        assert!(matches!(located(&other), Err(ImageError::Compressed(path)) if path == other));
    }
}
