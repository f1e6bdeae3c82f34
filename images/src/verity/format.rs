// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt as _;
use std::thread;

use uuid::Uuid;

use super::hash::{BLOCK, DIGEST, Salted};
use super::superblock::Superblock;

const SALT: usize = 32;
/// How much a thread reads at a time, in blocks: as much as stays in the cache of its processor.
const RUN: usize = 32;

/// The parameters of a hash tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// the salt, hashed before every block
    pub salt: [u8; SALT],
    /// the identifier in the superblock
    pub uuid: Uuid,
}

/// A hash tree over some data, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashArea {
    /// the root hash
    pub root: [u8; DIGEST],
    /// superblock and hashes: a multiple of [`BLOCK`] bytes
    pub area: Vec<u8>,
}

/// Computes the hash tree over `blocks` blocks of a file from `offset` (in bytes) on, with as many threads
/// as there are processors.
///
/// # Errors
/// The file cannot be read, or is too short.
pub fn hash_area(file: &File, offset: u64, blocks: u64, parameters: &Parameters) -> io::Result<HashArea> {
    let salted = Salted::new(&parameters.salt);
    let count = usize::try_from(blocks).map_err(io::Error::other)?;
    let mut level = data_digests(file, offset, count, &salted)?;
    let mut levels = Vec::new();
    while level.len() > DIGEST {
        level.resize(level.len().next_multiple_of(BLOCK), 0);
        let above = level.chunks_exact(BLOCK).flat_map(|block| salted.digest(block)).collect();
        levels.push(std::mem::replace(&mut level, above));
    }
    let mut root = [0; DIGEST];
    root.copy_from_slice(&level);
    let (uuid, salt) = (parameters.uuid, parameters.salt.to_vec());
    let mut area = Superblock { uuid, data_blocks: blocks, salt }.to_block();
    // The topmost level comes first.
    area.extend(levels.into_iter().rev().flatten());
    Ok(HashArea { root, area })
}

/// The digests of all blocks of data, one after the other.
fn data_digests(file: &File, offset: u64, blocks: usize, salted: &Salted) -> io::Result<Vec<u8>> {
    if blocks == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no data for a hash tree"));
    }
    let mut digests = vec![0; blocks * DIGEST];
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = blocks.div_ceil(threads);
    thread::scope(|scope| {
        let workers: Vec<_> = digests
            .chunks_mut(share * DIGEST)
            .enumerate()
            .map(|(index, part)| {
                let start = offset + (index * share * BLOCK) as u64;
                scope.spawn(move || digest_run(file, start, part, salted))
            })
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a hashing thread panicked")))
        })
    })?;
    Ok(digests)
}

fn digest_run(file: &File, mut offset: u64, digests: &mut [u8], salted: &Salted) -> io::Result<()> {
    let mut buffer = vec![0; RUN * BLOCK];
    for run in digests.chunks_mut(RUN * DIGEST) {
        let bytes = &mut buffer[..run.len() / DIGEST * BLOCK];
        file.read_exact_at(bytes, offset)?;
        offset += bytes.len() as u64;
        for (block, place) in bytes.chunks_exact(BLOCK).zip(run.chunks_exact_mut(DIGEST)) {
            place.copy_from_slice(&salted.digest(block));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use loadgauge_host::{CommandExt as _, Tool};
    use proptest::prelude::*;

    use super::*;

    fn parameters() -> Parameters {
        Parameters { salt: *b"a salt of exactly 32 bytes, yes!", uuid: Uuid::from_u128(7) }
    }

    fn file_of(blocks: usize, seed: u8) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        for number in 0..blocks {
            let mut block = vec![seed; BLOCK];
            block[..8].copy_from_slice(&(number as u64).to_le_bytes());
            file.write_all(&block).expect("written");
        }
        file
    }

    /// Compares with the bytes that `veritysetup format` writes.
    fn compare_with_veritysetup(blocks: usize, seed: u8) {
        let data = file_of(blocks, seed);
        let ours = hash_area(data.as_file(), 0, blocks as u64, &parameters()).expect("a tree");
        let hashes = tempfile::NamedTempFile::new().expect("a file");
        let output = Tool::find("veritysetup")
            .expect("a tool of the host")
            .command()
            .args(["format", "--hash=sha256", "--data-block-size=4096", "--hash-block-size=4096"])
            .arg(format!("--salt={}", hex::encode(parameters().salt)))
            .arg(format!("--uuid={}", parameters().uuid))
            .args([data.path(), hashes.path()])
            .run()
            .unwrap_or_else(|error| panic!("{error}"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&hex::encode(ours.root)), "{blocks} blocks: {said}");
        assert_eq!(std::fs::read(hashes.path()).expect("read"), ours.area, "{blocks} blocks");
    }

    #[test]
    fn the_tree_is_veritysetups_at_every_edge() {
        for blocks in [1, 2, 127, 128, 129, 257, 128 * 128, 128 * 128 + 1] {
            compare_with_veritysetup(blocks, 3);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_tree_is_veritysetups(blocks in 1_usize..2_000, seed: u8) {
            compare_with_veritysetup(blocks, seed);
        }
    }

    #[test]
    fn a_file_that_is_too_short_or_empty_is_refused() {
        let data = file_of(3, 0);
        assert!(hash_area(data.as_file(), 0, 4, &parameters()).is_err());
        assert!(hash_area(data.as_file(), 0, 0, &parameters()).is_err());
    }

    #[test]
    fn data_may_begin_anywhere_in_the_file() {
        let data = file_of(9, 1);
        let whole = file_of(9, 1);
        let skipped = hash_area(data.as_file(), 4096, 8, &parameters()).expect("a tree");
        let all = hash_area(whole.as_file(), 0, 8, &parameters()).expect("a tree");
        assert_ne!(skipped.root, all.root);
    }
}
