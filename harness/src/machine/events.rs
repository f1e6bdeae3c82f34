// SPDX-License-Identifier: Apache-2.0
//! What the guest tells the harness by itself.
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, BufReader};
use tokio::sync::watch;
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

/// Reads the port for events to its end. Lines that say nothing known are logged.
pub(crate) async fn watch(
    stream: impl AsyncRead + Unpin,
    started: watch::Receiver<Instant>,
    ready: watch::Sender<Option<Ready>>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        match next_line(&mut stream, LONGEST).await {
            Ok(Some(line)) => match parse(&line) {
                Some((boot_id, state)) => {
                    let since = started.borrow().elapsed();
                    tracing::debug!(boot_id, state, ?since, "the guest is ready");
                    ready.send_replace(Some(Ready { boot_id: boot_id.into(), state: state.into(), since }));
                }
                None => tracing::warn!(line, "the guest tells what the harness does not understand"),
            },
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, "the guest's port for events broke off"),
        }
    }
}

/// The boot id and the state in `ready boot_id=ID state=STATE`.
fn parse(line: &str) -> Option<(&str, &str)> {
    let fields = line.trim().strip_prefix("ready ")?;
    let field = |name| fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let boot_id = field("boot_id").filter(|id| !id.is_empty())?;
    Some((boot_id, field("state").filter(|state| !state.is_empty()).unwrap_or("unknown")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ready_line_has_the_boot_and_its_state() {
        assert_eq!(parse("ready boot_id=1-2 state=degraded\r"), Some(("1-2", "degraded")));
        assert_eq!(parse("ready boot_id=1-2 state="), Some(("1-2", "unknown")));
        assert_eq!(parse("ready boot_id= state=running"), None);
        assert_eq!(parse("hello"), None);
    }

    #[tokio::test]
    async fn the_last_boot_counts_and_noise_does_not() {
        let bytes = b"ready boot_id=a state=running\n\xff\n\nready boot_id=b state=running\n".as_slice();
        let (sender, ready) = watch::channel(None);
        watch(bytes, watch::channel(Instant::now()).1, sender).await;
        assert_eq!(ready.borrow().as_ref().map(|ready| ready.boot_id.clone()).as_deref(), Some("b"));
    }

    proptest! {
        #[test]
        fn no_line_breaks_the_parser(line in any::<String>()) {
            let _ = parse(&line);
        }
    }
}
