// SPDX-License-Identifier: Apache-2.0
//! Collects the symptoms of a machine and makes one fault of them.
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::fault::Fault;
use super::symptom::Symptom;
use crate::machine::console::Console;
use crate::machine::qemu::qmp::{Qmp, QmpEvent, RunState};

/// How long further symptoms are awaited after the first, because they may explain it.
const GRACE: Duration = Duration::from_secs(1);
/// The same after QEMU has exited: only its earlier output is still being read.
const DRAIN: Duration = Duration::from_millis(200);
/// How many lines of the console a fault shows if no line is its cause.
const TAIL: usize = 20;

/// Waits for the first symptom, collects further ones for a moment, and publishes the fault.
pub(crate) async fn diagnose(
    mut symptoms: mpsc::Receiver<Symptom>,
    console: Console,
    fault: watch::Sender<Option<Fault>>,
) {
    let Some(first) = symptoms.recv().await else { return };
    let mut deadline = Instant::now() + if is_exit(&first) { DRAIN } else { GRACE };
    let mut seen = vec![first];
    while let Ok(Some(symptom)) = timeout_at(deadline, symptoms.recv()).await {
        if is_exit(&symptom) {
            deadline = deadline.min(Instant::now() + DRAIN);
        }
        seen.push(symptom);
    }
    let found = judge(seen, console.fault(), || console.tail(TAIL));
    tracing::debug!(fault = ?found, "the machine has a fault");
    fault.send_replace(Some(found));
}

fn is_exit(symptom: &Symptom) -> bool {
    matches!(symptom, Symptom::Exited { .. })
}

/// The fault that explains the symptoms. A fault on the console is the cause of all others.
fn judge(seen: Vec<Symptom>, console: Option<Fault>, tail: impl FnOnce() -> Vec<String>) -> Fault {
    if let Some(fault) = console {
        return fault;
    }
    // Causes come before their consequences: a suspended host loses connections, a full disk stops the
    // guest, a QEMU that exits ends the TPM.
    let order = |symptom: &Symptom| match symptom {
        Symptom::Panicked => 0,
        Symptom::Clock { .. } => 1,
        Symptom::Disk { .. } => 2,
        Symptom::Flood { .. } => 3,
        Symptom::Stopped(_) => 4,
        Symptom::PoweredOff => 5,
        Symptom::Exited { .. } => 6,
        Symptom::Tpm { .. } => 7,
        Symptom::Hung { .. } => 8,
        Symptom::Halted => 9,
        Symptom::Starved { .. } => 10,
        Symptom::Ssh { .. } => 11,
        Symptom::Console => 12,
    };
    match seen.into_iter().min_by_key(order) {
        Some(Symptom::Panicked) => {
            Fault::Panic { line: "reported by pvpanic, and not on the console".into(), console: tail() }
        }
        Some(Symptom::Stopped(state)) => Fault::Stopped { reason: state.to_string() },
        Some(Symptom::PoweredOff) => Fault::PoweredOff,
        Some(Symptom::Exited { status, log }) => Fault::Exited { status, log },
        Some(Symptom::Disk { device, operation, reason }) => Fault::Disk { device, operation, reason },
        Some(Symptom::Hung { seconds, state }) => Fault::Hung { seconds, state },
        Some(Symptom::Halted) => Fault::Halted { console: tail() },
        Some(Symptom::Clock { what }) => Fault::Clock { what },
        Some(Symptom::Tpm { status, log }) => Fault::Tpm { status, log },
        Some(Symptom::Flood { what, bytes }) => Fault::Flood { what, bytes },
        Some(Symptom::Starved { what, share }) => Fault::starved(what, share, tail()),
        Some(Symptom::Ssh { what }) => Fault::Ssh { what, console: tail() },
        // The line is no longer in memory: only a guest that floods its console does that.
        Some(Symptom::Console) | None => {
            Fault::Stopped { reason: "a line on its console ended the boot".into() }
        }
    }
}

