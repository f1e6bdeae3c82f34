// SPDX-License-Identifier: Apache-2.0
use std::io::{self, SeekFrom};

use camino::Utf8Path;
use loadgauge_host::FileError;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::private_file;

/// How much of a record's beginning is always kept, in bytes.
const HEAD: u64 = 16 << 20;
/// How much of a record's end is kept at least, in bytes, and half of what is kept at most.
const TAIL: u64 = 16 << 20;
/// The number of bytes from which on a guest floods a record: a verbose boot writes 1 MiB.
const FLOOD: u64 = 256 << 20;
/// The longest line that is kept whole where a record is cut, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

/// The record of what a guest writes, whose size the guest does not decide.
///
/// Once it has grown to [`HEAD`] and twice [`TAIL`], its middle is replaced by a line that says how much is left
/// out. The file can be read at any time, also after the harness was killed. Only its owner can read it.
#[derive(Debug)]
pub(crate) struct CappedFile {
    file: tokio::fs::File,
    note: fn(u64) -> String,
    head: u64,
    tail: u64,
    /// bytes in the file
    length: u64,
    /// bytes that were received
    total: u64,
    /// the end of the beginning and of the note after it, once the file was cut
    cut: Option<(u64, u64)>,
    left_out: u64,
    failed: bool,
    flood: u64,
}

impl CappedFile {
    /// Creates a record. `note` is the line for a number of bytes that are left out.
    pub(crate) fn create(path: &Utf8Path, note: fn(u64) -> String) -> Result<Self, FileError> {
        Self::with_caps(path, note, [HEAD, TAIL, FLOOD])
    }

    pub(super) fn with_caps(
        path: &Utf8Path,
        note: fn(u64) -> String,
        [head, tail, flood]: [u64; 3],
    ) -> Result<Self, FileError> {
        let file = tokio::fs::File::from_std(private_file::create(path)?);
        let (length, total, left_out) = (0, 0, 0);
        Ok(Self { file, note, head, tail, length, total, cut: None, left_out, failed: false, flood })
    }

    /// A record that nobody reads.
    #[cfg(test)]
    pub(super) fn nowhere() -> Self {
        Self::create("/dev/null".into(), |_| String::new()).expect("it can be opened")
    }

    /// The limit that the guest has exceeded, if it floods the record.
    pub(crate) fn flood(&self) -> Option<u64> {
        (self.total > self.flood).then_some(self.flood)
    }

    /// Appends bytes, and flushes them: the file is read while the machine runs. An error is returned once;
    /// what follows is counted and not written.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.total += bytes.len() as u64;
        if self.failed {
            return Ok(());
        }
        let result = self.append(bytes).await;
        self.failed = result.is_err();
        result
    }

    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.file.flush().await?;
        self.length += bytes.len() as u64;
        if self.length > self.head + 2 * self.tail {
            self.cut().await?;
        }
        Ok(())
    }

    /// Replaces the middle of the file by the note.
    async fn cut(&mut self) -> io::Result<()> {
        let (head, begin) = if let Some(cut) = self.cut {
            cut
        } else {
            let head = self.end_of_line(self.head.saturating_sub(LONGEST_LINE), self.head).await?;
            (head, head)
        };
        let mut tail = self.read(self.length - self.tail, self.length).await?;
        // Whole lines only.
        let first = tail.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        tail.drain(..first);
        self.left_out += self.length - tail.len() as u64 - begin;
        let note = format!("{}\n", (self.note)(self.left_out));
        self.file.set_len(head).await?;
        self.file.seek(SeekFrom::Start(head)).await?;
        self.file.write_all(note.as_bytes()).await?;
        self.file.write_all(&tail).await?;
        self.file.flush().await?;
        let begin = head + note.len() as u64;
        self.cut = Some((head, begin));
        self.length = begin + tail.len() as u64;
        Ok(())
    }

    /// The end of the last line between two offsets, or the second one if there is no line.
    async fn end_of_line(&mut self, from: u64, to: u64) -> io::Result<u64> {
        let bytes = self.read(from, to).await?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        Ok(end.map_or(to, |end| from + end as u64 + 1))
    }

    async fn read(&mut self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(from)).await?;
        (&mut self.file).take(to - from).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;

    fn note(bytes: u64) -> String {
        format!("[{bytes} left out]")
    }

    #[tokio::test]
    async fn beginning_and_end_stay_and_the_note_counts_what_is_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(directory.path().join("record")).expect("UTF-8");
        let mut file = CappedFile::with_caps(&path, note, [100, 200, 9_999]).expect("created");
        let lines: Vec<String> = (0..1000).map(|number| format!("line {number:04}\n")).collect();
        for line in &lines {
            file.write(line.as_bytes()).await.expect("written");
            assert!(path.metadata().expect("there").len() <= 100 + 2 * 200 + 20, "it is never larger");
        }
        assert_eq!(file.flood(), Some(9_999));
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.starts_with(&lines[..10].concat()), "{text}");
        assert!(text.ends_with(&lines[980..].concat()), "{text}");
        let notes: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
        let [found] = notes.as_slice() else { panic!("one note: {text}") };
        let kept = text.len() - found.len() - 1;
        assert_eq!(*found, note(10_000 - kept as u64), "every byte is kept or counted");
        assert!(text.lines().all(|line| line.starts_with('[') || line.len() == 9), "whole lines: {text}");
        assert_eq!(private_file::mode(&path), 0o600);
    }

    #[tokio::test]
    async fn a_record_without_a_newline_is_cut_as_well() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(directory.path().join("record")).expect("UTF-8");
        let mut file = CappedFile::with_caps(&path, note, [100, 200, 9_999]).expect("created");
        for _ in 0..100 {
            file.write(&[b'x'; 77]).await.expect("written");
        }
        assert!(path.metadata().expect("there").len() <= 520);
    }

    #[tokio::test]
    async fn a_failure_is_reported_once() {
        let mut file = CappedFile::create("/dev/full".into(), note).expect("opened");
        assert!(file.write(b"x").await.is_err());
        assert!(file.write(b"x").await.is_ok());
        assert_eq!(file.flood(), None);
    }
}
