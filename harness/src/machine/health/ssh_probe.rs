// SPDX-License-Identifier: Apache-2.0
//! Probes whether a guest's SSH server answers.
//!
//! QEMU accepts every connection to the forwarded port, whether or not the guest does. Only the server's
//! identification string (RFC 4253, 4.2) shows that there is a server and that the network works. The probe
//! sends nothing, so that it costs the guest little.
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// How many connections in a row are refused or closed before the port counts as closed.
const REFUSALS: u32 = 8;
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(750);

/// Why a probe ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer<T> {
    /// the guest refuses connections
    Refused,
    /// there is no answer at all
    Late(T),
}

/// Connects repeatedly until an SSH server answers.
///
/// # Errors
/// The guest refuses several times in a row, or there is no answer until `late` is done.
pub(crate) async fn answers<T>(
    address: SocketAddr,
    late: impl Future<Output = T>,
) -> Result<(), NoAnswer<T>> {
    let mut late = pin!(late);
    let mut refusals = 0;
    loop {
        tokio::select! {
            biased;
            answers = greeting(address) => {
                if answers {
                    return Ok(());
                }
                refusals += 1;
            }
            late = &mut late => {
                return Err(if refusals > 0 { NoAnswer::Refused } else { NoAnswer::Late(late) });
            }
        }
        if refusals >= REFUSALS {
            return Err(NoAnswer::Refused);
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            _ = &mut late => return Err(NoAnswer::Refused),
        }
    }
}

/// Whether the server identifies itself as SSH before it closes the connection.
async fn greeting(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let mut begin = [0; 4];
    stream.read_exact(&mut begin).await.is_ok_and(|_| &begin == b"SSH-")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        (listener, address)
    }

    #[tokio::test]
    async fn a_server_that_identifies_itself_answers() {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            stream.write_all(b"SSH-2.0-x\r\n").await.expect("written");
            std::future::pending::<()>().await;
        });
        assert_eq!(answers(address, sleep(Duration::from_secs(5))).await, Ok(()));
    }

    #[tokio::test]
    async fn repeated_refusals_end_the_probe_early() {
        let (listener, address) = listener().await;
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let begun = Instant::now();
        let found = answers(address, sleep(Duration::from_mins(1))).await;
        assert_eq!(found, Err(NoAnswer::Refused));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_silent_server_is_awaited_until_the_limit() {
        let (listener, address) = listener().await;
        let accepting = tokio::spawn(async move {
            let connection = listener.accept().await;
            std::future::pending::<()>().await;
            drop(connection);
        });
        let found = answers(address, sleep(Duration::from_millis(1200))).await;
        assert_eq!(found, Err(NoAnswer::Late(())));
        accepting.abort();
    }
}
