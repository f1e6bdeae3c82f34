// SPDX-License-Identifier: Apache-2.0
use std::io::BufReader;
use std::time::{SystemTime, UNIX_EPOCH};

use camino::Utf8Path;
use pgp::composed::{
    CleartextSignedMessage, Deserializable as _, DetachedSignature, SignedPublicKey, SignedPublicSubKey,
};
use pgp::packet::{Signature, SignatureType};
use pgp::types::KeyDetails as _;

use super::error::SignatureError;
use super::policy;

/// Flatcar's image signing key with its subkeys, as of March 2025.
///
/// Source: <https://www.flatcar.org/security/image-signing-key/Flatcar_Image_Signing_Key.asc>. Flatcar adds
/// a subkey every two years, so the file needs an update before 2027-03-08.
const FLATCAR: &[u8] = include_bytes!("../../keys/flatcar-image-signing-key.asc");

/// A set of trusted keys.
#[derive(Debug, Clone)]
pub struct Keyring {
    certificates: Vec<SignedPublicKey>,
}

/// The signer and the time of a valid signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// the fingerprint of the primary key, in hex
    pub key: String,
    /// the time of the signature, in seconds since 1970
    pub time: u32,
}

/// The outcome of a verification with one key.
enum Tried {
    /// the signature names another key
    Other,
    /// the signature names this key and does not match the content
    Changed,
    /// the signature matches, but the policy rejects it
    Objection(String),
    /// the signature is valid
    Good,
}

impl Keyring {
    /// Reads keys, with or without armour; a file may contain several keys.
    ///
    /// # Errors
    /// The file cannot be read, or contains no key.
    pub fn read(path: &Utf8Path) -> Result<Self, SignatureError> {
        let fail = |source| SignatureError::Keys { path: path.to_owned(), source };
        let bytes = loadgauge_host::fs::read(path).map_err(|error| fail(error.source.into()))?;
        let keyring = Self::parse(&bytes).map_err(|error| fail(error.into()))?;
        if keyring.certificates.is_empty() {
            Err(SignatureError::NoKeys(path.to_owned()))
        } else {
            Ok(keyring)
        }
    }

    /// Returns the key that official releases of Flatcar are signed with.
    ///
    /// # Errors
    /// The key in this program is damaged.
    pub fn flatcar() -> Result<Self, SignatureError> {
        Self::parse(FLATCAR).map_err(|error| form(&error))
    }

    fn parse(bytes: &[u8]) -> Result<Self, pgp::errors::Error> {
        let armoured = bytes.trim_ascii_start().starts_with(b"-----BEGIN PGP");
        let keys: Box<dyn Iterator<Item = Result<SignedPublicKey, pgp::errors::Error>>> = if armoured {
            SignedPublicKey::from_armor_many(bytes)?.0
        } else {
            SignedPublicKey::from_bytes_many(BufReader::new(bytes))?
        };
        // A keyring may contain keys of kinds that are too old or too new for rPGP.
        Ok(Self { certificates: keys.filter_map(Result::ok).collect() })
    }

    /// Returns the fingerprints of the primary keys, in hex.
    pub fn fingerprints(&self) -> Vec<String> {
        self.certificates.iter().map(hex).collect()
    }

    /// Whether every key of another set is in this one, too.
    pub fn contains(&self, other: &Self) -> bool {
        other.certificates.iter().all(|certificate| self.certificates.contains(certificate))
    }

    /// Verifies a text that contains its own signature, and returns the text without it.
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn verify_clearsigned(&self, text: &str) -> Result<(String, Verified), SignatureError> {
        let (message, _) = CleartextSignedMessage::from_string(text).map_err(|error| form(&error))?;
        let signed = message.signed_text();
        let verified = self.verify(message.signatures(), SignatureType::Text, signed.as_bytes())?;
        Ok((signed.replace("\r\n", "\n"), verified))
    }

