// SPDX-License-Identifier: Apache-2.0
use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{RevocationCode, Signature, SignatureType};
use pgp::types::KeyDetails as _;

/// The most that a clock may be ahead, in seconds.
const DAY: u32 = 24 * 60 * 60;

/// Returns the reason why a signature of an expected kind is not acceptable, if there is one.
///
/// rPGP leaves this policy to its callers; sequoia includes one, but is LGPL.
///
/// A signature is judged at its own time, so it stays valid after its key has expired. A new
/// self-signature extends a key, so the newest one contains the expiry (RFC 9580, 5.2.3.10). A
/// compromised key is never accepted.
pub(super) fn objection(
    certificate: &SignedPublicKey,
    subkey: Option<&SignedPublicSubKey>,
    (signature, kind): (&Signature, SignatureType),
    now: u32,
) -> Option<String> {
    if signature.typ() != Some(kind) {
        let (found, expected) = (name_of(signature.typ()), name_of(Some(kind)));
        return Some(format!("it is a {found} signature, and a {expected} signature is needed"));
    }
    let Some(time) = signature.created().map(pgp::types::Timestamp::as_secs) else {
        return Some("it has no creation time".to_owned());
    };
    if time > now.saturating_add(DAY) {
        return Some("it is dated in the future".to_owned());
    }
    if let Some(weak) = signature.hash_alg().filter(|hash| is_weak(*hash)) {
        return Some(format!("its digest {weak} can be forged"));
    }
    objection_to_primary(certificate, time, subkey.is_none())
        .or_else(|| subkey.and_then(|subkey| objection_to_subkey(certificate, subkey, time)))
}

fn objection_to_primary(certificate: &SignedPublicKey, time: u32, signs: bool) -> Option<String> {
    let primary = &certificate.primary_key;
    let revocations = certificate.details.revocation_signatures.iter();
    let revocations = revocations.filter(|revocation| revocation.verify_key(primary).is_ok());
    if revoked(revocations, time) {
        return Some("the key was revoked".to_owned());
    }
    let direct = certificate.details.direct_signatures.iter();
    let direct =
        direct.filter(|own| own.typ() == Some(SignatureType::Key) && own.verify_key(primary).is_ok());
    let users = certificate.details.users.iter().flat_map(|user| {
        let valid = move |own: &&Signature| {
            own.is_certification()
                && own.verify_certification(primary, pgp::types::Tag::UserId, &user.id).is_ok()
        };
        user.signatures.iter().filter(valid)
    });
    let Some(own) = newest(direct.chain(users)) else {
        return Some("the key does not vouch for itself".to_owned());
    };
    let created = primary.created_at().as_secs();
    if signs && !own.key_flags().sign() {
        return Some("the key is not one for signing".to_owned());
    }
    lifetime(created, own, time)
}

fn objection_to_subkey(
    certificate: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    time: u32,
) -> Option<String> {
    let primary = &certificate.primary_key;
    let of_type = |kind: SignatureType| {
        subkey.signatures.iter().filter(move |one| {
            one.typ() == Some(kind) && one.verify_subkey_binding(primary, &subkey.key).is_ok()
        })
    };
    if revoked(of_type(SignatureType::SubkeyRevocation), time) {
        return Some("the subkey was revoked".to_owned());
    }
    let Some(own) = newest(of_type(SignatureType::SubkeyBinding)) else {
        return Some("the subkey is not bound to its key".to_owned());
    };
    if !own.key_flags().sign() {
        return Some("the subkey is not one for signing".to_owned());
    }
    // Without the subkey's own signature anybody could bind it to a key of their own.
    let consents = own
        .embedded_signature()
        .is_some_and(|consent| consent.verify_primary_key_binding(&subkey.key, primary).is_ok());
    if !consents {
        return Some("the subkey did not consent to belong to its key".to_owned());
    }
    lifetime(subkey.key.created_at().as_secs(), own, time)
}

/// Returns the reason why a time is outside of a key's lifetime, if it is.
fn lifetime(created: u32, own: &Signature, time: u32) -> Option<String> {
    if time < created {
        return Some("it is dated before the key was made".to_owned());
    }
    let lifetime = own.key_expiration_time().map_or(0, pgp::types::Duration::as_secs);
    // An absent or zero lifetime means that the key does not expire.
    if lifetime != 0 && u64::from(time) >= u64::from(created) + u64::from(lifetime) {
        return Some("the key had expired by then".to_owned());
    }
    None
}

/// Returns the newest signature, if there is one.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|one| one.created())
}

/// Whether a key was revoked at a time.
///
/// The revocation of a superseded or retired key counts from its own date on, any other from the start.
fn revoked<'a>(mut revocations: impl Iterator<Item = &'a Signature>, time: u32) -> bool {
    revocations.any(|revocation| match revocation.revocation_reason_code() {
        Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired) => {
            revocation.created().is_none_or(|created| created.as_secs() <= time)
        }
        _ => true,
    })
}

fn name_of(kind: Option<SignatureType>) -> String {
    match kind {
        Some(SignatureType::Binary) => "binary".to_owned(),
        Some(SignatureType::Text) => "text".to_owned(),
        Some(other) => format!("{other:?}"),
        None => "malformed".to_owned(),
    }
}

fn is_weak(hash: HashAlgorithm) -> bool {
    matches!(hash, HashAlgorithm::Md5 | HashAlgorithm::Sha1 | HashAlgorithm::Ripemd160)
}
