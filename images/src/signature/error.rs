// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_host::Hint;

/// A signature that is not valid or not from a trusted key.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// the keys cannot be read
    #[error("cannot read the keys in `{path}`")]
    Keys {
        /// their file
        path: Utf8PathBuf,
        /// the reason
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// there are no keys
    #[error("`{0}` contains no key")]
    NoKeys(Utf8PathBuf),
    /// it is not a signature
    #[error("cannot read the signature: {0}")]
    Form(String),
    /// it is from another key
    #[error("the signature is not from a trusted key, but from {issuers}")]
    UnknownKey {
        /// fingerprints or key ids
        issuers: String,
    },
    /// it does not match the content
    #[error("the signature of {key} does not match: the content was changed after it was signed")]
    Changed {
        /// fingerprint
        key: String,
    },
    /// the key was not allowed to sign at that time
    #[error("the signature of {key} is not acceptable: {why}")]
    Policy {
        /// fingerprint
        key: String,
        /// the rule that it breaks
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
