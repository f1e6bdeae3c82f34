// SPDX-License-Identifier: Apache-2.0
use tokio::io::AsyncRead;

/// Writes what the guest sends of its journal to a file, as it comes: each line is an object as
/// `journalctl -o json` prints it, and the last one may be cut off where the guest died.
pub(crate) async fn record(mut stream: impl AsyncRead + Unpin, mut file: tokio::fs::File) {
    if let Err(error) = tokio::io::copy(&mut stream, &mut file).await {
        tracing::warn!(%error, "the guest's journal broke off");
    }
    // A file of tokio's buffers: without this the last piece is lost.
    if let Err(error) = tokio::io::AsyncWriteExt::flush(&mut file).await {
        tracing::warn!(%error, "the end of the guest's journal cannot be written");
    }
}
