// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_host::Hint;

/// A signature that is not valid or not from a trusted key.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// the keys cannot be read
    #[error("cannot read the keys in `{path}`")]
    Keys {
        /// the file with the keys
        path: Utf8PathBuf,
        /// the reason
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// there are no keys
    #[error("`{0}` contains no key")]
    NoKeys(Utf8PathBuf),
    /// the signature cannot be parsed
    #[error("cannot read the signature: {0}")]
    Form(String),
    /// the signature is from another key
    #[error("the signature is not from a trusted key, but from {issuers}")]
    UnknownKey {
        /// the fingerprints or key ids in the signature
        issuers: String,
    },
    /// the signature does not match the content
    #[error("the signature of {key} does not match: the content was changed after it was signed")]
    Changed {
        /// the key's fingerprint
        key: String,
    },
    /// the key was not allowed to sign at the time of the signature
    #[error("the signature of {key} is not acceptable: {why}")]
    Policy {
        /// the key's fingerprint
        key: String,
        /// the rule that the signature breaks
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
            Self::Changed { .. } => Some("fetch the file again; if the signature still does not match, do not use the file".to_owned()),
            _ => None,
        }
    }
}
