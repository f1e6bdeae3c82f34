// SPDX-License-Identifier: Apache-2.0
//! How a machine starts, and why.
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::snapshot::key::SnapshotKey;

/// How a machine came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// booted from power-on
    Cold,
    /// restored from a snapshot of a booted machine
    Warm,
}

impl fmt::Display for Start {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
        })
    }
}

/// The value of `--start`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StartChoice {
    /// warm if several scenarios use the same machine or its snapshot exists
    #[default]
    Auto,
    /// warm wherever possible, also for a single scenario
    Warm,
    /// cold, every machine
    Cold,
}

/// How a machine is to start. It is computed from the plan and the host before anything is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartMethod {
    /// boot from power-on
    Cold {
        /// why the machine is not restored
        reason: ColdReason,
        /// the key that its snapshot would have, where snapshots of it are possible
        key: Option<SnapshotKey>,
    },
    /// restore the snapshot, which is made first if it does not exist
    Warm {
        /// why the machine is not booted
        reason: WarmReason,
        /// the key of the snapshot
        key: SnapshotKey,
    },
}

/// Why a machine starts cold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColdReason {
    /// the user asks for cold starts
    #[error("cold starts were requested")]
    Requested,
    /// the scenario asks for it
    #[error("the scenario requires a cold start")]
    Scenario,
    /// it has peers
    #[error("its boot may need the other machines of its scenario, and a snapshot contains one machine")]
    Peers,
    /// the host cannot make snapshots
    #[error("{0}")]
    Host(String),
    /// no key can be computed
    #[error("its Ignition config cannot be merged with the harness's")]
    Conflict,
    /// a snapshot would be used once
    #[error("no other scenario uses the same machine")]
    NotShared,
    /// the snapshot cannot be made
    #[error("cannot make a snapshot of its machine: {0}")]
    NoSnapshot(String),
    /// the snapshot cannot be restored
    #[error("its snapshot was refused and removed: {0}")]
    Refused(String),
    /// a reason of the caller's
    #[error("{0}")]
    Other(String),
}

/// Why a machine starts warm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WarmReason {
    /// the snapshot exists
    #[error("a snapshot of its machine exists")]
    SnapshotExists,
    /// the run starts the same machine this many times
    #[error("the run starts its machine {0} times")]
    Shared(usize),
    /// the user asks for warm starts
    #[error("warm starts were requested")]
    Requested,
}

impl StartMethod {
    /// A cold start for a reason of the caller's.
    pub fn cold(reason: &str) -> Self {
        Self::Cold { reason: ColdReason::Other(reason.to_owned()), key: None }
    }

    /// Cold or warm.
    pub fn start(&self) -> Start {
        match self {
            Self::Cold { .. } => Start::Cold,
            Self::Warm { .. } => Start::Warm,
        }
    }

    /// The reason as a text.
    pub fn reason(&self) -> String {
        match self {
            Self::Cold { reason, .. } => reason.to_string(),
            Self::Warm { reason, .. } => reason.to_string(),
        }
    }

    /// The digest of the snapshot's key, where snapshots of the machine are possible.
    pub fn snapshot(&self) -> Option<&str> {
        match self {
            Self::Cold { key, .. } => key.as_ref().map(SnapshotKey::digest),
            Self::Warm { key, .. } => Some(key.digest()),
        }
    }
}

/// How a machine was started, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartReport {
    /// cold or warm
    pub start: Start,
    /// why, as a text
    pub reason: String,
    /// the time in milliseconds for booting and saving the snapshot, if it was made for this machine
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_ms: Option<u64>,
}

impl StartReport {
    /// A short text for reports.
    pub fn description(&self) -> String {
        match (self.start, self.snapshot_ms) {
            (Start::Cold, _) => "cold start".to_owned(),
            (Start::Warm, None) => "warm start".to_owned(),
            (Start::Warm, Some(took)) => {
                let seconds = Duration::from_millis(took).as_secs_f64();
                format!("warm start (its snapshot was made in {seconds:.1} s)")
            }
        }
    }
}
