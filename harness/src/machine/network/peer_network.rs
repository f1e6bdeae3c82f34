// SPDX-License-Identifier: Apache-2.0
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// The largest frame that QEMU sends (`NET_BUFSIZE`: 64 KiB and what stands before them).
const LARGEST: usize = 4096 + 65536;
/// How many frames wait for a machine that does not take them; those behind are lost, as on any network.
const QUEUE: usize = 1024;

/// A frame as QEMU's `-netdev stream` carries it: its length as four bytes, big-endian, and its bytes.
type Frame = Arc<[u8]>;

/// The network on which the machines of a scenario meet, and nobody else: what one sends, all others get.
///
/// It has no place in the host: each machine is connected through a socket of its own, so that two of
/// these never meet. A machine that takes no frames, or is gone, holds nobody up.
#[derive(Debug, Clone, Default)]
pub struct PeerNetwork {
    members: Arc<Mutex<Vec<mpsc::Sender<Frame>>>>,
}

impl PeerNetwork {
    /// A network with nobody on it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connects a machine. What comes back carries its frames, until the machine is gone.
    pub(crate) fn connect(&self, stream: UnixStream) -> impl Future<Output = ()> + Send + 'static {
        let (queue, waiting) = mpsc::channel(QUEUE);
        self.members().push(queue.clone());
        let segment = self.clone();
        async move {
            let (reader, writer) = stream.into_split();
            let ended = tokio::select! {
                ended = segment.carry(reader, &queue) => ended,
                ended = hand_over(waiting, writer) => ended,
            };
            segment.members().retain(|member| !member.same_channel(&queue));
            if let Err(error) = ended {
                tracing::debug!(%error, "a machine has left its network");
            }
        }
    }

    /// Gives what one member sends to all others.
    async fn carry(
        &self,
        mut reader: impl AsyncRead + Unpin,
        own: &mpsc::Sender<Frame>,
    ) -> std::io::Result<()> {
        loop {
            let frame = read(&mut reader).await?;
            for member in self.members().iter().filter(|member| !member.same_channel(own)) {
                // Full or gone: the frame is lost to this one.
                let _ = member.try_send(Arc::clone(&frame));
            }
        }
    }

    /// Nothing is done under this lock that could panic half-way.
    fn members(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Frame>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Frame> {
    let prefix = reader.read_u32().await?;
    let length = usize::try_from(prefix).unwrap_or(usize::MAX);
    if length > LARGEST {
        return Err(std::io::Error::other(format!(
            "a frame of {length} bytes, where {LARGEST} are the most"
        )));
    }
    let mut frame = vec![0; 4 + length];
    frame[..4].copy_from_slice(&prefix.to_be_bytes());
    reader.read_exact(&mut frame[4..]).await?;
    Ok(frame.into())
}

async fn hand_over(
    mut waiting: mpsc::Receiver<Frame>,
    mut writer: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    while let Some(frame) = waiting.recv().await {
        writer.write_all(&frame).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// How long something is looked for that must not come.
    const NEVER: Duration = Duration::from_millis(100);
    /// How long something is waited for that must.
    const SOON: Duration = Duration::from_secs(10);

    fn join(segment: &PeerNetwork) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        tokio::spawn(segment.connect(theirs));
        ours
    }

    async fn send(stream: &mut UnixStream, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("short");
        stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await.expect("sent");
    }

    async fn receive(stream: &mut UnixStream) -> Vec<u8> {
        let frame = timeout(SOON, read(stream)).await.expect("a frame").expect("whole");
        frame[4..].to_vec()
    }

    async fn hears_nothing(stream: &mut UnixStream) -> bool {
        timeout(NEVER, stream.read_u8()).await.is_err()
    }

    #[tokio::test]
    async fn all_others_get_a_frame_and_who_sent_it_does_not() {
        let (segment, other) = (PeerNetwork::new(), PeerNetwork::new());
        let (mut one, mut two, mut three) = (join(&segment), join(&segment), join(&segment));
        let mut stranger = join(&other);
        send(&mut one, b"hello").await;
        assert_eq!(receive(&mut two).await, b"hello");
        assert_eq!(receive(&mut three).await, b"hello");
        send(&mut two, b"").await;
        assert_eq!(receive(&mut one).await, b"");
        assert!(hears_nothing(&mut two).await, "its own frame came back");
        assert!(hears_nothing(&mut stranger).await, "two networks have met");
    }

    #[tokio::test]
    async fn who_takes_nothing_or_is_gone_holds_nobody_up() {
        let segment = PeerNetwork::new();
        let (mut one, stuck, mut two) = (join(&segment), join(&segment), join(&segment));
        let frame = vec![7; 60_000];
        // More than the socket and the queue of the one that is stuck hold.
        for _ in 0..QUEUE + 100 {
            send(&mut one, &frame).await;
            assert_eq!(receive(&mut two).await, frame);
        }
        drop(stuck);
        send(&mut one, b"on").await;
        assert_eq!(receive(&mut two).await, b"on");
        timeout(SOON, async {
            while segment.members().len() > 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("it is taken off the list");
    }

    #[tokio::test]
    async fn a_frame_that_cannot_be_one_ends_its_sender_alone() {
        let segment = PeerNetwork::new();
        let (mut wrong, mut one, mut two) = (join(&segment), join(&segment), join(&segment));
        wrong.write_all(&u32::MAX.to_be_bytes()).await.expect("sent");
        assert_eq!(timeout(SOON, wrong.read(&mut [0])).await.expect("an end").expect("read"), 0);
        send(&mut one, b"x").await;
        assert_eq!(receive(&mut two).await, b"x");
    }
}
