// SPDX-License-Identifier: Apache-2.0
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Handles SIGINT and SIGTERM: the first cancels the run in order, the second ends the process at once.
///
/// Other signals end the process, and the kernel kills the machines with it.
#[derive(Debug)]
pub struct Interrupt {
    token: CancellationToken,
    task: JoinHandle<()>,
    _claim: Claim,
}

static CLAIMS: AtomicUsize = AtomicUsize::new(0);

/// As long as it exists, its owner decides what SIGINT and SIGTERM mean.
#[derive(Debug)]
pub struct Claim(());

impl Claim {
    /// Takes the decision from the listener of the whole process.
    #[must_use]
    pub fn take() -> Self {
        CLAIMS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }

    /// Whether somebody has taken the decision.
    pub fn is_taken() -> bool {
        CLAIMS.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMS.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Interrupt {
    /// Starts to listen. `at_second` is called at the second signal and should end the process.
    ///
    /// # Errors
    /// The kernel refuses to let the signals be handled.
    pub fn listen(at_second: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let mut signals = Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        };
        let token = CancellationToken::new();
        let cancel = token.clone();
        let task = tokio::spawn(async move {
            signals.next().await;
            tracing::warn!("interrupted: stopping the machines; a second signal ends the process at once");
            cancel.cancel();
            signals.next().await;
            at_second();
        });
        Ok(Self { token, task, _claim: Claim::take() })
    }

    /// Cancelled at the first signal.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn the_first_signal_cancels_and_the_second_leaves() {
        let (left, mut has_left) = tokio::sync::oneshot::channel();
        let interrupt = Interrupt::listen(move || {
            left.send(()).expect("the test waits");
        })
        .expect("signals");
        let token = interrupt.token();
        assert!(!token.is_cancelled());
        kill_process(getpid(), Signal::TERM).expect("sent");
        timeout(Duration::from_secs(5), token.cancelled()).await.expect("cancelled");
        assert!(has_left.try_recv().is_err(), "not at the first");
        kill_process(getpid(), Signal::INT).expect("sent");
        timeout(Duration::from_secs(5), has_left).await.expect("left").expect("sent");
    }
}
