// SPDX-License-Identifier: Apache-2.0
//! Whether anybody answers on a guest's port for SSH.
//!
//! QEMU accepts every connection to the forwarded port, whatever the guest does with it. Only the words
//! with which an SSH server begins (RFC 4253, 4.2) show that there is one and that the network leads to
//! it; none is spoken to further, so that the guest hardly notices.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

/// How often in a row a connection is refused or cut before nobody is taken to listen.
const REFUSALS: u32 = 8;
/// How long is waited between two tries.
const PAUSE: Duration = Duration::from_millis(750);

/// Tries until an SSH server answers; gives why it is taken for gone.
///
/// # Errors
/// The guest refused several times in a row, or nothing came within `limit`.
pub(crate) async fn answers(address: SocketAddr, limit: Duration) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    let mut refusals = 0;
    loop {
        match timeout_at(deadline, greeting(address)).await {
            Ok(true) => return Ok(()),
            Ok(false) => refusals += 1,
            Err(_) if refusals > 0 => return Err(refused()),
            Err(_) => return Err(format!("nothing answers within {} s", limit.as_secs())),
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

/// Whether whoever accepts a connection speaks SSH before it ends it.
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
    async fn a_server_that_greets_is_there() {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            stream.write_all(b"SSH-2.0-x\r\n").await.expect("written");
            std::future::pending::<()>().await;
        });
        assert_eq!(answers(address, Duration::from_secs(5)).await, Ok(()));
    }

    #[tokio::test]
    async fn one_that_cuts_every_connection_is_not_waited_for_to_the_end() {
        let (listener, address) = listener().await;
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let begun = Instant::now();
        let found = answers(address, Duration::from_mins(1)).await.expect_err("nobody greets");
        assert!(found.contains("nothing listens"), "{found}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn one_that_says_nothing_is_waited_for() {
        let (listener, address) = listener().await;
        let accepting = tokio::spawn(async move {
            let kept = listener.accept().await;
            std::future::pending::<()>().await;
            drop(kept);
        });
        let found = answers(address, Duration::from_millis(1200)).await.expect_err("nobody greets");
        assert_eq!(found, "nothing answers within 1 s");
        accepting.abort();
    }
}
