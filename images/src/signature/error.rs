// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_host::Hint;

/// A signature does not show that what is signed can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// the keys cannot be read
    #[error("cannot read the keys in `{path}`")]
    Keys {
        /// where they are
        path: Utf8PathBuf,
        /// why not
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// there are no keys
    #[error("`{0}` holds no key")]
    NoKeys(Utf8PathBuf),
    /// it is no signature
    #[error("it is not signed in a way that can be read: {0}")]
    Form(String),
    /// none of the keys made it
    #[error("none of the keys at hand made the signature, which names {issuers}")]
    UnknownKey {
        /// fingerprints or key ids
        issuers: String,
    },
    /// one of the keys is named and did not sign this
    #[error("the signature of {key} is not one of this content: it was changed, or signed by another")]
    Changed {
        /// fingerprint
        key: String,
    },
    /// the key is not one that may sign, or was not at that time
    #[error("{key} made the signature, and {why}")]
    Policy {
        /// fingerprint
        key: String,
        /// what is amiss with it
        why: String,
    },
}

impl Hint for SignatureError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { .. } => Some(
                "update the keys: the keyring package of the distribution, or Flatcar's image signing key from its site"
                    .to_owned(),
            ),
            Self::Changed { .. } => Some("fetch it again; if it stays so, do not use it".to_owned()),
            _ => None,
        }
    }
}
