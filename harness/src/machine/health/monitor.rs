// SPDX-License-Identifier: Apache-2.0
//! Makes one fault of the signs by which a machine shows that it cannot go on.
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::fault::Fault;
use crate::machine::console::Console;
use crate::machine::qemu::qmp::{Qmp, QmpEvent};

/// How long is waited after the first sign for those that say why.
const GRACE: Duration = Duration::from_secs(1);
/// The same once QEMU has ended: only what it wrote before is still on its way.
const DRAIN: Duration = Duration::from_millis(200);
/// How many lines of the console are shown where none of them tells.
const TAIL: usize = 20;

/// A sign that a machine cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Symptom {
    /// a line of the console says so
    Console,
    /// the guest told QEMU that its kernel panicked
    Panicked,
    /// QEMU stopped the guest, in this state
    Stopped(String),
    /// the guest powered itself off
    PoweredOff,
    /// QEMU ended
    Exited {
        /// with this status
        status: String,
        /// after these words
        words: String,
    },
    /// the host could not read or write a disk of the guest
    Disk {
        /// which, as `info block` calls it
        device: String,
        /// `read` or `write`
        operation: String,
        /// why not
        reason: String,
    },
    /// QEMU does not answer
    Hung {
        /// for this long
        seconds: u64,
        /// and what its process does
        state: String,
    },
    /// no processor of the guest can ever run again
    Halted,
    /// something happened to the host's time
    Clock {
        /// what
        what: String,
    },
    /// the TPM's process ended
    Tpm {
        /// with this status
        status: String,
        /// after these words
        words: String,
    },
    /// the guest no longer speaks SSH
    Ssh {
        /// how that showed
        what: String,
    },
}

/// Waits for the first symptom, gives the others a moment, and tells the fault that they make.
pub(crate) async fn diagnose(
    mut symptoms: mpsc::Receiver<Symptom>,
    console: Console,
    fault: watch::Sender<Option<Fault>>,
) {
    let Some(first) = symptoms.recv().await else { return };
    let mut deadline = Instant::now() + if ends(&first) { DRAIN } else { GRACE };
    let mut seen = vec![first];
    while let Ok(Some(symptom)) = timeout_at(deadline, symptoms.recv()).await {
        if ends(&symptom) {
            deadline = deadline.min(Instant::now() + DRAIN);
        }
        seen.push(symptom);
    }
    let found = judge(seen, console.fault(), || console.tail(TAIL));
    tracing::debug!(fault = ?found, "the machine cannot go on");
    fault.send_replace(Some(found));
}

fn ends(symptom: &Symptom) -> bool {
    matches!(symptom, Symptom::Exited { .. })
}

/// The fault that the symptoms make: the console's, where it says one, is the cause of the others.
fn judge(seen: Vec<Symptom>, console: Option<Fault>, tail: impl FnOnce() -> Vec<String>) -> Fault {
    if let Some(fault) = console {
        return fault;
    }
    // A cause stands before its consequences: a host that slept loses connections, a full disk stops
    // the guest, a QEMU that ends takes the TPM along.
    let order = |symptom: &Symptom| match symptom {
        Symptom::Panicked => 0,
        Symptom::Clock { .. } => 1,
        Symptom::Disk { .. } => 2,
        Symptom::Stopped(_) => 3,
        Symptom::PoweredOff => 4,
        Symptom::Exited { .. } => 5,
        Symptom::Tpm { .. } => 6,
        Symptom::Hung { .. } => 7,
        Symptom::Halted => 8,
        Symptom::Ssh { .. } => 9,
        Symptom::Console => 10,
    };
    match seen.into_iter().min_by_key(order) {
        Some(Symptom::Panicked) => Fault::Panic {
            line: "the guest told QEMU so, and nothing to its console".into(),
            console: tail(),
        },
        Some(Symptom::Stopped(reason)) => Fault::Stopped { reason },
        Some(Symptom::PoweredOff) => Fault::PoweredOff,
        Some(Symptom::Exited { status, words }) => Fault::Exited { status, words },
        Some(Symptom::Disk { device, operation, reason }) => Fault::Disk { device, operation, reason },
        Some(Symptom::Hung { seconds, state }) => Fault::Hung { seconds, state },
        Some(Symptom::Halted) => Fault::Halted { console: tail() },
        Some(Symptom::Clock { what }) => Fault::Clock { what },
        Some(Symptom::Tpm { status, words }) => Fault::Tpm { status, words },
        Some(Symptom::Ssh { what }) => Fault::Ssh { what, console: tail() },
        // The line that was seen is gone: only a guest that floods its console does that.
        Some(Symptom::Console) | None => {
            Fault::Stopped { reason: "its console said that it cannot go on".into() }
        }
    }
}

