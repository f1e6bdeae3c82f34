// SPDX-License-Identifier: Apache-2.0
//! The guest's event port: readiness, and answers to requests.
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::health::symptom::Symptom;
use super::lines::next_line;
use super::log_limit::{LogLimit, beginning};

/// The longest line that is accepted from a guest, in bytes.
const LONGEST: usize = 4096;
/// How many answers wait to be read; further ones are dropped, because the harness asks one question at a time.
pub(crate) const ANSWERS: usize = 16;
/// The number of lines from which on a guest floods the port: it has one for each boot and each request.
const FLOOD: u64 = 10_000;
/// How many unknown lines are logged.
const LOGGED: u32 = 3;

/// A guest that has booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// the kernel's boot ID, which changes with each reboot
    pub boot_id: String,
    /// what `systemctl is-system-running` printed: `running`, or `degraded` if a unit failed
    pub state: String,
    /// the time from power-on, or from the guest's last reset, to this report
    pub since: Duration,
}

/// The guest's answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// to `hold`: the nonce is in the guest's memory
    NonceStored {
        /// the nonce
        nonce: String,
    },
    /// to `wake`: the restored guest has a clock, randomness and keys of its own
    Awake {
        /// the kernel's boot ID
        boot_id: String,
        /// the nonce in the guest's memory
        nonce: String,
    },
    /// to `links` or `units`
    Status {
        /// the number of the request: answers to earlier ones may be late
        number: u64,
        /// name and state of each link or unit
        states: Vec<(String, String)>,
    },
}

/// A line from the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Message {
    Ready { boot_id: String, state: String },
    Answer(Answer),
}

/// Reads the event port to its end, and reports a guest that floods it. The first unknown lines are logged.
pub(crate) async fn watch(
    stream: impl AsyncRead + Unpin,
    started: watch::Receiver<Instant>,
    ready: watch::Sender<Option<Ready>>,
    answers: mpsc::Sender<Answer>,
    symptoms: mpsc::Sender<Symptom>,
) {
    let mut stream = BufReader::new(stream);
    let mut lines = 0;
    let unknown = LogLimit::of(LOGGED);
    loop {
        let line = match next_line(&mut stream, LONGEST).await {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, "cannot read the guest's event port"),
        };
        lines += 1;
        if lines == FLOOD {
            let bytes = FLOOD * LONGEST as u64;
            let _ = symptoms.send(Symptom::Flood { what: "event port".to_owned(), bytes }).await;
        }
        match parse(&line) {
            Some(Message::Ready { boot_id, state }) => {
                let since = started.borrow().elapsed();
                tracing::debug!(boot_id, state, ?since, "the guest is ready");
                ready.send_replace(Some(Ready { boot_id, state, since }));
            }
            // The receiver is gone if the machine is being stopped.
            Some(Message::Answer(answer)) => drop(answers.try_send(answer)),
            None if unknown.allows() => {
                tracing::warn!(line = beginning(&line), "unknown line on the guest's event port");
            }
            None => {}
        }
    }
}

/// Parses `ready boot_id=ID state=STATE`, `holding nonce=NONCE`, `awake boot_id=ID nonce=NONCE`, or `links`
/// and `units` with `number=NUMBER NAME=STATE ...`.
fn parse(line: &str) -> Option<Message> {
    let (name, fields) = line.trim().split_once(' ')?;
    let field = |name: &str| {
        let field = fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?;
        Some(field.to_owned()).filter(|value| !value.is_empty())
    };
    match name {
        "ready" => Some(Message::Ready {
            boot_id: field("boot_id")?,
            state: field("state").unwrap_or_else(|| "unknown".to_owned()),
        }),
        "holding" => Some(Message::Answer(Answer::NonceStored { nonce: field("nonce")? })),
        "awake" => {
            Some(Message::Answer(Answer::Awake { boot_id: field("boot_id")?, nonce: field("nonce")? }))
        }
        "links" | "units" => {
            let number = field("number")?.parse().ok()?;
            let states = fields.split(' ').skip(1).filter_map(|field| field.split_once('='));
            let states = states.map(|(name, state)| (name.to_owned(), state.to_owned())).collect();
            Some(Message::Answer(Answer::Status { number, states }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ready_line_has_the_boot_id_and_the_state() {
        let ready = |boot_id: &str, state: &str| {
            Some(Message::Ready { boot_id: boot_id.to_owned(), state: state.to_owned() })
        };
        assert_eq!(parse("ready boot_id=1-2 state=degraded\r"), ready("1-2", "degraded"));
        assert_eq!(parse("ready boot_id=1-2 state="), ready("1-2", "unknown"));
        assert_eq!(parse("ready boot_id= state=running"), None);
        assert_eq!(parse("hello"), None);
    }

    #[test]
    fn answers_are_parsed() {
        let holding = Answer::NonceStored { nonce: "ab".to_owned() };
        assert_eq!(parse("holding nonce=ab"), Some(Message::Answer(holding)));
        let awake = Answer::Awake { boot_id: "1-2".to_owned(), nonce: "none".to_owned() };
        assert_eq!(parse("awake boot_id=1-2 nonce=none"), Some(Message::Answer(awake)));
        assert_eq!(parse("awake boot_id=1-2"), None);
        let status = |number, states: &[(&str, &str)]| {
            let states = states.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned()));
            Some(Message::Answer(Answer::Status { number, states: states.collect() }))
        };
        assert_eq!(parse("links number=7 eth0=down eth1=up"), status(7, &[("eth0", "down"), ("eth1", "up")]));
        assert_eq!(parse("links number=8"), status(8, &[]), "a guest without links");
        assert_eq!(parse("units number= sshd.socket=active"), None);
    }

    #[tokio::test]
    async fn the_last_boot_counts_and_noise_is_ignored() {
        let bytes = b"ready boot_id=a state=running\n\xff\n\nready boot_id=b state=running\n".as_slice();
        let (sender, ready) = watch::channel(None);
        watch(bytes, watch::channel(Instant::now()).1, sender, mpsc::channel(1).0, mpsc::channel(1).0).await;
        assert_eq!(ready.borrow().as_ref().map(|ready| ready.boot_id.clone()).as_deref(), Some("b"));
    }

    #[tokio::test]
    async fn a_flood_of_answers_is_bounded_and_reported() {
        let flood = "awake boot_id=a nonce=b\n".repeat(20_000);
        let (ready, _) = watch::channel(None);
        let (answers_in, mut answers) = mpsc::channel(ANSWERS);
        let (symptoms_in, mut symptoms) = mpsc::channel(8);
        watch(flood.as_bytes(), watch::channel(Instant::now()).1, ready, answers_in, symptoms_in).await;
        assert!(matches!(symptoms.recv().await, Some(Symptom::Flood { what, .. }) if what == "event port"));
        assert!(symptoms.recv().await.is_none(), "once");
        let mut waiting = 0;
        while answers.recv().await.is_some() {
            waiting += 1;
        }
        assert_eq!(waiting, ANSWERS);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in any::<String>()) {
            let _ = parse(&line);
        }
    }
}
