// SPDX-License-Identifier: Apache-2.0
//! The QEMU Machine Protocol: one JSON object a line (QEMU's `docs/interop/qmp-spec.rst`).
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};

use crate::machine::lines::next_line;

/// The longest line that is accepted from QEMU, in bytes; its answers are far shorter.
const LONGEST: usize = 4 << 20;
/// How many events wait to be handled. A guest that resets itself in a loop causes many; those that do not
/// fit are dropped.
const EVENTS: usize = 1024;

/// A QMP command failed.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// QEMU refuses the command
    #[error("QEMU refused `{command}`: {description}")]
    Refused {
        /// the command
        command: String,
        /// the description of the error
        description: String,
    },
    /// the connection is closed, most likely because QEMU exited
    #[error("QEMU closed its QMP connection")]
    Closed,
    /// the first message is not a greeting
    #[error("no QMP greeting from QEMU")]
    NoGreeting,
}

/// An asynchronous event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QmpEvent {
    /// such as `SHUTDOWN`
    pub(crate) name: String,
    /// its data
    pub(crate) data: Value,
}

/// The run state of a machine (`RunState` in QEMU's `qapi/run-state.json`), as far as the harness
/// distinguishes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunState {
    /// the guest runs
    Running,
    /// the guest has powered off
    Shutdown,
    /// the guest has panicked
    GuestPanicked,
    /// another state, such as `paused`, `io-error` or `internal-error`
    Other(String),
}

impl From<&str> for RunState {
    fn from(state: &str) -> Self {
        match state {
            "running" => Self::Running,
            "shutdown" => Self::Shutdown,
            "guest-panicked" => Self::GuestPanicked,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Running => "running",
            Self::Shutdown => "shutdown",
            Self::GuestPanicked => "guest-panicked",
            Self::Other(state) => state,
        })
    }
}

/// A message of QEMU.
#[derive(Debug, Clone, PartialEq)]
enum Message {
    Greeting,
    Answer { id: u64, answer: Result<Value, String> },
    Event(QmpEvent),
}

/// The members of all kinds of messages.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    id: Option<u64>,
    #[serde(rename = "return")]
    value: Option<Value>,
    error: Option<ErrorMember>,
    event: Option<String>,
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
struct ErrorMember {
    desc: String,
}

fn parse(line: &str) -> Option<Message> {
    let line: Line = serde_json::from_str(line).ok()?;
    if line.greeting.is_some() {
        return Some(Message::Greeting);
    }
    if let Some(name) = line.event {
        return Some(Message::Event(QmpEvent { name, data: line.data }));
    }
    let answer = match (line.value, line.error) {
        (_, Some(error)) => Err(error.desc),
        (Some(value), None) => Ok(value),
        (None, None) => return None,
    };
    Some(Message::Answer { id: line.id?, answer })
}

/// The commands without an answer, by ID; nothing once the connection is closed.
type Pending = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Result<Value, String>>>>>>;

/// A QMP connection.
#[derive(Debug, Clone)]
pub(crate) struct Qmp {
    writer: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    pending: Pending,
    next: Arc<AtomicU64>,
}

impl Qmp {
    /// Negotiates capabilities on a new connection. Returns with it the stream of events.
    ///
    /// # Errors
    /// The other end does not speak QMP.
    pub(crate) async fn connect(stream: UnixStream) -> Result<(Self, mpsc::Receiver<QmpEvent>), QmpError> {
        let (reader, writer) = stream.into_split();
        let pending: Pending = Arc::new(Mutex::new(Some(HashMap::new())));
        let (events_in, events) = mpsc::channel(EVENTS);
        let (greeted_in, greeted) = oneshot::channel();
        tokio::spawn(read(reader, Arc::clone(&pending), events_in, greeted_in));
        greeted.await.map_err(|_| QmpError::NoGreeting)?;
        let writer = Arc::new(tokio::sync::Mutex::new(writer));
        let qmp = Self { writer, pending, next: Arc::default() };
        qmp.execute("qmp_capabilities", None).await?;
        Ok((qmp, events))
    }

    /// Executes a command and returns its result.
    ///
    /// # Errors
    /// QEMU refuses the command, or the connection is closed.
    pub(crate) async fn execute(&self, command: &str, arguments: Option<Value>) -> Result<Value, QmpError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut line = json!({ "execute": command, "id": id });
        if let Some(arguments) = arguments {
            line["arguments"] = arguments;
        }
        tracing::trace!(%line, "to QEMU");
        let (sender, answer) = oneshot::channel();
        lock(&self.pending).as_mut().ok_or(QmpError::Closed)?.insert(id, sender);
        let sent = self.writer.lock().await.write_all(format!("{line}\n").as_bytes()).await;
        if sent.is_err() {
            return Err(QmpError::Closed);
        }
        let answer = answer.await.map_err(|_| QmpError::Closed)?;
        answer.map_err(|description| QmpError::Refused { command: command.to_owned(), description })
    }

    /// Executes a command of the human monitor, and returns its output.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub(crate) async fn human(&self, line: &str) -> Result<String, QmpError> {
        let answer = self.execute("human-monitor-command", Some(json!({ "command-line": line }))).await?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Queries the run state of the machine.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub(crate) async fn run_state(&self) -> Result<RunState, QmpError> {
        let answer = self.execute("query-status", None).await?;
        Ok(answer["status"].as_str().unwrap_or("unknown").into())
    }
}

