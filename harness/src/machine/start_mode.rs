// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_images::image::DiskFormat;

use super::directory::at;
use super::layout::Layout;
use super::plan::MachinePlan;
use super::start::StartError;
use super::start::complete_config;
use crate::machine::qemu::capabilities::SnapshotMode;
use crate::machine::qemu::memory::{Backing, Memory};
use crate::machine::qemu::overlay;
use crate::machine::snapshot::snapshots::Held;

/// How a machine comes to run.
#[derive(Debug)]
pub(crate) enum StartMode<'a> {
    /// it is powered on, and lets the owner of a key in
    PowerOn {
        /// as a line of `authorized_keys`
        public_key: &'a str,
        /// where its memory lies
        memory: Memory,
    },
    /// it goes on from a snapshot
    Restore(&'a Held),
}

impl StartMode<'_> {
    pub(crate) fn memory(&self) -> Memory {
        match self {
            Self::PowerOn { memory, .. } => memory.clone(),
            Self::Restore(Held { snapshot, files, .. }) => Memory::Restored(Backing {
                machine: snapshot.machine.clone(),
                file: (snapshot.mode == SnapshotMode::Shared).then(|| files.memory()),
            }),
        }
    }

    /// The config that the guest gets, or got before it was saved.
    pub(crate) fn config(&self, plan: &MachinePlan) -> Result<String, StartError> {
        match self {
            Self::PowerOn { public_key, .. } => Ok(complete_config(&plan.config, public_key)?.to_json()),
            Self::Restore(Held { files, .. }) => {
                Ok(std::fs::read_to_string(files.config()).map_err(at("read", files.config()))?)
            }
        }
    }

    /// Makes the disks that the guest writes to and the variables of its firmware: new ones, or those of
    /// the machine that was saved.
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
            Self::Restore(Held { files, .. }) => {
                let saved = files.machine();
                let over =
                    |saved: &Utf8Path, own: &Utf8Path| overlay::create_over(saved, DiskFormat::Qcow2, own);
                over(&saved.overlay(), &layout.overlay())?;
                for number in extra {
                    over(&saved.extra_disk(number), &layout.extra_disk(number))?;
                }
                let variables = saved.firmware_variables();
                if variables.exists() {
                    std::fs::copy(&variables, layout.firmware_variables()).map_err(at("copy", &variables))?;
                }
            }
        }
        Ok(())
    }

    /// What the guest said before it was saved, on its console and of its journal.
    pub(crate) fn records(&self) -> Result<(Vec<u8>, Vec<u8>), StartError> {
        match self {
            Self::PowerOn { .. } => Ok((Vec::new(), Vec::new())),
            Self::Restore(Held { files, .. }) => {
                let read = |path: camino::Utf8PathBuf| std::fs::read(&path).map_err(at("read", path));
                Ok((read(files.console())?, read(files.journal())?))
            }
        }
    }
}
