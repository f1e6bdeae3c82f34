// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::fs;
use loadgauge_images::image::DiskFormat;

use super::guest_config::complete_config;
use super::layout::Layout;
use super::plan::MachinePlan;
use super::qemu::capabilities::SnapshotMode;
use super::qemu::memory::{MemoryBacking, MemoryMode};
use super::qemu::overlay;
use super::snapshot::snapshots::SnapshotInUse;
use super::start_error::StartError;

/// What a machine starts from.
#[derive(Debug)]
pub(crate) enum StartMode<'a> {
    /// power-on
    PowerOn {
        /// the key that may log in, as a line of `authorized_keys`
        public_key: &'a str,
        /// the machine's memory
        memory: MemoryMode,
    },
    /// a snapshot
    Restore(&'a SnapshotInUse),
}

impl StartMode<'_> {
    pub(crate) fn memory(&self) -> MemoryMode {
        match self {
            Self::PowerOn { memory, .. } => memory.clone(),
            Self::Restore(SnapshotInUse { snapshot, files, .. }) => MemoryMode::Restored(MemoryBacking {
                machine_type: snapshot.machine_type.clone(),
                file: (snapshot.mode == SnapshotMode::Shared).then(|| files.memory()),
            }),
        }
    }

    /// The guest's Ignition config; of a snapshot, the one that it was booted with.
    pub(crate) fn config(&self, plan: &MachinePlan) -> Result<String, StartError> {
        match self {
            Self::PowerOn { public_key, .. } => Ok(complete_config(&plan.config, public_key)?.to_json()),
            Self::Restore(SnapshotInUse { files, .. }) => Ok(fs::read_to_string(files.config())?),
        }
    }

    /// Creates the disks and firmware variables: new ones, or copies of the snapshot's.
    pub(crate) fn make_disks(&self, plan: &MachinePlan, layout: &Layout) -> Result<(), StartError> {
        let extra = 0..plan.spec.disks.len();
        match self {
            Self::PowerOn { .. } => {
                overlay::create(&plan.image, &layout.overlay())?;
                for (number, disk) in extra.zip(&plan.spec.disks) {
                    overlay::create_empty(disk.size_mib, &layout.extra_disk(number))?;
                }
                plan.firmware.prepare(layout)?;
            }
            Self::Restore(SnapshotInUse { files, .. }) => {
                let saved = files.machine();
                let over =
                    |saved: &Utf8Path, own: &Utf8Path| overlay::create_over(saved, DiskFormat::Qcow2, own);
                over(&saved.overlay(), &layout.overlay())?;
                for number in extra {
                    over(&saved.extra_disk(number), &layout.extra_disk(number))?;
                }
                let variables = saved.firmware_variables();
                if variables.exists() {
                    fs::copy(&variables, layout.firmware_variables())?;
                }
            }
        }
        Ok(())
    }

    /// The output on the console and the journal up to the snapshot; empty at power-on.
    pub(crate) fn records(&self) -> Result<(Vec<u8>, Vec<u8>), StartError> {
        match self {
            Self::PowerOn { .. } => Ok((Vec::new(), Vec::new())),
            Self::Restore(SnapshotInUse { files, .. }) => {
                Ok((fs::read(files.console())?, fs::read(files.journal())?))
            }
        }
    }
}
