// SPDX-License-Identifier: Apache-2.0
//! Probes whether a guest's SSH server answers.
//!
//! QEMU accepts every connection to the forwarded port, whether or not the guest does. Only the server's
//! identification string (RFC 4253, 4.2) shows that there is a server and that the network works. The probe
//! sends nothing, so that it costs the guest little.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

/// How many connections in a row are refused or closed before the port counts as closed.
const REFUSALS: u32 = 8;
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(750);

/// Connects repeatedly until an SSH server answers.
///
/// # Errors
/// The guest refuses several times in a row, or there is no answer within `limit`.
pub(crate) async fn answers(address: SocketAddr, limit: Duration) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    let mut refusals = 0;
    loop {
        match timeout_at(deadline, greeting(address)).await {
            Ok(true) => return Ok(()),
            Ok(false) => refusals += 1,
            Err(_) if refusals > 0 => return Err(refused()),
            Err(_) => return Err(format!("there is no answer within {} s", limit.as_secs())),
        }
        if refusals >= REFUSALS || Instant::now() + PAUSE >= deadline {
            return Err(refused());
        }
        sleep(PAUSE).await;
    }
}

fn refused() -> String {
    "nothing listens on the guest's port 22".to_owned()
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
        assert_eq!(answers(address, Duration::from_secs(5)).await, Ok(()));
    }

    #[tokio::test]
    async fn repeated_refusals_end_the_probe_early() {
        let (listener, address) = listener().await;
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let begun = Instant::now();
        let found = answers(address, Duration::from_mins(1)).await.expect_err("no server");
        assert!(found.contains("nothing listens"), "{found}");
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
        let found = answers(address, Duration::from_millis(1200)).await.expect_err("no server");
        assert_eq!(found, "there is no answer within 1 s");
        accepting.abort();
    }
}
