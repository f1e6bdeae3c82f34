// SPDX-License-Identifier: Apache-2.0
//! The guest's first serial port: recorded and watched from its first byte.
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::health::console_rules;
use super::health::fault::Fault;
use super::health::symptom::Symptom;
use super::lines::Lines;

/// How many lines are in memory; the console's file has all of them.
const MOST_LINES: usize = 20_000;

/// The output on a guest's console. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Console {
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
struct Record {
    lines: VecDeque<String>,
    partial: String,
    /// how many of the lines are older than the guest's last reset
    before_reset: usize,
}

impl Console {
    /// Reads a console to its end, records every byte at once, and reports the first line that ends a boot.
    pub(crate) async fn watch(
        &self,
        mut stream: impl AsyncRead + Unpin,
        mut file: impl AsyncWrite + Unpin,
        symptoms: mpsc::Sender<Symptom>,
    ) {
        let mut splitter = Lines::default();
        let mut buffer = [0; 8192];
        let mut reported = false;
        let mut write_failed = false;
        loop {
            let count = match stream.read(&mut buffer).await {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    tracing::debug!(%error, "cannot read the console");
                    break;
                }
            };
            // Flushed each time: the file is read while the machine runs, and after the harness was killed.
            if let Err(error) = write(&mut file, &buffer[..count]).await
                && !write_failed
            {
                tracing::warn!(%error, "the console cannot be written to its file");
                write_failed = true;
            }
            let lines = splitter.push(&buffer[..count]);
            let partial = splitter.partial();
            let end = lines.iter().chain([&partial]).find_map(|line| console_rules::ends(line));
            self.lock().add(lines, partial);
            if let Some(rule) = end.filter(|_| !reported) {
                tracing::debug!(rule, "a line of the console matches a rule");
                reported = true;
                let _ = symptoms.send(Symptom::Console).await;
            }
        }
    }

    /// The fault that the console shows, if it shows one.
    pub(crate) fn fault(&self) -> Option<Fault> {
        let lines: Vec<String> = {
            let record = self.lock();
            record.all().skip(record.before_reset).cloned().collect()
        };
        console_rules::judge(&lines)
    }

    /// The last lines, with the incomplete one.
    pub(crate) fn tail(&self, count: usize) -> Vec<String> {
        let record = self.lock();
        let skip = record.all().count().saturating_sub(count);
        record.all().skip(skip).cloned().collect()
    }

    /// Whether there is no output at all.
    pub(crate) fn is_silent(&self) -> bool {
        self.lock().all().next().is_none()
    }

    /// Assigns the lines so far to an earlier boot, unless they show a fault: then the reset is its
    /// consequence (`panic=-1`).
    pub(crate) fn reset(&self) {
        if self.fault().is_some() {
            return;
        }
        let mut record = self.lock();
        record.before_reset = record.lines.len();
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        // A thread that panicked with the lock has left complete lines.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn add(&mut self, lines: Vec<String>, partial: String) {
        self.lines.extend(lines);
        self.partial = partial;
        let surplus = self.lines.len().saturating_sub(MOST_LINES);
        self.lines.drain(..surplus);
        self.before_reset = self.before_reset.saturating_sub(surplus);
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.lines.iter().chain(Some(&self.partial).filter(|partial| !partial.is_empty()))
    }
}

async fn write(file: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes).await?;
    file.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_prompt_without_a_newline_is_seen() {
        let console = Console::default();
        let (sender, mut symptoms) = mpsc::channel(8);
        console.watch(b"hello\r\nPress Enter to continue".as_slice(), tokio::io::sink(), sender).await;
        assert!(matches!(symptoms.recv().await, Some(Symptom::Console)));
        assert!(symptoms.recv().await.is_none(), "reported once");
        assert_eq!(console.tail(9), ["hello", "Press Enter to continue"]);
        assert!(matches!(console.fault(), Some(Fault::Initrd { .. })));
    }

    #[tokio::test]
    async fn a_failure_in_an_earlier_boot_is_not_reported() {
        let console = Console::default();
        let (sender, _symptoms) = mpsc::channel(8);
        let earlier = b"Welcome to Flatcar!\n[FAILED] Failed to start x.\n".as_slice();
        console.watch(earlier, tokio::io::sink(), sender.clone()).await;
        console.reset();
        console.watch(b"Press Enter to continue\n".as_slice(), tokio::io::sink(), sender.clone()).await;
        assert!(matches!(console.fault(), Some(Fault::Initrd { line, .. }) if line.starts_with("Press")));
    }

    #[tokio::test]
    async fn a_panic_that_resets_the_guest_is_reported() {
        let console = Console::default();
        let (sender, _symptoms) = mpsc::channel(8);
        console.watch(b"Kernel panic - not syncing: x\n".as_slice(), tokio::io::sink(), sender).await;
        console.reset();
        assert!(matches!(console.fault(), Some(Fault::Panic { .. })));
    }
}
