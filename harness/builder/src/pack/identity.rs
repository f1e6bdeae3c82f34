// SPDX-License-Identifier: Apache-2.0
use sha2::{Digest as _, Sha256};

/// The values that replace the clock and random numbers in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// seconds since 1970 for every time in the image
    pub epoch: u32,
    /// the seed of all identifiers
    pub seed: String,
}

impl Identity {
    /// An identifier for a purpose, derived from the seed.
    pub(crate) fn uuid(&self, purpose: &str) -> uuid::Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.digest(purpose)[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// 32 bytes for a purpose, derived from the seed.
    pub(super) fn digest(&self, purpose: &str) -> [u8; 32] {
        Sha256::new().chain_update(&self.seed).chain_update(purpose).finalize().into()
    }
}
