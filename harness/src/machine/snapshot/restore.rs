// SPDX-License-Identifier: Apache-2.0
//! Restores a machine from a snapshot, and checks that it is a copy of the saved one.
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use camino::Utf8PathBuf;
use ssh_key::rand_core::{OsRng, RngCore as _};
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey};

use super::snapshots::SnapshotInUse;
use crate::machine::events::{Answer, Ready};
use crate::machine::machine::{Machine, generate_key};
use crate::machine::plan::MachinePlan;
use crate::machine::start_error::StartError;
use crate::machine::start_mode::StartMode;
use crate::machine::supervisor::Supervisor;

impl Machine {
    /// Restores a machine from a snapshot. It has copy-on-write copies of memory and disks, and sockets and
    /// ports of its own.
    ///
    /// Over the event port, the guest gets the host's time, randomness (in addition to the reseeding that
    /// the vmgenid device causes), an SSH key that may log in, and a host key that the harness knows before
    /// the first connection. Boot ID, nonce and state are those of the snapshot.
    ///
    /// # Errors
    /// As [`Machine::start`]; or QEMU cannot read the snapshot; or the guest does not answer within `limit`,
    /// or not like the saved one.
    pub(crate) async fn restore(
        plan: MachinePlan,
        snapshot: &Arc<SnapshotInUse>,
        directory: Utf8PathBuf,
        relay_program: Utf8PathBuf,
        supervisor: &Supervisor,
        limit: Duration,
    ) -> Result<Self, StartError> {
        let begun = Instant::now();
        let layout = supervisor.layout(&directory, &relay_program);
        let key = generate_key()?;
        let host_key = generate_key()?;
        let mode = StartMode::Restore(snapshot);
        let mut machine = Self::start_from(plan, layout, key, &mode, supervisor).await?;
        let restored = begun.elapsed();
        let request = wake_request(machine.key().public_key(), &host_key)?;
        let answer = machine.request(&request, limit).await;
        let answer = answer.map_err(|fault| StartError::NoCopy { found: fault.to_string() });
        if let Err(error) = answer.and_then(|answer| verify(&answer, snapshot)) {
            machine.stop().await;
            return Err(error);
        }
        let (in_use, gone) = (Arc::clone(snapshot), machine.gone());
        // The snapshot stays in use until QEMU exits.
        supervisor.tasks().spawn(async move {
            gone.await;
            drop(in_use);
        });
        let ready = Ready {
            boot_id: snapshot.snapshot.boot_id.clone(),
            state: snapshot.snapshot.state.clone(),
            since: begun.elapsed(),
        };
        tracing::debug!(machine = %machine.name(), ?restored, awake = ?ready.since, "restored");
        machine.set_ready(ready, host_key.public_key().fingerprint(HashAlg::Sha256).to_string());
        Ok(machine)
    }
}

/// The request that gives a restored guest its own clock, randomness and keys; see `guest_report.sh`.
fn wake_request(authorized: &PublicKey, host_key: &PrivateKey) -> Result<String, ssh_key::Error> {
    let mut entropy = [0; 32];
    OsRng.fill_bytes(&mut entropy);
    let private = host_key.to_openssh(LineEnding::LF)?;
    // The guest adds the first and the last line.
    let body: Vec<&str> = private.lines().filter(|line| !line.starts_with("-----")).collect();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(format!(
        "wake {}.{:09} {} {} {} {}",
        since.as_secs(),
        since.subsec_nanos(),
        hex::encode(entropy),
        base64_of(authorized)?,
        body.join("\\n"),
        base64_of(host_key.public_key())?
    ))
}

/// The second field of a public key such as `ssh-ed25519 AAAA comment`.
fn base64_of(key: &PublicKey) -> Result<String, ssh_key::Error> {
    let line = key.to_openssh()?;
    Ok(line.split(' ').nth(1).unwrap_or_default().to_owned())
}

/// Checks that the guest is a copy of the saved one: it has the same boot ID, and the nonce that only its
/// memory contains.
fn verify(answer: &Answer, saved: &SnapshotInUse) -> Result<(), StartError> {
    match answer {
        Answer::Awake { boot_id, nonce }
            if *boot_id == saved.snapshot.boot_id && *nonce == saved.snapshot.nonce =>
        {
            Ok(())
        }
        other => Err(StartError::NoCopy { found: format!("{other:?}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_of_six_fields() {
        let (key, host_key) = (generate_key().expect("a key"), generate_key().expect("a key"));
        let request = wake_request(key.public_key(), &host_key).expect("a request");
        let fields: Vec<&str> = request.split(' ').collect();
        assert_eq!(fields.len(), 6, "{request}");
        assert!(!request.contains('\n') && request.len() < 1024, "{request}");
        let body = fields[4].replace("\\n", "\n");
        let private =
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n");
        let read = PrivateKey::from_openssh(private).expect("the guest gets a valid key");
        assert_eq!(read.public_key().key_data(), host_key.public_key().key_data());
    }
}
