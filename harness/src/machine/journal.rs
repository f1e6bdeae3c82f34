// SPDX-License-Identifier: Apache-2.0
use tokio::io::{AsyncRead, AsyncWriteExt as _};

/// Writes the guest's journal to a file as it arrives. Each line is an object in the format of
/// `journalctl -o json`; the last one may be incomplete if the guest died.
pub(crate) async fn record(mut stream: impl AsyncRead + Unpin, mut file: tokio::fs::File) {
    if let Err(error) = tokio::io::copy(&mut stream, &mut file).await {
        tracing::warn!(%error, "cannot copy the guest's journal");
    }
    // tokio's files have a buffer, which is lost unless it is flushed.
    if let Err(error) = file.flush().await {
        tracing::warn!(%error, "cannot write the end of the guest's journal");
    }
}
