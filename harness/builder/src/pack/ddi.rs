// SPDX-License-Identifier: Apache-2.0
//! A discoverable disk image: a GPT with the file system, its dm-verity hash tree, and a signature of the
//! root hash. See the discoverable partitions specification of the UAPI group, and systemd-repart(8), whose
//! `--make-ddi=sysext` uses the same layout.
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use camino::Utf8Path;
use loadgauge_host::{FileError, fs};
use loadgauge_images::Architecture;
use loadgauge_images::gpt::{self, NewPartition, SECTOR_SIZE};
use loadgauge_images::verity::{BLOCK, HashArea, Parameters, hash_area};
use uuid::{Uuid, uuid};

use super::{Identity, PackError};
use crate::signing::KeyPair;

/// The start of the first partition, in bytes.
const START: u64 = 1 << 20;
/// The size of the signature partition in bytes, as in systemd-repart.
const SIGNATURE_SIZE: usize = 16 << 10;

/// Type GUIDs and names of the three partitions.
struct Kinds {
    root: (Uuid, &'static str),
    verity: (Uuid, &'static str),
    signature: (Uuid, &'static str),
}

const AMD64: Kinds = Kinds {
    root: (uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"), "root-x86-64"),
    verity: (uuid!("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"), "root-x86-64-verity"),
    signature: (uuid!("41092b05-9fc8-4523-994f-2def0408b176"), "root-x86-64-verity-sig"),
};
const ARM64: Kinds = Kinds {
    root: (uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae"), "root-arm64"),
    verity: (uuid!("df3300ce-d69f-4c92-978c-9bfb0f38d820"), "root-arm64-verity"),
    signature: (uuid!("6db69de6-29f4-4758-a7a5-962190f00ce3"), "root-arm64-verity-sig"),
};

/// Packs a file system into a disk image. Without a key pair there is no signature partition.
///
/// The identifiers of the first two partitions are the halves of the root hash, with which systemd finds
/// them.
pub(super) fn pack(
    filesystem: &Utf8Path,
    architecture: Architecture,
    signer: Option<&KeyPair>,
    identity: &Identity,
    output: &Utf8Path,
) -> Result<(), PackError> {
    let read = || FileError::at("read", filesystem);
    let source = File::options().read(true).write(true).open(filesystem).map_err(read())?;
    let size = source.metadata().map_err(read())?.len().next_multiple_of(BLOCK as u64);
    source.set_len(size).map_err(FileError::at("write", filesystem))?;
    let parameters = Parameters { salt: identity.digest("verity salt"), uuid: identity.uuid("verity") };
    let tree = hash_area(&source, 0, size / BLOCK as u64, &parameters).map_err(read())?;
    let signature = signer.map(|signer| signature(signer, &tree)).transpose()?;
    write(source, size, &tree, signature.as_deref(), kinds(architecture), identity, output)
        .map_err(FileError::at("write", output))?;
    Ok(fs::remove_file(filesystem)?)
}

/// Changes one byte in the block of the file system that a mount reads first. The type of the file system
/// can still be detected.
pub(super) fn damage(image: &Utf8Path) -> Result<(), PackError> {
    let flip = || {
        let file = File::options().read(true).write(true).open(image)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, START + SECTOR_SIZE)?;
        file.write_all_at(&[byte[0] ^ 0xff], START + SECTOR_SIZE)
    };
    Ok(flip().map_err(FileError::at("write", image))?)
}

fn kinds(architecture: Architecture) -> &'static Kinds {
    match architecture {
        Architecture::Amd64 => &AMD64,
        Architecture::Arm64 => &ARM64,
    }
}

fn write(
    mut source: File,
    size: u64,
    tree: &HashArea,
    signature: Option<&[u8]>,
    kinds: &Kinds,
    identity: &Identity,
    output: &Utf8Path,
) -> io::Result<()> {
    let (left, right) = tree.root.split_at(16);
    let half = |bytes| Uuid::from_slice(bytes).map_err(io::Error::other);
    let mut layout = Layout { next: START / SECTOR_SIZE, partitions: Vec::new() };
    let root = layout.add(kinds.root, half(left)?, size);
    let hashes = layout.add(kinds.verity, half(right)?, tree.area.len() as u64);
    let mut file = File::create_new(output)?;
    file.seek(SeekFrom::Start(root))?;
    source.rewind()?;
    io::copy(&mut source, &mut file)?;
    file.write_all_at(&tree.area, hashes)?;
    if let Some(bytes) = signature {
        let place = layout.add(kinds.signature, identity.uuid("verity signature"), bytes.len() as u64);
        file.write_all_at(bytes, place)?;
    }
    let sectors = (layout.next + gpt::TAIL).next_multiple_of(BLOCK as u64 / SECTOR_SIZE);
    let (head, tail) = gpt::table_bytes(identity.uuid("disk"), sectors, &layout.partitions);
    file.set_len(sectors * SECTOR_SIZE)?;
    file.write_all_at(&head, 0)?;
    file.write_all_at(&tail, (sectors - gpt::TAIL) * SECTOR_SIZE)
}

/// Consecutive partitions.
struct Layout {
    next: u64,
    partitions: Vec<NewPartition>,
}

impl Layout {
    /// Adds a partition, whose size is a multiple of the sector, and returns its start; both in bytes.
    fn add(&mut self, (kind, label): (Uuid, &'static str), identifier: Uuid, size: u64) -> u64 {
        let (first, sectors) = (self.next, size / SECTOR_SIZE);
        self.partitions.push(NewPartition { kind, identifier, label, first, sectors });
        self.next += sectors;
        first * SECTOR_SIZE
    }
}

/// The contents of the signature partition: JSON, padded with zeros. See "Verity Signature
/// Partition" in the discoverable partitions specification.
fn signature(signer: &KeyPair, tree: &HashArea) -> Result<Vec<u8>, PackError> {
    use base64::Engine as _;
    let root = hex::encode(tree.root);
    let der = signer.sign(root.as_bytes())?;
    let json = serde_json::json!({
        "rootHash": root,
        "certificateFingerprint": signer.fingerprint()?,
        "signature": base64::engine::general_purpose::STANDARD.encode(der),
    });
    let mut bytes = json.to_string().into_bytes();
    if bytes.len() >= SIGNATURE_SIZE {
        return Err(PackError::SignatureSize(bytes.len()));
    }
    bytes.resize(SIGNATURE_SIZE, 0);
    Ok(bytes)
}
