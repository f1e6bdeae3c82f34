// SPDX-License-Identifier: Apache-2.0
//! The database of the packages in an extension, with which another extension can be built on top of it.
//! Flatcar's SDK publishes `/var/db/pkg` of its packages in the same way.
use std::sync::Arc;

use camino::Utf8Path;

use super::DescribeError;
use crate::pack::{self, Identity};
use crate::stage::Staged;

/// Packs files by paths relative to the root, with the options of the SDK (`-comp zstd
/// -Xcompression-level 22 -b 512k`).
pub(super) fn pack(
    files: &[(String, Vec<u8>)],
    identity: &Identity,
    output: &Utf8Path,
) -> Result<(), DescribeError> {
    let parent = output.parent().unwrap_or(Utf8Path::new("."));
    let mut staged = Staged::new_in(parent)?;
    let origin: Arc<str> = Arc::from("the builder");
    for (path, bytes) in files {
        staged.put_file(Utf8Path::new(path), 0o644, &mut bytes.as_slice(), &origin)?;
    }
    staged.settle(identity.epoch)?;
    Ok(pack::pack_database(&staged, identity, output)?)
}