    /// Verifies content with a detached signature, with or without armour.
    ///
    /// Only binary signatures count. A text signature does not cover the kind of line ends (RFC 9580,
    /// 5.2.1.2), so it matches files that differ.
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn verify_detached(&self, content: &[u8], signature: &[u8]) -> Result<Verified, SignatureError> {
        let armoured = signature.trim_ascii_start().starts_with(b"-----BEGIN PGP");
        let signatures: Result<Vec<DetachedSignature>, _> = if armoured {
            DetachedSignature::from_armor_many(signature).and_then(|(many, _)| many.collect())
        } else {
            DetachedSignature::from_bytes_many(BufReader::new(signature)).and_then(Iterator::collect)
        };
        let signatures: Vec<Signature> =
            signatures.map_err(|error| form(&error))?.into_iter().map(|one| one.signature).collect();
        self.verify(&signatures, SignatureType::Binary, content)
    }

    /// Verifies content; one valid signature is enough, because archives sign with old and new keys.
    fn verify(
        &self,
        signatures: &[Signature],
        kind: SignatureType,
        content: &[u8],
    ) -> Result<Verified, SignatureError> {
        let mut worst = None;
        for signature in signatures {
            for certificate in &self.certificates {
                match try_certificate(certificate, signature, kind, content) {
                    Tried::Other => {}
                    Tried::Good => {
                        let time = signature.created().map_or(0, pgp::types::Timestamp::as_secs);
                        return Ok(Verified { key: hex(certificate), time });
                    }
                    Tried::Changed => {
                        worst = worst.or(Some(SignatureError::Changed { key: hex(certificate) }));
                    }
                    Tried::Objection(why) => {
                        worst = worst.or(Some(SignatureError::Policy { key: hex(certificate), why }));
                    }
                }
            }
        }
        Err(worst.unwrap_or_else(|| SignatureError::UnknownKey { issuers: issuers(signatures) }))
    }
}

fn try_certificate(
    certificate: &SignedPublicKey,
    signature: &Signature,
    kind: SignatureType,
    content: &[u8],
) -> Tried {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = u32::try_from(now).unwrap_or(u32::MAX);
    let judge = |verified: bool, subkey: Option<&SignedPublicSubKey>| {
        if !verified {
            return Tried::Changed;
        }
        policy::objection(certificate, subkey, (signature, kind), now).map_or(Tried::Good, Tried::Objection)
    };
    let primary = &certificate.primary_key;
    if is_named(signature, primary) {
        return judge(signature.verify(primary, content).is_ok(), None);
    }
    let subkey = certificate.public_subkeys.iter().find(|subkey| is_named(signature, &subkey.key));
    subkey.map_or(Tried::Other, |subkey| judge(signature.verify(&subkey.key, content).is_ok(), Some(subkey)))
}

/// Whether a signature names a key as its issuer.
fn is_named(signature: &Signature, key: &impl pgp::types::KeyDetails) -> bool {
    let by_fingerprint = signature.issuer_fingerprint();
    if by_fingerprint.is_empty() {
        return signature.issuer_key_id().contains(&&key.legacy_key_id());
    }
    by_fingerprint.contains(&&key.fingerprint())
}

fn issuers(signatures: &[Signature]) -> String {
    let names = signatures.iter().map(|signature| {
        let fingerprint = signature.issuer_fingerprint().first().map(|one| format!("{one:X}"));
        let key_id = || signature.issuer_key_id().first().map(|one| one.to_string().to_uppercase());
        fingerprint.or_else(key_id).unwrap_or_else(|| "none".to_owned())
    });
    names.collect::<Vec<_>>().join(", ")
}

fn hex(certificate: &SignedPublicKey) -> String {
    format!("{:X}", certificate.primary_key.fingerprint())
}

fn form(error: &pgp::errors::Error) -> SignatureError {
    SignatureError::Form(error.to_string())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
