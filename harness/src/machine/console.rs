// SPDX-License-Identifier: Apache-2.0
//! The guest's first serial port: recorded and watched from its first byte.
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::lines::Lines;
use crate::machine::health::console_rules;
use crate::machine::health::fault::Fault;
use crate::machine::health::monitor::Symptom;

/// How many lines are kept in memory; all of them are in the console's file.
const KEPT: usize = 20_000;

/// What a guest has said on its console, shared between whoever reads it and whoever asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Console {
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
struct Record {
    lines: VecDeque<String>,
    partial: String,
    /// how many of the lines were said before the last reset of the guest
    before: usize,
}

impl Console {
    /// Reads a console to its end, writes every byte down as it comes, and reports once when it says
    /// that the guest cannot go on.
    pub(crate) async fn watch(
        &self,
        mut stream: impl AsyncRead + Unpin,
        mut record: impl AsyncWrite + Unpin,
        symptoms: mpsc::Sender<Symptom>,
    ) {
        let mut splitter = Lines::default();
        let mut buffer = [0; 8192];
        let mut reported = false;
        let mut unwritten = false;
        loop {
            let count = match stream.read(&mut buffer).await {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    tracing::debug!(%error, "the console broke off");
                    break;
                }
            };
            // Flushed each time: the file is read while the machine runs, and after the harness was killed.
            if let Err(error) = write(&mut record, &buffer[..count]).await
                && !unwritten
            {
                tracing::warn!(%error, "the console cannot be written to its file");
                unwritten = true;
            }
            let lines = splitter.push(&buffer[..count]);
            let partial = splitter.partial();
            let end = lines.iter().chain([&partial]).find_map(|line| console_rules::ends(line));
            self.lock().add(lines, partial);
            if let Some(rule) = end.filter(|_| !reported) {
                tracing::debug!(rule, "the console says that the guest cannot go on");
                reported = true;
                let _ = symptoms.send(Symptom::Console).await;
            }
        }
    }

    /// What the console says of the guest's end, if it does.
    pub(crate) fn fault(&self) -> Option<Fault> {
        let lines: Vec<String> = {
            let record = self.lock();
            record.all().skip(record.before).cloned().collect()
        };
        console_rules::judge(&lines)
    }

    /// The last lines, the unfinished one among them.
    pub(crate) fn tail(&self, count: usize) -> Vec<String> {
        let record = self.lock();
        let skip = record.all().count().saturating_sub(count);
        record.all().skip(skip).cloned().collect()
    }

    /// Whether nothing has come at all.
    pub(crate) fn is_silent(&self) -> bool {
        self.lock().all().next().is_none()
    }

    /// Has the lines so far count as those of an earlier boot; unless that boot ended badly, when the
    /// reset is only a consequence (`panic=-1`).
    pub(crate) fn reset(&self) {
        if self.fault().is_some() {
            return;
        }
        let mut record = self.lock();
        record.before = record.lines.len();
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        // Whoever panicked with the lock has left whole lines behind.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn add(&mut self, lines: Vec<String>, partial: String) {
        self.lines.extend(lines);
        self.partial = partial;
        let surplus = self.lines.len().saturating_sub(KEPT);
        self.lines.drain(..surplus);
        self.before = self.before.saturating_sub(surplus);
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.lines.iter().chain(Some(&self.partial).filter(|partial| !partial.is_empty()))
    }
}

async fn write(record: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    record.write_all(bytes).await?;
    record.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_prompt_without_an_end_of_line_is_seen() {
        let console = Console::default();
        let (sender, mut symptoms) = mpsc::channel(8);
        console.watch(b"hello\r\nPress Enter to continue".as_slice(), tokio::io::sink(), sender).await;
        assert!(matches!(symptoms.recv().await, Some(Symptom::Console)));
        assert!(symptoms.recv().await.is_none(), "reported once");
        assert_eq!(console.tail(9), ["hello", "Press Enter to continue"]);
        assert!(matches!(console.fault(), Some(Fault::Initrd { .. })));
    }

    #[tokio::test]
    async fn an_earlier_boot_is_no_fault_of_this_one() {
        let console = Console::default();
        let (sender, _symptoms) = mpsc::channel(8);
        let earlier = b"Welcome to Flatcar!\n[FAILED] Failed to start x.\n".as_slice();
        console.watch(earlier, tokio::io::sink(), sender.clone()).await;
        console.reset();
        console.watch(b"Press Enter to continue\n".as_slice(), tokio::io::sink(), sender.clone()).await;
        assert!(matches!(console.fault(), Some(Fault::Initrd { line, .. }) if line.starts_with("Press")));
    }

    #[tokio::test]
    async fn a_panic_that_resets_the_guest_is_not_forgotten() {
        let console = Console::default();
        let (sender, _symptoms) = mpsc::channel(8);
        console.watch(b"Kernel panic - not syncing: x\n".as_slice(), tokio::io::sink(), sender).await;
        console.reset();
        assert!(matches!(console.fault(), Some(Fault::Panic { .. })));
    }
}
