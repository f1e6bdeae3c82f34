// SPDX-License-Identifier: Apache-2.0
use pgp::composed::{
    CleartextSignedMessage, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::ser::Serialize as _;
use pgp::types::Password;
use rand_core::OsRng;

/// A signing key that exists in memory only.
#[derive(Debug)]
pub struct SigningKey(SignedSecretKey);

/// An error while making a key or a signature.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {why}")]
pub struct SigningError {
    action: &'static str,
    why: String,
}

fn fail<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> SigningError {
    move |error| SigningError { action, why: error.to_string() }
}

impl SigningKey {
    /// Generates an Ed25519 key for a user id such as `Test <test@example.org>`.
    ///
    /// # Errors
    /// The key cannot be generated.
    pub fn generate(user: &str) -> Result<Self, SigningError> {
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .primary_user_id(user.to_owned());
        let parameters = parameters.build().map_err(fail("make a key"))?;
        parameters.generate(OsRng).map(Self).map_err(fail("make a key"))
    }

    /// Returns the public key, in armour.
    ///
    /// # Errors
    /// The key cannot be encoded.
    pub fn public_key(&self) -> Result<String, SigningError> {
        let public = SignedPublicKey::from(self.0.clone());
        public.to_armored_string(pgp::composed::ArmorOptions::default()).map_err(fail("write a key"))
    }

    /// Returns a detached signature of content, without armour.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign_detached(&self, content: &[u8]) -> Result<Vec<u8>, SigningError> {
        let key = &self.0.primary_key;
        let signature = DetachedSignature::sign_binary_data(
            OsRng,
            key,
            &Password::empty(),
            HashAlgorithm::Sha512,
            content,
        );
        signature.and_then(|signature| signature.to_bytes()).map_err(fail("sign"))
    }

    /// Returns the text with its signature in it.
    ///
    /// No line of the text may end in blanks, which such a signature does not cover (RFC 9580, 7.2).
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign_clear(&self, text: &str) -> Result<String, SigningError> {
        let message = CleartextSignedMessage::sign(OsRng, text, &self.0.primary_key, &Password::empty());
        message
            .and_then(|message| message.to_armored_string(pgp::composed::ArmorOptions::default()))
            .map_err(fail("sign"))
    }
}
