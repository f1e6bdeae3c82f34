// SPDX-License-Identifier: Apache-2.0
//! Saves a machine to a file and restores it, with QEMU's migration (`docs/devel/migration`).
use std::time::Duration;

use camino::Utf8Path;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::machine::qemu::capabilities::SnapshotMode;
use crate::machine::qemu::qmp::{Qmp, QmpError};

/// The interval between two queries: a machine whose memory is a file is saved in about 10 ms.
const PAUSE: Duration = Duration::from_millis(3);
/// The limit of a migration.
const LIMIT: Duration = Duration::from_mins(2);
/// Bytes per second: QEMU's default is meant for networks.
const BANDWIDTH: u64 = 1 << 40;

/// A machine cannot be saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// QEMU refuses a command
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// the migration failed
    #[error("QEMU cannot {action} the machine: {reason}")]
    Failed {
        /// `save` or `restore`
        action: &'static str,
        /// QEMU's error
        reason: String,
    },
    /// the migration reached its limit
    #[error("QEMU did not {action} the machine within {} s", LIMIT.as_secs())]
    Late {
        /// `save` or `restore`
        action: &'static str,
    },
}

/// Writes the state of a paused machine to a file.
pub(crate) async fn save(qmp: &Qmp, mode: SnapshotMode, file: &Utf8Path) -> Result<(), MigrateError> {
    prepare(qmp, mode).await?;
    qmp.execute("migrate-set-parameters", Some(json!({ "max-bandwidth": BANDWIDTH }))).await?;
    qmp.execute("migrate", Some(uri(file))).await?;
    finish(qmp, "save").await
}

/// Reads the state of a machine whose QEMU was started with `-incoming defer`. The guest stays paused.
pub(crate) async fn restore(qmp: &Qmp, mode: SnapshotMode, file: &Utf8Path) -> Result<(), MigrateError> {
    prepare(qmp, mode).await?;
    qmp.execute("migrate-incoming", Some(uri(file))).await?;
    finish(qmp, "restore").await
}

async fn prepare(qmp: &Qmp, mode: SnapshotMode) -> Result<(), QmpError> {
    let capability = json!({ "capability": mode.capability(), "state": true });
    qmp.execute("migrate-set-capabilities", Some(json!({ "capabilities": [capability] }))).await?;
    Ok(())
}

fn uri(file: &Utf8Path) -> Value {
    json!({ "uri": format!("file:{file}") })
}

async fn finish(qmp: &Qmp, action: &'static str) -> Result<(), MigrateError> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = qmp.execute("query-migrate", None).await?;
        match answer["status"].as_str() {
            Some("completed") => return Ok(()),
            Some("failed" | "cancelled") => {
                let reason = answer["error-desc"].as_str().unwrap_or("unknown reason").to_owned();
                return Err(MigrateError::Failed { action, reason });
            }
            _ if Instant::now() >= deadline => return Err(MigrateError::Late { action }),
            _ => sleep(PAUSE).await,
        }
    }
}
