// SPDX-License-Identifier: Apache-2.0
//! Decompresses packages side by side.
//!
//! Flatcar's packages are compressed with bzip2, which takes most of the time of a build. Packages are
//! unpacked one after the other, since they share directories, from the tars that all processors
//! decompress ahead.
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::FileError;

use super::binary::BinaryPackage;
use super::error::GentooError;
use super::selection::SelectedPackage;
use crate::stage::StageError;
use crate::unpack::UnpackCause;

/// Limit of all tars together in bytes, as that of an extension.
const MAXIMUM_TOTAL: u64 = 8 << 30;

/// A package with its decompressed tar.
#[derive(Debug)]
pub(super) struct Decompressed {
    /// the package file
    pub(super) binary: BinaryPackage,
    /// the tar
    pub(super) tar: Utf8PathBuf,
}

type Message = Result<Decompressed, GentooError>;

/// The state that the threads share.
#[derive(Debug, Default)]
pub(super) struct Decompression {
    next: AtomicUsize,
    total: AtomicU64,
    is_cancelled: AtomicBool,
}

impl Decompression {
    /// Starts the threads, which write to a directory. Returns a receiver for each package.
    pub(super) fn start<'scope, 'env: 'scope>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        packages: &'env [&'env SelectedPackage],
        directory: &'env Utf8Path,
    ) -> Vec<Receiver<Message>> {
        let (senders, receivers): (Vec<SyncSender<Message>>, Vec<_>) =
            packages.iter().map(|_| sync_channel(1)).unzip();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(packages.len());
        for _ in 0..threads {
            let senders = senders.clone();
            scope.spawn(move || {
                while let Some(index) = self.take(packages.len()) {
                    let message = self.decompress(packages[index], &directory.join(format!("{index}.tar")));
                    // Nobody receives it after an error.
                    drop(senders[index].send(message));
                }
            });
        }
        receivers
    }

    /// Ends the threads soon, because of an error.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    fn take(&self, count: usize) -> Option<usize> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < count && !self.is_cancelled.load(Ordering::Relaxed)).then_some(index)
    }

    fn decompress(&self, package: &SelectedPackage, tar: &Utf8Path) -> Message {
        let mut binary = BinaryPackage::open(&package.path)
            .map_err(|source| GentooError::Binary { path: package.path.clone(), source: Box::new(source) })?;
        let archive = package.path.file_name().unwrap_or_default();
        self.copy(&mut binary, tar).map_err(|cause| cause.of(archive, None))?;
        Ok(Decompressed { binary, tar: tar.to_owned() })
    }

    fn copy(&self, binary: &mut BinaryPackage, tar: &Utf8Path) -> Result<(), UnpackCause> {
        let write = || FileError::at("write", tar);
        let mut file = File::create_new(tar).map_err(write()).map_err(StageError::from)?;
        let mut files = binary.files().map_err(UnpackCause::Read)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = files.read(&mut buffer).map_err(UnpackCause::Read)?;
            if count == 0 {
                return Ok(());
            }
            if self.is_cancelled.load(Ordering::Relaxed) {
                return Err(UnpackCause::Read(io::ErrorKind::Interrupted.into()));
            }
            let total = self.total.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
            if total > MAXIMUM_TOTAL {
                let path = tar.file_name().unwrap_or_default().into();
                return Err(StageError::TooLarge { path, limit: "8 GiB" }.into());
            }
            file.write_all(&buffer[..count]).map_err(write()).map_err(StageError::from)?;
        }
    }
}
