// SPDX-License-Identifier: Apache-2.0
//! Saves a machine to a file and reads it back, with QEMU's migration (`docs/devel/migration`).
use std::time::Duration;

use camino::Utf8Path;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::machine::qemu::capabilities::SnapshotMode;
use crate::machine::qemu::qmp::{Qmp, QmpError};

/// How often is asked whether it is done: a machine with its memory in a file of its own is saved in
/// some ten milliseconds.
const PAUSE: Duration = Duration::from_millis(3);
/// How long it may take.
const LIMIT: Duration = Duration::from_mins(2);
/// Bytes a second: QEMU's own limit is made for networks.
const BANDWIDTH: u64 = 1 << 40;

/// A machine cannot be saved or read back.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// QEMU refuses
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// it tried
    #[error("QEMU could not {action} the machine: {reason}")]
    Failed {
        /// save or restore
        action: &'static str,
        /// its words
        reason: String,
    },
    /// it did not end
    #[error("QEMU did not {action} the machine within {} s", LIMIT.as_secs())]
    Late {
        /// save or restore
        action: &'static str,
    },
}

/// Writes the state of a machine that is stopped to a file.
pub(crate) async fn save(qmp: &Qmp, mode: SnapshotMode, file: &Utf8Path) -> Result<(), MigrateError> {
    prepare(qmp, mode).await?;
    qmp.execute("migrate-set-parameters", Some(json!({ "max-bandwidth": BANDWIDTH }))).await?;
    qmp.execute("migrate", Some(uri(file))).await?;
    finish(qmp, "save").await
}

/// Reads the state of a machine, which was started to wait for it. It is stopped afterwards.
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
                let reason = answer["error-desc"].as_str().unwrap_or("it does not say why").to_owned();
                return Err(MigrateError::Failed { action, reason });
            }
            _ if Instant::now() >= deadline => return Err(MigrateError::Late { action }),
            _ => sleep(PAUSE).await,
        }
    }
}
