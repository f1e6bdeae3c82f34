// SPDX-License-Identifier: Apache-2.0
//! Makes a machine of a snapshot, and has it prove that it is one.
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use camino::Utf8PathBuf;
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey};

use super::snapshots::Held;
use crate::machine::events::{Answer, Ready};
use crate::machine::machine::Machine;
use crate::machine::machine::fresh_key;
use crate::machine::plan::MachinePlan;
use crate::machine::start::StartError;
use crate::machine::start_mode::StartMode;
use crate::machine::supervisor::Supervisor;

impl Machine {
    /// Starts a machine from a snapshot: it gets a copy of memory and disk, which each page and block is
    /// taken for once it is written to, and sockets and ports of its own.
    ///
    /// The guest then becomes a machine of its own, over its port for events: it gets the host's time,
    /// fresh randomness (beside what the kernel draws by itself when the vmgenid device tells it that it
    /// was copied), a key of the host's own to let in, and a key to show to whoever connects, which is
    /// known to the harness before the first connection. Boot id, nonce and state are the snapshot's.
    ///
    /// # Errors
    /// As [`Machine::start`]; or QEMU cannot read the snapshot; or the guest does not answer within
    /// `limit`, or not as the one that was saved.
    pub(crate) async fn restore(
        plan: MachinePlan,
        held: &Arc<Held>,
        directory: Utf8PathBuf,
        relay_program: Utf8PathBuf,
        supervisor: &Supervisor,
        limit: Duration,
    ) -> Result<Self, StartError> {
        let begun = Instant::now();
        let layout = supervisor.layout(&directory, &relay_program);
        let key = fresh_key()?;
        let host_key = fresh_key()?;
        let mut machine = Self::begin(plan, layout, key, &StartMode::Restore(held), supervisor).await?;
        let restored = begun.elapsed();
        let order = wake(machine.key().public_key(), &host_key)?;
        let answer = machine.order(&order, limit).await;
        let proof = answer.map_err(|fault| StartError::NoCopy { found: fault.to_string() });
        if let Err(error) = proof.and_then(|answer| prove(&answer, held)) {
            machine.stop().await;
            return Err(error);
        }
        let (kept, gone) = (Arc::clone(held), machine.gone());
        // The snapshot stays as long as QEMU runs from it.
        supervisor.tasks().spawn(async move {
            gone.await;
            drop(kept);
        });
        let ready = Ready {
            boot_id: held.snapshot.boot_id.clone(),
            state: held.snapshot.state.clone(),
            since: begun.elapsed(),
        };
        tracing::debug!(machine = %machine.name(), ?restored, awake = ?ready.since, "restored");
        machine.declare(ready, host_key.public_key().fingerprint(HashAlg::Sha256).to_string());
        Ok(machine)
    }
}

/// The order to become a machine of its own; see `guest_report.sh`.
fn wake(authorized: &PublicKey, host_key: &PrivateKey) -> Result<String, ssh_key::Error> {
    let entropy: [u8; 32] = rand_bytes();
    let private = host_key.to_openssh(LineEnding::LF)?;
    // Only the lines between the first and the last: the guest puts those around them.
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

/// The middle of a line such as `ssh-ed25519 AAAA comment`.
fn base64_of(key: &PublicKey) -> Result<String, ssh_key::Error> {
    let line = key.to_openssh()?;
    Ok(line.split(' ').nth(1).unwrap_or_default().to_owned())
}

fn rand_bytes() -> [u8; 32] {
    use ssh_key::rand_core::{OsRng, RngCore as _};
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// Whether the guest is a copy of the one that was saved: it has the same boot id, and remembers the
/// word that only its memory holds.
fn prove(answer: &Answer, held: &Held) -> Result<(), StartError> {
    match answer {
        Answer::Awake { boot_id, nonce }
            if *boot_id == held.snapshot.boot_id && *nonce == held.snapshot.nonce =>
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
    fn an_order_is_one_line_of_six_words() {
        let (key, host_key) = (fresh_key().expect("a key"), fresh_key().expect("a key"));
        let order = wake(key.public_key(), &host_key).expect("an order");
        let words: Vec<&str> = order.split(' ').collect();
        assert_eq!(words.len(), 6, "{order}");
        assert!(!order.contains('\n') && order.len() < 1024, "{order}");
        let body = words[4].replace("\\n", "\n");
        let private =
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n");
        let read = PrivateKey::from_openssh(private).expect("what the guest makes of it is a key");
        assert_eq!(read.public_key().key_data(), host_key.public_key().key_data());
    }
}
