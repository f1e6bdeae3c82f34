// SPDX-License-Identifier: Apache-2.0
//! Compares the verification of keys and signatures with GnuPG's.
use loadgauge_host::Hint as _;
use std::fs;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

use super::super::SigningKey;
use super::*;

/// A home directory of GnuPG.
struct Home(tempfile::TempDir);

const TEXT: &str = "Suite: test\n- a line with a dash\ntrailing  \n";

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir_in("/tmp").expect("a directory"))
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).expect("UTF-8").join(name)
    }

    /// Runs gpg, at a time such as `20240101T000000!` if one is given.
    fn gpg(&self, time: Option<&str>, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--yes", "--pinentry-mode=loopback", "--passphrase="]);
        command
            .arg("--homedir")
            .arg(self.0.path())
            .args(time.map(|time| format!("--faked-system-time={time}")));
        let output = command.args(arguments).output().expect("gpg runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn keyring(&self, armour: bool) -> Keyring {
        let path = self.path("keys");
        fs::write(&path, self.gpg(None, if armour { &["--armor", "--export"] } else { &["--export"] }))
            .expect("written");
        Keyring::read(&path).expect("keys")
    }

    fn text(&self) -> String {
        let path = self.path("text");
        fs::write(&path, TEXT).expect("written");
        path.to_string()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "all"]).output();
    }
}

#[test]
fn what_gpg_signs_is_verified_and_what_was_changed_is_not() {
    let home = Home::new();
    home.gpg(None, &["--quick-generate-key", "one <one@example.org>", "rsa2048", "sign", "never"]);
    let text = home.text();
    let signed = String::from_utf8(home.gpg(None, &["--clearsign", "--output", "-", &text])).expect("UTF-8");
    for armour in [true, false] {
        let keyring = home.keyring(armour);
        let (found, verified) = keyring.verify_clearsigned(&signed).expect("verified");
        // A signature does not cover blanks at the end of a line (RFC 9580, 7.2).
        assert_eq!(
            found.lines().map(str::trim_end).collect::<Vec<_>>(),
            TEXT.lines().map(str::trim_end).collect::<Vec<_>>()
        );
        assert_eq!(keyring.fingerprints(), [verified.key]);
        let detached = home.gpg(None, &["--detach-sign", "--output", "-", &text]);
        keyring.verify_detached(TEXT.as_bytes(), &detached).expect("verified");
        let armoured = home.gpg(None, &["--armor", "--detach-sign", "--output", "-", &text]);
        keyring.verify_detached(TEXT.as_bytes(), &armoured).expect("verified");
        let error = keyring.verify_detached(b"another", &detached).expect_err("changed");
        assert!(matches!(error, SignatureError::Changed { .. }), "{error}");
        let changed = signed.replace("Suite: test", "Suite: best");
        assert!(matches!(keyring.verify_clearsigned(&changed), Err(SignatureError::Changed { .. })));
        assert!(matches!(keyring.verify_clearsigned(TEXT), Err(SignatureError::Form(_))));
    }
}

#[test]
fn a_text_signature_of_a_file_does_not_count() {
    let home = Home::new();
    home.gpg(None, &["--quick-generate-key", "one <one@example.org>", "ed25519", "sign", "never"]);
    let signature = home.gpg(None, &["--textmode", "--detach-sign", "--output", "-", &home.text()]);
    let keyring = home.keyring(false);
    for content in [TEXT.to_owned(), TEXT.replace('\n', "\r\n")] {
        let error = keyring.verify_detached(content.as_bytes(), &signature).expect_err("a text signature");
        assert!(
            error.to_string().ends_with("it is a text signature, and a binary signature is needed"),
            "{error}"
        );
    }
}

#[test]
fn flatcars_key_is_the_published_one() {
    let keyring = Keyring::flatcar().expect("a key");
    assert_eq!(keyring.fingerprints(), ["F88CFEDEFF29A5B4D9523864E25D9AED0593B34A"]);
    // The subkeys of 2023 and 2025 sign the releases from 3480 on.
    let subkeys = &keyring.certificates[0].public_subkeys;
    for expected in ["E9426D8B67E35DF476BD048185F7C8868837E271", "52F145DFD00BBDCD928CBB5A32DA80F91EF52974"] {
        assert!(
            subkeys.iter().any(|subkey| format!("{:X}", subkey.key.fingerprint()) == expected),
            "{expected}"
        );
    }
}

