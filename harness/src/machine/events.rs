// SPDX-License-Identifier: Apache-2.0
//! What the guest tells the harness by itself.
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::lines::next_line;

/// The longest line that is taken from a guest.
const LONGEST: usize = 4096;

/// A guest that has come up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// the kernel's id of this boot, another one after each reboot
    pub boot_id: String,
    /// what `systemctl is-system-running` said: `running`, or `degraded` where a unit failed
    pub state: String,
    /// from power-on, or from the guest's last reset, to the line that says so
    pub since: Duration,
}

/// What a guest says when it has done as it was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// it keeps a word in memory
    Holding {
        /// the word
        nonce: String,
    },
    /// it has become a machine of its own
    Awake {
        /// the kernel's id of its boot
        boot_id: String,
        /// the word that it keeps in memory
        nonce: String,
    },
    /// it has looked at something
    Seen {
        /// which order this answers: earlier ones may have been answered too late
        number: u64,
        /// what it saw, name by name
        states: Vec<(String, String)>,
    },
}

/// A line that a guest says by itself or when it was ordered something.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Ready { boot_id: String, state: String },
    Answer(Answer),
}

/// Reads the port for events to its end. Lines that say nothing known are logged.
pub(crate) async fn watch(
    stream: impl AsyncRead + Unpin,
    started: watch::Receiver<Instant>,
    ready: watch::Sender<Option<Ready>>,
    answers: mpsc::UnboundedSender<Answer>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let line = match next_line(&mut stream, LONGEST).await {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, "the guest's port for events broke off"),
        };
        match parse(&line) {
            Some(Word::Ready { boot_id, state }) => {
                let since = started.borrow().elapsed();
                tracing::debug!(boot_id, state, ?since, "the guest is ready");
                ready.send_replace(Some(Ready { boot_id, state, since }));
            }
            // Nobody waits for it any more where it comes too late.
            Some(Word::Answer(answer)) => drop(answers.send(answer)),
            None => tracing::warn!(line, "the guest tells what the harness does not understand"),
        }
    }
}

/// `ready boot_id=ID state=STATE`, `holding nonce=WORD`, `awake boot_id=ID nonce=WORD`, or `links` and
/// `units` with `number=NUMBER NAME=STATE ...`.
fn parse(line: &str) -> Option<Word> {
    let (name, fields) = line.trim().split_once(' ')?;
    let field = |name: &str| {
        let field = fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?;
        Some(field.to_owned()).filter(|value| !value.is_empty())
    };
    match name {
        "ready" => Some(Word::Ready {
            boot_id: field("boot_id")?,
            state: field("state").unwrap_or_else(|| "unknown".to_owned()),
        }),
        "holding" => Some(Word::Answer(Answer::Holding { nonce: field("nonce")? })),
        "awake" => Some(Word::Answer(Answer::Awake { boot_id: field("boot_id")?, nonce: field("nonce")? })),
        "links" | "units" => {
            let number = field("number")?.parse().ok()?;
            let states = fields.split(' ').skip(1).filter_map(|field| field.split_once('='));
            let states = states.map(|(name, state)| (name.to_owned(), state.to_owned())).collect();
            Some(Word::Answer(Answer::Seen { number, states }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ready_line_has_the_boot_and_its_state() {
        let ready = |boot_id: &str, state: &str| {
            Some(Word::Ready { boot_id: boot_id.to_owned(), state: state.to_owned() })
        };
        assert_eq!(parse("ready boot_id=1-2 state=degraded\r"), ready("1-2", "degraded"));
        assert_eq!(parse("ready boot_id=1-2 state="), ready("1-2", "unknown"));
        assert_eq!(parse("ready boot_id= state=running"), None);
        assert_eq!(parse("hello"), None);
    }

    #[test]
    fn an_answer_says_what_the_guest_remembers() {
        let holding = Answer::Holding { nonce: "ab".to_owned() };
        assert_eq!(parse("holding nonce=ab"), Some(Word::Answer(holding)));
        let awake = Answer::Awake { boot_id: "1-2".to_owned(), nonce: "none".to_owned() };
        assert_eq!(parse("awake boot_id=1-2 nonce=none"), Some(Word::Answer(awake)));
        assert_eq!(parse("awake boot_id=1-2"), None);
        let seen = |number, states: &[(&str, &str)]| {
            let states = states.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned()));
            Some(Word::Answer(Answer::Seen { number, states: states.collect() }))
        };
        assert_eq!(parse("links number=7 eth0=down eth1=up"), seen(7, &[("eth0", "down"), ("eth1", "up")]));
        assert_eq!(parse("links number=8"), seen(8, &[]), "it has none");
        assert_eq!(parse("units number= sshd.socket=active"), None);
    }

    #[tokio::test]
    async fn the_last_boot_counts_and_noise_does_not() {
        let bytes = b"ready boot_id=a state=running\n\xff\n\nready boot_id=b state=running\n".as_slice();
        let (sender, ready) = watch::channel(None);
        watch(bytes, watch::channel(Instant::now()).1, sender, mpsc::unbounded_channel().0).await;
        assert_eq!(ready.borrow().as_ref().map(|ready| ready.boot_id.clone()).as_deref(), Some("b"));
    }

    proptest! {
        #[test]
        fn no_line_breaks_the_parser(line in any::<String>()) {
            let _ = parse(&line);
        }
    }
}