/// Dispatches messages until QEMU closes the connection.
async fn read(
    reader: impl AsyncRead + Unpin,
    pending: Pending,
    events: mpsc::Sender<QmpEvent>,
    greeted: oneshot::Sender<()>,
) {
    let mut greeted = Some(greeted);
    let mut stream = BufReader::new(reader);
    while let Ok(Some(line)) = next_line(&mut stream, LONGEST).await {
        tracing::trace!(%line, "from QEMU");
        match parse(&line) {
            Some(Message::Greeting) => {
                if let Some(greeted) = greeted.take() {
                    let _ = greeted.send(());
                }
            }
            Some(Message::Answer { id, answer }) => {
                // A separate statement, so that the lock is released before the send.
                let waiting = lock(&pending).as_mut().and_then(|pending| pending.remove(&id));
                if let Some(waiting) = waiting {
                    let _ = waiting.send(answer);
                }
            }
            Some(Message::Event(event)) => {
                // Waiting for room could block an answer that the receiver of events waits for.
                if let Err(mpsc::error::TrySendError::Full(event)) = events.try_send(event) {
                    tracing::debug!(event = event.name, "an event of QEMU was dropped");
                }
            }
            None => tracing::warn!(%line, "unknown QMP message"),
        }
    }
    // Dropping the senders ends all waits.
    *lock(&pending) = None;
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The host's port that is forwarded to the guest's port 22, from the output of `info usernet`: the line
/// `TCP[HOST_FORWARD]  12  127.0.0.1 40879  10.0.2.15  22  0  0`.
pub(crate) fn forwarded_port(usernet: &str) -> Option<u16> {
    usernet.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            ["TCP[HOST_FORWARD]", _, _, port, _, "22", ..] => port.parse().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncBufReadExt as _;

    use super::*;

    #[test]
    fn each_kind_of_message_is_parsed() {
        assert_eq!(parse(r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#), Some(Message::Greeting));
        assert_eq!(
            parse(r#"{"return": {}, "id": 3}"#),
            Some(Message::Answer { id: 3, answer: Ok(json!({})) })
        );
        let refused = r#"{"id": 4, "error": {"class": "CommandNotFound", "desc": "no"}}"#;
        assert_eq!(parse(refused), Some(Message::Answer { id: 4, answer: Err("no".into()) }));
        let event = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#;
        assert_eq!(parse(event), Some(Message::Event(QmpEvent { name: "STOP".into(), data: Value::Null })));
    }

    #[test]
    fn the_forwarded_port_is_found() {
        let text = "Hub -1 (n):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
                    TCP[HOST_FORWARD]  12       127.0.0.1 40879       10.0.2.15    22     0     0\r\n";
        assert_eq!(forwarded_port(text), Some(40879));
        assert_eq!(forwarded_port("Hub -1 (n):\r\n"), None);
    }

    #[tokio::test]
    async fn answers_reach_their_commands_and_noise_is_ignored() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let qemu = tokio::spawn(async move {
            let (reader, mut writer) = theirs.into_split();
            let mut lines = BufReader::new(reader).lines();
            writer.write_all(b"{\"QMP\": {}}\n").await.expect("written");
            lines.next_line().await.expect("read").expect("capabilities");
            writer.write_all(b"{\"return\": {}, \"id\": 0}\n\xff\xfe not json\n").await.expect("written");
            lines.next_line().await.expect("read").expect("a command");
            writer
                .write_all(b"{\"event\": \"STOP\"}\n{\"return\": {\"status\": \"paused\"}, \"id\": 1}\n")
                .await
        });
        let (qmp, mut events) = Qmp::connect(ours).await.expect("greeted");
        assert_eq!(qmp.run_state().await.expect("answered"), RunState::Other("paused".to_owned()));
        assert_eq!(events.recv().await.expect("an event").name, "STOP");
        qemu.await.expect("joined").expect("written");
        assert!(matches!(qmp.run_state().await, Err(QmpError::Closed)), "QEMU has exited");
    }

    #[tokio::test]
    async fn a_flood_of_events_is_bounded_and_delays_no_answer() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let qemu = tokio::spawn(async move {
            let (reader, mut writer) = theirs.into_split();
            let mut lines = BufReader::new(reader).lines();
            writer.write_all(b"{\"QMP\": {}}\n").await.expect("written");
            lines.next_line().await.expect("read").expect("capabilities");
            writer
                .write_all("{\"event\": \"RESET\"}\n".repeat(3 * EVENTS).as_bytes())
                .await
                .expect("written");
            writer.write_all(b"{\"return\": {}, \"id\": 0}\n").await
        });
        let (_qmp, mut events) = Qmp::connect(ours).await.expect("nobody has received an event yet");
        qemu.await.expect("joined").expect("written");
        let mut waiting = 0;
        while events.try_recv().is_ok() {
            waiting += 1;
        }
        assert_eq!(waiting, EVENTS);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in any::<String>()) {
            let _ = parse(&line);
            let _ = forwarded_port(&line);
        }

        #[test]
        fn bytes_before_an_event_do_not_hide_it(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let stream = [noise.as_slice(), b"\n{\"event\": \"LAST\"}\n"].concat();
            let (sender, mut events) = mpsc::channel(EVENTS);
            let (greeted, _) = oneshot::channel();
            runtime.block_on(read(stream.as_slice(), Pending::default(), sender, greeted));
            let mut last = None;
            while let Ok(event) = events.try_recv() {
                last = Some(event.name);
            }
            prop_assert_eq!(last.as_deref(), Some("LAST"));
        }
    }
}
