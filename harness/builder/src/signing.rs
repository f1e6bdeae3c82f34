// SPDX-License-Identifier: Apache-2.0
//! The key pair that signs verity root hashes, and its signatures.
use loadgauge_host::Hint;
use std::fmt;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkcs7::{Pkcs7, Pkcs7Flags};
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::stack::Stack;
use openssl::x509::{X509, X509NameBuilder};

/// A private key and the certificate for it, which systems that are to trust the key have in
/// `/etc/verity.d` or `/usr/lib/verity.d`.
///
/// RSA keys give the same signature of the same text each time; those on elliptic curves do not,
/// and make a signed image one that cannot be built again with the same bytes.
#[derive(Clone)]
pub struct KeyPair {
    key: PKey<Private>,
    certificate: X509,
}

/// A key pair that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// a file cannot be read
    #[error("cannot read `{path}`")]
    Read {
        /// which
        path: Utf8PathBuf,
        /// why not
        source: std::io::Error,
    },
    /// not what it should be
    #[error("`{path}` is not {expected} in PEM")]
    Malformed {
        /// which file
        path: Utf8PathBuf,
        /// what it should be
        expected: &'static str,
        /// OpenSSL's words
        source: ErrorStack,
    },
    /// one of the two belongs to something else
    #[error("the certificate `{certificate}` is not for the private key `{key}`")]
    Mismatch {
        /// the file of the key
        key: Utf8PathBuf,
        /// the file of the certificate
        certificate: Utf8PathBuf,
    },
    /// OpenSSL refuses
    #[error("OpenSSL cannot {action}")]
    OpenSsl {
        /// what was to be done
        action: &'static str,
        /// its words
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
            Self::Read { .. } | Self::Malformed { .. } => Some(
                "make a pair: openssl req -x509 -newkey rsa:4096 -noenc -subj /CN=sysexts -days 3650 \
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
        let read = |path: &Utf8Path| {
            fs::read(path).map_err(|source| SigningError::Read { path: path.to_owned(), source })
        };
        let malformed = |path: &Utf8Path, expected| {
            let path = path.to_owned();
            move |source| SigningError::Malformed { path, expected, source }
        };
        // Without a callback OpenSSL would ask for a passphrase on the terminal.
        let private = PKey::private_key_from_pem_callback(&read(key)?, |_| Ok(0))
            .map_err(malformed(key, "a private key without a passphrase"))?;
        let public = X509::from_pem(&read(certificate)?).map_err(malformed(certificate, "a certificate"))?;
        if !public.public_key().is_ok_and(|public| public.public_eq(&private)) {
            let (key, certificate) = (key.to_owned(), certificate.to_owned());
            return Err(SigningError::Mismatch { key, certificate });
        }
        Ok(Self { key: private, certificate: public })
    }

    /// Makes a pair that nobody else has: RSA of 2048 bits, a certificate of its own that is valid
    /// for ten years from now. It lies in memory alone.
    ///
    /// # Errors
    /// OpenSSL cannot make it.
    pub fn generate(common_name: &str) -> Result<Self, SigningError> {
        generate(common_name).map_err(SigningError::openssl("make a key pair"))
    }

    /// The certificate in PEM, for `verity.d` of whoever is to trust the key.
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

    /// Signs a text: PKCS#7 in DER, detached, without signed attributes, as the kernel's
    /// dm-verity and systemd take it.
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

/// The key is nobody's business.
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
    fn openssl_verifies_a_signature_and_no_other() {
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
    fn files_that_are_no_keys_are_told_with_a_way_out() {
        let (_keep, directory) = directory();
        let (_, certificate) = save(&KeyPair::generate("a test").expect("a pair"), &directory, "one");
        let missing = KeyPair::load(&directory.join("none.key"), &certificate);
        assert!(matches!(&missing, Err(error @ SigningError::Read { .. }) if error.hint().is_some()));
        let wrong = KeyPair::load(&certificate, &certificate);
        assert!(matches!(wrong, Err(SigningError::Malformed { .. })), "{wrong:?}");
    }
}
