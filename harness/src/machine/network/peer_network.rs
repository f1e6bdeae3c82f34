// SPDX-License-Identifier: Apache-2.0
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// The largest frame that QEMU sends (`NET_BUFSIZE`: 64 KiB and headers).
const LARGEST: usize = 4096 + 65536;
/// How many frames are queued for a machine, 17 MiB at most; further ones are dropped, as on any network.
const QUEUE: usize = 256;

/// A frame in the format of QEMU's `-netdev stream`: its length in 4 bytes, big-endian, and its bytes.
type Frame = Arc<[u8]>;

/// The network of a scenario's machines: a hub that sends each frame to all others.
///
/// It does not exist on the host: each machine is connected through a socket, so that two networks are
/// separate. A machine that accepts no frames, or is gone, does not delay the others.
#[derive(Debug, Clone, Default)]
pub struct PeerNetwork {
    members: Arc<Mutex<Vec<mpsc::Sender<Frame>>>>,
}

impl PeerNetwork {
    /// A network without machines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connects a machine. The returned future forwards its frames until the machine is gone.
    pub(crate) fn connect(&self, stream: UnixStream) -> impl Future<Output = ()> + Send + 'static {
        let (queue, waiting) = mpsc::channel(QUEUE);
        self.members().push(queue.clone());
        let network = self.clone();
        async move {
            let (reader, writer) = stream.into_split();
            let ended = tokio::select! {
                ended = network.forward(reader, &queue) => ended,
                ended = deliver(waiting, writer) => ended,
            };
            network.members().retain(|member| !member.same_channel(&queue));
            if let Err(error) = ended {
                tracing::debug!(%error, "a machine left its network");
            }
        }
    }

    /// Sends each frame of a member to all others.
    async fn forward(
        &self,
        mut reader: impl AsyncRead + Unpin,
        own: &mpsc::Sender<Frame>,
    ) -> std::io::Result<()> {
        loop {
            let frame = read(&mut reader).await?;
            for member in self.members().iter().filter(|member| !member.same_channel(own)) {
                // The queue is full, or the machine is gone: the frame is dropped.
                let _ = member.try_send(Arc::clone(&frame));
            }
        }
    }

    /// No code panics under this lock.
    fn members(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Frame>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Frame> {
    let prefix = reader.read_u32().await?;
    let length = usize::try_from(prefix).unwrap_or(usize::MAX);
    if length > LARGEST {
        return Err(std::io::Error::other(format!(
            "a frame of {length} bytes exceeds the limit of {LARGEST}"
        )));
    }
    let mut frame = vec![0; 4 + length];
    frame[..4].copy_from_slice(&prefix.to_be_bytes());
    reader.read_exact(&mut frame[4..]).await?;
    Ok(frame.into())
}

async fn deliver(
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

    /// The wait for a frame that must not arrive.
    const NEVER: Duration = Duration::from_millis(100);
    /// The limit for a frame that must arrive.
    const SOON: Duration = Duration::from_secs(10);

    fn join(network: &PeerNetwork) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        tokio::spawn(network.connect(theirs));
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

    async fn receives_nothing(stream: &mut UnixStream) -> bool {
        timeout(NEVER, stream.read_u8()).await.is_err()
    }

    #[tokio::test]
    async fn all_others_get_a_frame_and_who_sent_it_does_not() {
        let (network, other) = (PeerNetwork::new(), PeerNetwork::new());
        let (mut one, mut two, mut three) = (join(&network), join(&network), join(&network));
        let mut stranger = join(&other);
        send(&mut one, b"hello").await;
        assert_eq!(receive(&mut two).await, b"hello");
        assert_eq!(receive(&mut three).await, b"hello");
        send(&mut two, b"").await;
        assert_eq!(receive(&mut one).await, b"");
        assert!(receives_nothing(&mut two).await, "its own frame came back");
        assert!(receives_nothing(&mut stranger).await, "two networks have met");
    }

    #[tokio::test]
    async fn who_takes_nothing_or_is_gone_holds_nobody_up() {
        let network = PeerNetwork::new();
        let (mut one, stuck, mut two) = (join(&network), join(&network), join(&network));
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
            while network.members().len() > 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("it is taken off the list");
    }

    #[tokio::test]
    async fn a_frame_that_cannot_be_one_ends_its_sender_alone() {
        let network = PeerNetwork::new();
        let (mut wrong, mut one, mut two) = (join(&network), join(&network), join(&network));
        wrong.write_all(&u32::MAX.to_be_bytes()).await.expect("sent");
        assert_eq!(timeout(SOON, wrong.read(&mut [0])).await.expect("an end").expect("read"), 0);
        send(&mut one, b"x").await;
        assert_eq!(receive(&mut two).await, b"x");
    }
}