/// Watches QEMU's events for symptoms until QEMU exits.
pub(crate) async fn watch(
    mut events: mpsc::Receiver<QmpEvent>,
    qmp: Qmp,
    console: Console,
    resets: watch::Sender<Instant>,
    symptoms: mpsc::Sender<Symptom>,
) {
    while let Some(event) = events.recv().await {
        tracing::debug!(event = %event.name, data = %event.data, "event of QEMU");
        let symptom = match event.name.as_str() {
            "GUEST_PANICKED" => Some(Symptom::Panicked),
            "SHUTDOWN" => {
                // `guest` is false if the harness asked for it.
                (event.data["guest"] == true).then_some(Symptom::PoweredOff)
            }
            "RESET" => {
                console.reset();
                resets.send_replace(Instant::now());
                None
            }
            "BLOCK_IO_ERROR" => disk_error(&event.data),
            "STOP" => stopped(&qmp).await,
            _ => None,
        };
        if let Some(symptom) = symptom {
            let _ = symptoms.send(symptom).await;
        }
    }
}

/// The symptom of a disk error that stopped the guest (`BLOCK_IO_ERROR` in QEMU's
/// `qapi/block-core.json`).
fn disk_error(data: &Value) -> Option<Symptom> {
    if data["action"] != "stop" {
        return None;
    }
    let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
    Some(Symptom::Disk { device: text("device"), operation: text("operation"), reason: text("reason") })
}

/// Why the guest was stopped, unless it runs again or QEMU sends another event for the cause.
async fn stopped(qmp: &Qmp) -> Option<Symptom> {
    match qmp.run_state().await.ok()? {
        RunState::Running | RunState::Shutdown => None,
        RunState::GuestPanicked => Some(Symptom::Panicked),
        state @ RunState::Other(_) => Some(Symptom::Stopped(state)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::capped_file::CappedFile;

    fn exited() -> Symptom {
        Symptom::Exited { status: "exit status: 0".into(), log: String::new() }
    }

    #[test]
    fn the_cause_is_reported_and_not_its_consequence() {
        let judge = |seen: &[Symptom], console| super::judge(seen.to_vec(), console, Vec::new);
        let line = Fault::Initrd { line: "CRITICAL".into(), console: vec![] };
        assert_eq!(judge(&[exited(), Symptom::Console], Some(line.clone())), line);
        assert_eq!(judge(&[Symptom::PoweredOff, exited()], None), Fault::PoweredOff);
        assert!(matches!(
            judge(&[Symptom::Stopped(RunState::Other("x".into())), Symptom::Panicked], None),
            Fault::Panic { .. }
        ));
        assert!(matches!(judge(&[exited()], None), Fault::Exited { .. }));
        let disk = Symptom::Disk {
            device: "disk".into(),
            operation: "write".into(),
            reason: "No space left on device".into(),
        };
        assert!(matches!(
            judge(&[Symptom::Stopped(RunState::Other("io-error".into())), disk], None),
            Fault::Disk { .. }
        ));
        let tpm = Symptom::Tpm { status: "exit status: 0".into(), log: String::new() };
        assert!(matches!(judge(&[tpm, exited()], None), Fault::Exited { .. }));
        let (ssh, clock) = (Symptom::Ssh { what: "x".into() }, Symptom::Clock { what: "slept".into() });
        assert!(matches!(judge(&[ssh, clock], None), Fault::Clock { .. }));
    }

    #[test]
    fn only_a_disk_error_that_stopped_the_guest_is_a_symptom() {
        let data = |action: &str| {
            serde_json::json!({ "device": "disk", "operation": "write", "action": action, "nospace": true,
                "reason": "No space left on device" })
        };
        assert!(
            matches!(disk_error(&data("stop")), Some(Symptom::Disk { reason, .. }) if reason.contains("space"))
        );
        assert_eq!(disk_error(&data("report")), None);
    }

    #[tokio::test]
    async fn a_later_symptom_that_explains_more_is_awaited() {
        let (sender, symptoms) = mpsc::channel(8);
        let (fault, mut found) = watch::channel(None);
        let console = Console::default();
        tokio::spawn(diagnose(symptoms, console.clone(), fault));
        sender.send(Symptom::Panicked).await.expect("sent");
        tokio::time::sleep(GRACE / 2).await;
        let text = b"Kernel panic - not syncing: late\n".as_slice();
        console.watch(text, CappedFile::nowhere(), sender.clone()).await;
        let found = found.wait_for(Option::is_some).await.expect("a fault").clone();
        assert!(matches!(found, Some(Fault::Panic { line, .. }) if line.ends_with("late")));
    }
}
