// SPDX-License-Identifier: Apache-2.0
//! The guest's first serial port: recorded and watched from its first byte.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;

use super::capped_file::CappedFile;
use super::health::console_rules;
use super::health::fault::Fault;
use super::health::symptom::Symptom;
use super::lines::Lines;

/// How many lines are in memory; the console's file has more.
const MOST_LINES: usize = 20_000;
/// How many bytes these lines have together at most: a guest decides how long they are.
const MOST_BYTES: usize = 4 << 20;

/// The line of the record for output that is left out.
pub(crate) fn note(bytes: u64) -> String {
    format!("[{bytes} bytes of the console are left out here]")
}

/// The output on a guest's console. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Console {
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
struct Record {
    lines: VecDeque<String>,
    /// of these lines
    bytes: usize,
    partial: String,
    /// how many of the lines are older than the guest's last reset
    before_reset: usize,
}

impl Console {
    /// Reads a console to its end, records its output at once, and reports the first line that ends a boot, and
    /// a guest that floods it.
    pub(crate) async fn watch(
        &self,
        mut stream: impl AsyncRead + Unpin,
        mut file: CappedFile,
        symptoms: mpsc::Sender<Symptom>,
    ) {
        let mut splitter = Lines::default();
        let mut buffer = [0; 8192];
        let mut reported = false;
        let mut flooded = false;
        loop {
            let count = match stream.read(&mut buffer).await {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    tracing::debug!(%error, "cannot read the console");
                    break;
                }
            };
            if let Err(error) = file.write(&buffer[..count]).await {
                tracing::warn!(%error, "the console cannot be written to its file");
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
            if let Some(bytes) = file.flood().filter(|_| !flooded) {
                flooded = true;
                let _ = symptoms.send(Symptom::Flood { what: "console".to_owned(), bytes }).await;
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
        self.bytes += lines.iter().map(String::len).sum::<usize>();
        self.lines.extend(lines);
        self.partial = partial;
        while self.lines.len() > MOST_LINES || self.bytes > MOST_BYTES {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.len();
            self.before_reset = self.before_reset.saturating_sub(1);
        }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.lines.iter().chain(Some(&self.partial).filter(|partial| !partial.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_is_reported_and_takes_little_memory() {
        let console = Console::default();
        let (sender, mut symptoms) = mpsc::channel(8);
        let directory = tempfile::tempdir().expect("a directory");
        let path = camino::Utf8PathBuf::from_path_buf(directory.path().join("console")).expect("UTF-8");
        let file = CappedFile::with_caps(&path, note, [1 << 20, 1 << 20, 7 << 20]).expect("created");
        console.watch(tokio::io::repeat(b'x').take(8 << 20), file, sender).await;
        assert!(matches!(symptoms.recv().await, Some(Symptom::Flood { what, .. }) if what == "console"));
        assert!(symptoms.recv().await.is_none(), "once");
        let record = console.lock();
        assert!(record.bytes <= 4 << 20 && record.lines.len() <= 1024, "{}", record.bytes);
        assert_eq!(record.bytes, record.lines.iter().map(String::len).sum::<usize>());
    }

    #[tokio::test]
    async fn a_prompt_without_a_newline_is_seen() {
        let console = Console::default();
        let (sender, mut symptoms) = mpsc::channel(8);
        console.watch(b"hello\r\nPress Enter to continue".as_slice(), CappedFile::nowhere(), sender).await;
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
        console.watch(earlier, CappedFile::nowhere(), sender.clone()).await;
        console.reset();
        console.watch(b"Press Enter to continue\n".as_slice(), CappedFile::nowhere(), sender.clone()).await;
        assert!(matches!(console.fault(), Some(Fault::Initrd { line, .. }) if line.starts_with("Press")));
    }

    #[tokio::test]
    async fn a_panic_that_resets_the_guest_is_reported() {
        let console = Console::default();
        let (sender, _symptoms) = mpsc::channel(8);
        console.watch(b"Kernel panic - not syncing: x\n".as_slice(), CappedFile::nowhere(), sender).await;
        console.reset();
        assert!(matches!(console.fault(), Some(Fault::Panic { .. })));
    }
}
