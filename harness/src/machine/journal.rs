// SPDX-License-Identifier: Apache-2.0
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;

use super::capped_file::CappedFile;
use super::health::symptom::Symptom;

/// The line of the record for entries that are left out, in the format of the others.
pub(crate) fn note(bytes: u64) -> String {
    let message = format!("{bytes} bytes of the journal are left out here");
    serde_json::json!({ "MESSAGE": message, "SYSLOG_IDENTIFIER": "loadgauge" }).to_string()
}

/// Writes the guest's journal to a file as it arrives, and reports a guest that floods it. Each line is an
/// object in the format of `journalctl -o json`; the last one may be incomplete if the guest died.
pub(crate) async fn record(
    mut stream: impl AsyncRead + Unpin,
    mut file: CappedFile,
    symptoms: mpsc::Sender<Symptom>,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut reported = false;
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return,
            Ok(count) => {
                if let Err(error) = file.write(&buffer[..count]).await {
                    tracing::warn!(%error, "the journal cannot be written to its file");
                }
            }
            Err(error) => return tracing::warn!(%error, "cannot read the guest's journal"),
        }
        if let Some(bytes) = file.flood().filter(|_| !reported) {
            reported = true;
            let _ = symptoms.send(Symptom::Flood { what: "journal".to_owned(), bytes }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;

    #[tokio::test]
    async fn a_guest_that_floods_its_journal_is_reported_once_and_its_record_is_bounded() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(directory.path().join("journal")).expect("UTF-8");
        let file = CappedFile::with_caps(&path, note, [1 << 16, 1 << 16, 1 << 20]).expect("created");
        let (sender, mut symptoms) = mpsc::channel(8);
        record(tokio::io::repeat(b'\n').take(3 << 20), file, sender).await;
        assert!(matches!(symptoms.recv().await, Some(Symptom::Flood { what, .. }) if what == "journal"));
        assert!(symptoms.recv().await.is_none(), "once");
        assert!(path.metadata().expect("there").len() < 1 << 18);
    }

    #[test]
    fn the_note_is_a_journal_entry() {
        let entry: serde_json::Value = serde_json::from_str(&note(12)).expect("JSON");
        assert_eq!(entry["MESSAGE"], "12 bytes of the journal are left out here");
    }
}
