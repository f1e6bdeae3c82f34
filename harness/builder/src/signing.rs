// SPDX-License-Identifier: Apache-2.0
//! The key pair that signs verity root hashes, and its signatures.
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, fs};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkcs7::{Pkcs7, Pkcs7Flags};
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::stack::Stack;
use openssl::x509::{X509, X509NameBuilder};

/// A private key and its certificate, which a system that trusts the key has in `/etc/verity.d` or
/// `/usr/lib/verity.d`.
///
/// RSA keys give the same signature each time; elliptic-curve keys do not, so that images signed with them
/// are not reproducible.
#[derive(Clone)]
pub struct KeyPair {
    key: PKey<Private>,
    certificate: X509,
}

/// A key pair that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// a file cannot be read
    #[error(transparent)]
    File(#[from] FileError),
    /// a file is not of the expected type
    #[error("`{path}` is not {expected} in PEM")]
    Malformed {
        /// the file
        path: Utf8PathBuf,
        /// the expected type
        expected: &'static str,
        /// OpenSSL's error
        source: ErrorStack,
    },
    /// the certificate is for another key
    #[error("the certificate `{certificate}` is not for the private key `{key}`")]
    Mismatch {
        /// the file of the key
        key: Utf8PathBuf,
        /// the file of the certificate
        certificate: Utf8PathBuf,
    },
    /// OpenSSL failed
    #[error("OpenSSL cannot {action}")]
    OpenSsl {
        /// the action, as a verb
        action: &'static str,
        /// OpenSSL's error
        source: ErrorStack,
    },
}

impl SigningError {
    fn openssl(action: &'static str) -> impl FnOnce(ErrorStack) -> Self {
        move |source| Self::OpenSsl { action, source }
    }
}

impl Hint for SigningError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(_) | Self::Malformed { .. } => Some(
                "create a pair: openssl req -x509 -newkey rsa:4096 -noenc -subj /CN=sysexts -days 3650 \
                 -keyout sysexts.key -out sysexts.crt"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl KeyPair {
    /// Reads a private key and a certificate, both in PEM.
    ///
    /// # Errors
    /// See [`SigningError`].
    pub fn load(key: &Utf8Path, certificate: &Utf8Path) -> Result<Self, SigningError> {
        let malformed = |path: &Utf8Path, expected| {
            let path = path.to_owned();
            move |source| SigningError::Malformed { path, expected, source }
        };
        // Without a callback OpenSSL would ask for a passphrase on the terminal.
        let private = PKey::private_key_from_pem_callback(&fs::read(key)?, |_| Ok(0))
            .map_err(malformed(key, "a private key without a passphrase"))?;
        let public =
            X509::from_pem(&fs::read(certificate)?).map_err(malformed(certificate, "a certificate"))?;
        if !public.public_key().is_ok_and(|public| public.public_eq(&private)) {
            let (key, certificate) = (key.to_owned(), certificate.to_owned());
            return Err(SigningError::Mismatch { key, certificate });
        }
        Ok(Self { key: private, certificate: public })
    }

    /// Generates a key pair: RSA of 2048 bits with a self-signed certificate, valid for ten years from now.
    ///
    /// # Errors
    /// OpenSSL cannot generate it.
    pub fn generate(common_name: &str) -> Result<Self, SigningError> {
        generate(common_name).map_err(SigningError::openssl("generate a key pair"))
    }

    /// The certificate in PEM, for `verity.d` of a system that trusts the key.
    ///
    /// # Errors
    /// OpenSSL cannot write it.
    pub fn certificate_pem(&self) -> Result<Vec<u8>, SigningError> {
        self.certificate.to_pem().map_err(SigningError::openssl("write the certificate"))
    }

    /// SHA-256 of the certificate in hex.
    ///
    /// # Errors
    /// OpenSSL cannot digest it.
    pub fn fingerprint(&self) -> Result<String, SigningError> {
        let digest = self.certificate.digest(MessageDigest::sha256());
        Ok(hex::encode(digest.map_err(SigningError::openssl("digest the certificate"))?))
    }

    /// Signs a text: PKCS#7 in DER, detached, without signed attributes, as dm-verity of the kernel and
    /// systemd expect.
    ///
    /// # Errors
    /// OpenSSL cannot sign with this key.
    pub fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SigningError> {
        let flags = Pkcs7Flags::DETACHED | Pkcs7Flags::NOATTR | Pkcs7Flags::BINARY;
        let none = Stack::new().map_err(SigningError::openssl("sign"))?;
        Pkcs7::sign(&self.certificate, &self.key, &none, text, flags)
            .and_then(|signature| signature.to_der())
            .map_err(SigningError::openssl("sign"))
    }
}

/// Leaves the key out.
impl fmt::Debug for KeyPair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fingerprint = self.fingerprint().unwrap_or_default();
        formatter.debug_struct("KeyPair").field("fingerprint", &fingerprint).finish_non_exhaustive()
    }
}