/// Watches QEMU's events for what ends a machine, until QEMU ends.
pub(crate) async fn watch(
    mut events: mpsc::UnboundedReceiver<QmpEvent>,
    qmp: Qmp,
    console: Console,
    resets: watch::Sender<Instant>,
    symptoms: mpsc::Sender<Symptom>,
) {
    while let Some(event) = events.recv().await {
        tracing::debug!(event = %event.name, data = %event.data, "QEMU tells");
        let symptom = match event.name.as_str() {
            "GUEST_PANICKED" => Some(Symptom::Panicked),
            "SHUTDOWN" => {
                // `guest` is false when the harness asked for it.
                (event.data["guest"] == true).then_some(Symptom::PoweredOff)
            }
            "RESET" => {
                console.reset();
                resets.send_replace(Instant::now());
                None
            }
            "BLOCK_IO_ERROR" => disk(&event.data),
            "STOP" => stopped(&qmp).await,
            _ => None,
        };
        if let Some(symptom) = symptom {
            let _ = symptoms.send(symptom).await;
        }
    }
}

/// What QEMU says of a disk that the host could not read or write, if the guest was stopped for it
/// (`BLOCK_IO_ERROR` in QEMU's `qapi/block-core.json`).
fn disk(data: &Value) -> Option<Symptom> {
    if data["action"] != "stop" {
        return None;
    }
    let word = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
    Some(Symptom::Disk { device: word("device"), operation: word("operation"), reason: word("reason") })
}

/// Why the guest was stopped, unless it goes on or QEMU is about to tell with an event of its own.
async fn stopped(qmp: &Qmp) -> Option<Symptom> {
    let status = qmp.status().await.ok()?;
    match status.as_str() {
        "running" | "shutdown" => None,
        "guest-panicked" => Some(Symptom::Panicked),
        _ => Some(Symptom::Stopped(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited() -> Symptom {
        Symptom::Exited { status: "exit status: 0".into(), words: String::new() }
    }

    #[test]
    fn the_cause_is_told_and_not_the_consequence() {
        let judge = |seen: &[Symptom], console| super::judge(seen.to_vec(), console, Vec::new);
        let line = Fault::Initrd { line: "CRITICAL".into(), console: vec![] };
        assert_eq!(judge(&[exited(), Symptom::Console], Some(line.clone())), line);
        assert_eq!(judge(&[Symptom::PoweredOff, exited()], None), Fault::PoweredOff);
        assert!(matches!(
            judge(&[Symptom::Stopped("x".into()), Symptom::Panicked], None),
            Fault::Panic { .. }
        ));
        assert!(matches!(judge(&[exited()], None), Fault::Exited { .. }));
        let disk = Symptom::Disk {
            device: "disk".into(),
            operation: "write".into(),
            reason: "No space left on device".into(),
        };
        assert!(matches!(judge(&[Symptom::Stopped("io-error".into()), disk], None), Fault::Disk { .. }));
        let tpm = Symptom::Tpm { status: "exit status: 0".into(), words: String::new() };
        assert!(matches!(judge(&[tpm, exited()], None), Fault::Exited { .. }));
        let (ssh, clock) = (Symptom::Ssh { what: "x".into() }, Symptom::Clock { what: "slept".into() });
        assert!(matches!(judge(&[ssh, clock], None), Fault::Clock { .. }));
    }

    #[test]
    fn only_an_error_that_stopped_the_guest_ends_the_machine() {
        let data = |action: &str| {
            serde_json::json!({ "device": "disk", "operation": "write", "action": action, "nospace": true,
                "reason": "No space left on device" })
        };
        assert!(
            matches!(disk(&data("stop")), Some(Symptom::Disk { reason, .. }) if reason.contains("space"))
        );
        assert_eq!(disk(&data("report")), None);
    }

    #[tokio::test]
    async fn a_later_symptom_that_says_more_is_waited_for() {
        let (sender, symptoms) = mpsc::channel(8);
        let (fault, mut found) = watch::channel(None);
        let console = Console::default();
        tokio::spawn(diagnose(symptoms, console.clone(), fault));
        sender.send(Symptom::Panicked).await.expect("sent");
        tokio::time::sleep(GRACE / 2).await;
        let text = b"Kernel panic - not syncing: late\n".as_slice();
        console.watch(text, tokio::io::sink(), sender.clone()).await;
        let found = found.wait_for(Option::is_some).await.expect("a fault").clone();
        assert!(matches!(found, Some(Fault::Panic { line, .. }) if line.ends_with("late")));
    }
}