#[test]
fn another_s_signature_names_its_key() {
    let (home, other) = (Home::new(), Home::new());
    home.gpg(None, &["--quick-generate-key", "one <one@example.org>", "ed25519", "sign", "never"]);
    other.gpg(None, &["--quick-generate-key", "two <two@example.org>", "ed25519", "sign", "never"]);
    let signed =
        String::from_utf8(other.gpg(None, &["--clearsign", "--output", "-", &other.text()])).expect("UTF-8");
    let theirs = other.keyring(false).fingerprints().remove(0);
    let error = home.keyring(false).verify_clearsigned(&signed).expect_err("unknown");
    assert!(error.to_string().contains(&theirs) && error.hint().is_some(), "{error}");
}

#[test]
fn a_signature_is_judged_at_its_own_time() {
    let home = Home::new();
    home.gpg(
        Some("20200101T000000!"),
        &["--quick-generate-key", "one <one@example.org>", "ed25519", "cert", "never"],
    );
    let fingerprint = home.keyring(false).fingerprints().remove(0);
    // Flatcar signs with subkeys that last two years.
    home.gpg(
        Some("20200102T000000!"),
        &["--quick-add-key", &fingerprint, "ed25519", "sign", "20220101T000000"],
    );
    let text = home.text();
    let sign = |time: &str| home.gpg(Some(time), &["--detach-sign", "--output", "-", &text]);
    let in_time = sign("20210101T000000!");
    let keyring = home.keyring(false);
    assert_eq!(keyring.verify_detached(TEXT.as_bytes(), &in_time).expect("verified").key, fingerprint);
    // gpg does not sign with an expired key, so the expiry is moved back after it has signed.
    home.gpg(Some("20210102T000000!"), &["--quick-set-expire", &fingerprint, "20220101T000000", "*"]);
    let late = sign("20211231T000000!");
    home.gpg(Some("20210103T000000!"), &["--quick-set-expire", &fingerprint, "20210601T000000", "*"]);
    let error = home.keyring(false).verify_detached(TEXT.as_bytes(), &late).expect_err("expired");
    assert!(error.to_string().contains("had expired by then"), "{error}");
    assert!(home.keyring(false).verify_detached(TEXT.as_bytes(), &in_time).is_ok());
}

#[test]
fn a_key_that_is_not_for_signing_or_was_revoked_does_not_count() {
    let home = Home::new();
    home.gpg(None, &["--quick-generate-key", "one <one@example.org>", "ed25519", "sign", "never"]);
    let signature = home.gpg(None, &["--detach-sign", "--output", "-", &home.text()]);
    assert!(home.keyring(false).verify_detached(TEXT.as_bytes(), &signature).is_ok());
    let fingerprint = home.keyring(false).fingerprints().remove(0);
    // gpg writes a revocation for each key, with a colon that prevents accidental use.
    let file = home.path(&format!("openpgp-revocs.d/{fingerprint}.rev"));
    let certificate = fs::read_to_string(&file).expect("a revocation").replace(":-----BEGIN", "-----BEGIN");
    fs::write(&file, certificate).expect("written");
    home.gpg(None, &["--import", file.as_str()]);
    let error = home.keyring(false).verify_detached(TEXT.as_bytes(), &signature).expect_err("revoked");
    assert!(error.to_string().contains("revoked"), "{error}");
}

#[test]
fn debians_keys_are_read() {
    let path =
        ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"]
            .into_iter()
            .find(|path| Utf8Path::new(path).exists())
            .expect("debian-archive-keyring is installed");
    assert!(Keyring::read(Utf8Path::new(path)).expect("keys").fingerprints().len() > 3);
    assert!(matches!(
        Keyring::read(Utf8Path::new("/dev/null")),
        Err(SignatureError::NoKeys(_) | SignatureError::Keys { .. })
    ));
}

#[test]
fn gpg_verifies_what_is_signed_here() {
    let home = Home::new();
    let key = SigningKey::generate("Test <test@example.org>").expect("a key");
    let public = home.path("key.asc");
    fs::write(&public, key.public_key().expect("written down")).expect("written");
    home.gpg(None, &["--import", public.as_str()]);
    let text = home.text();
    let signature = home.path("signature");
    fs::write(&signature, key.sign_detached(TEXT.as_bytes()).expect("signed")).expect("written");
    home.gpg(None, &["--verify", signature.as_str(), &text]);
    let plain = TEXT.replace("  ", "");
    fs::write(&signature, key.sign_clear(&plain).expect("signed")).expect("written");
    home.gpg(None, &["--verify", signature.as_str()]);
    let keyring = Keyring::read(&public).expect("keys");
    let (text, _) =
        keyring.verify_clearsigned(&fs::read_to_string(&signature).expect("read")).expect("verified");
    assert_eq!(text, plain);
}
