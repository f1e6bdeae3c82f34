// SPDX-License-Identifier: Apache-2.0
use loadgauge_images::image::DiskFormat;

use super::abilities::Way;
use super::directory::at;
use super::memory::{Backing, Memory};
use super::snapshots::Held;
use super::start::complete_config;
use super::{Layout, MachinePlan, StartError, overlay};

/// How a machine comes to run.
#[derive(Debug)]
pub(crate) enum Beginning<'a> {
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

impl Beginning<'_> {
    pub(crate) fn memory(&self) -> Memory {
        match self {
            Self::PowerOn { memory, .. } => memory.clone(),
            Self::Restore(Held { snapshot, files, .. }) => Memory::Restored(Backing {
                machine: snapshot.machine.clone(),
                file: (snapshot.way == Way::Shared).then(|| files.memory()),
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

    /// Makes the disk that the guest writes to: over the image, or over what was written when the
    /// machine was saved.
    pub(crate) fn make_disk(&self, plan: &MachinePlan, layout: &Layout) -> Result<(), StartError> {
        match self {
            Self::PowerOn { .. } => overlay::create(&plan.image, &layout.overlay())?,
            Self::Restore(Held { files, .. }) => {
                overlay::create_over(&files.disk(), DiskFormat::Qcow2, &layout.overlay())?;
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
