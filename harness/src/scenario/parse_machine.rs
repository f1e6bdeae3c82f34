// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;

use toml::Spanned;

use super::format::{RawDisk, RawMachine};
use super::problem::Problems;
use crate::machine::{DiskSpec, LONGEST_SERIAL, MachineSpec};
use loadgauge_host::quantity::parse_size;

/// The most processors that QEMU's machine `q35` takes (`MachineClass::max_cpus` before 9.0).
const MOST_CPUS: u32 = 288;
/// The serial number of the disk that a machine boots from.
const PRIMARY: &str = "primary-disk";

/// Reads `[machine]`.
pub(super) fn machine(raw: RawMachine, problems: &mut Problems<'_>) -> Option<MachineSpec> {
    let mut machine = MachineSpec { firmware: raw.firmware, tpm: raw.tpm, ..MachineSpec::default() };
    if let Some(memory) = raw.memory {
        machine.memory_mib = mebibytes(&memory, problems)?;
    }
    if let Some(cpus) = raw.cpus {
        if !(1..=MOST_CPUS).contains(cpus.get_ref()) {
            let cause = format!("a machine has between 1 and {MOST_CPUS} processors");
            problems.add(cpus.span(), cause, None);
            return None;
        }
        machine.cpus = Some(*cpus.get_ref());
    }
    machine.network = raw.network.unwrap_or(machine.network);
    machine.disks = disks(raw.disk, problems)?;
    machine.kernel_arguments = kernel_arguments(raw.kernel_arguments, problems)?;
    Some(machine)
}

fn mebibytes(text: &Spanned<String>, problems: &mut Problems<'_>) -> Option<u32> {
    let size = parse_size(text.get_ref()).and_then(|bytes| {
        let whole = bytes.is_multiple_of(1 << 20) && bytes > 0;
        u32::try_from(bytes >> 20)
            .ok()
            .filter(|_| whole)
            .ok_or_else(|| format!("`{}` is not a size from `1MiB` to `4095TiB`", text.get_ref()))
    });
    size.map_err(|cause| problems.add(text.span(), cause, None)).ok()
}

fn disks(raw: Vec<RawDisk>, problems: &mut Problems<'_>) -> Option<Vec<DiskSpec>> {
    let mut serials = BTreeSet::from([PRIMARY.to_owned()]);
    let mut disks = Vec::new();
    for disk in raw {
        let serial = disk.serial.get_ref();
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if serial.is_empty() || serial.len() > LONGEST_SERIAL || !serial.chars().all(known) {
            let cause = format!("`{serial}` is not a serial number");
            let hint = format!("up to {LONGEST_SERIAL} letters, digits and `-_.`");
            problems.add(disk.serial.span(), cause, Some(hint));
            return None;
        }
        if !serials.insert(serial.clone()) {
            problems.add(disk.serial.span(), format!("another disk has the serial number `{serial}`"), None);
            return None;
        }
        let size_mib = mebibytes(&disk.size, problems)?;
        disks.push(DiskSpec { size_mib, serial: disk.serial.into_inner() });
    }
    Some(disks)
}

fn kernel_arguments(raw: Vec<Spanned<String>>, problems: &mut Problems<'_>) -> Option<Vec<String>> {
    for argument in &raw {
        let text = argument.get_ref();
        if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '"') {
            let hint =
                "write each argument as an element of its own: `[\"quiet\", \"loglevel=3\"]`".to_owned();
            problems.add(argument.span(), format!("`{text}` is not one kernel argument"), Some(hint));
            return None;
        }
    }
    Some(raw.into_iter().map(Spanned::into_inner).collect())
}
