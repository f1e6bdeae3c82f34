// SPDX-License-Identifier: Apache-2.0
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Event, EventKind};

/// The sending end of the channel of events. Clones send to the same channel.
#[derive(Debug, Clone)]
pub struct Events {
    sender: UnboundedSender<Event>,
}

impl Events {
    /// Creates a channel. Its receiver ends when the last clone of the sender is dropped.
    pub fn channel() -> (Self, UnboundedReceiver<Event>) {
        let (sender, receiver) = unbounded_channel();
        (Self { sender }, receiver)
    }

    /// Sends an event with the current time.
    pub fn emit(&self, kind: EventKind) {
        if let Err(lost) = self.sender.send(Event::now(kind)) {
            // The reports ended too early, and report that themselves.
            tracing::error!(event = ?lost.0.kind, "an event was lost: no report receives events");
        }
    }
}