fn generate(common_name: &str) -> Result<KeyPair, ErrorStack> {
    let key = PKey::from_rsa(Rsa::generate(2048)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", common_name)?;
    let name = name.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let mut serial = [0; 16];
    openssl::rand::rand_bytes(&mut serial)?;
    // A serial number is positive.
    serial[0] = serial[0] & 0x7f | 0x40;
    let serial = BigNum::from_slice(&serial)?.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
    builder.set_not_after(Asn1Time::days_from_now(3650)?.as_ref())?;
    builder.set_pubkey(&key)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok(KeyPair { key, certificate: builder.build() })
}

#[cfg(test)]
mod tests {
    use loadgauge_host::{CommandExt as _, Tool};

    use super::*;

    fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        (directory, path)
    }

    fn save(pair: &KeyPair, directory: &Utf8Path, name: &str) -> (Utf8PathBuf, Utf8PathBuf) {
        let paths = (directory.join(format!("{name}.key")), directory.join(format!("{name}.crt")));
        fs::write(&paths.0, pair.key.private_key_to_pem_pkcs8().expect("a key")).expect("written");
        fs::write(&paths.1, pair.certificate_pem().expect("a certificate")).expect("written");
        paths
    }

    fn verifies(directory: &Utf8Path, signature: &[u8], text: &str, certificate: &Utf8Path) -> bool {
        let (signed, detached) = (directory.join("text"), directory.join("signature"));
        fs::write(&signed, text).expect("written");
        fs::write(&detached, signature).expect("written");
        let openssl = Tool::find("openssl").expect("a tool of the host");
        let mut command = openssl.command();
        command.args(["cms", "-verify", "-binary", "-inform", "DER", "-noverify", "-nointern"]);
        command.arg("-in").arg(&detached).arg("-content").arg(&signed);
        command.arg("-certfile").arg(certificate);
        command.run().is_ok()
    }

    #[test]
    fn openssl_verifies_the_signature_and_no_other() {
        let (_keep, directory) = directory();
        let pair = KeyPair::generate("a test").expect("a pair");
        let (key, certificate) = save(&pair, &directory, "one");
        let (_, other) = save(&KeyPair::generate("another").expect("a pair"), &directory, "two");
        let again = KeyPair::load(&key, &certificate).expect("loaded");
        assert_eq!(again.fingerprint().expect("a digest"), pair.fingerprint().expect("a digest"));
        let signature = pair.sign(b"abc").expect("signed");
        assert_eq!(signature, again.sign(b"abc").expect("signed"), "RSA signs the same each time");
        assert!(verifies(&directory, &signature, "abc", &certificate));
        assert!(!verifies(&directory, &signature, "abd", &certificate));
        assert!(!verifies(&directory, &signature, "abc", &other));
        assert!(matches!(KeyPair::load(&key, &other), Err(SigningError::Mismatch { .. })));
    }

    #[test]
    fn errors_about_key_files_have_a_hint() {
        let (_keep, directory) = directory();
        let (_, certificate) = save(&KeyPair::generate("a test").expect("a pair"), &directory, "one");
        let missing = KeyPair::load(&directory.join("none.key"), &certificate);
        assert!(matches!(&missing, Err(error @ SigningError::File(_)) if error.hint().is_some()));
        let wrong = KeyPair::load(&certificate, &certificate);
        assert!(matches!(wrong, Err(SigningError::Malformed { .. })), "{wrong:?}");
    }
}
