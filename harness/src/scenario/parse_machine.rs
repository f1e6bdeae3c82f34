// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;

use loadgauge_host::quantity::parse_size;
use toml::Spanned;

use super::problems::Problems;
use super::toml_values::{RawDisk, RawMachine};
use crate::machine::{DiskSpec, LONGEST_SERIAL, MachineSpec};

/// The most processors of QEMU's machine type `q35` (`MachineClass::max_cpus` before QEMU 9.0).
pub(super) const MOST_CPUS: u32 = 288;
/// The serial number of the disk that a machine boots from.
const PRIMARY: &str = "primary-disk";

/// Reads `[machine]`.
pub(super) fn machine(raw: RawMachine, problems: &mut Problems<'_>) -> Option<MachineSpec> {
    let mut machine = MachineSpec { firmware: raw.firmware, tpm: raw.tpm, ..MachineSpec::default() };
    if let Some(memory) = raw.memory {
        machine.memory_mib = mebibytes(&memory, problems)?;
    }
    if let Some(cpus) = raw.cpus {
        let checked = check_cpus(*cpus.get_ref());
        machine.cpus = Some(checked.map_err(|cause| problems.add(cpus.span(), cause, None)).ok()?);
    }
    machine.network = raw.network.unwrap_or(machine.network);
    machine.disks = disks(raw.disk, problems)?;
    machine.kernel_arguments = kernel_arguments(raw.kernel_arguments, problems)?;
    Some(machine)
}

/// Reads the memory of a machine, such as `2GiB`, as MiB.
///
/// # Errors
/// The text is not a size, or not a whole number of MiB.
pub fn parse_memory(text: &str) -> Result<u32, String> {
    let bytes = parse_size(text)?;
    let whole = bytes.is_multiple_of(1 << 20) && bytes > 0;
    let mebibytes = u32::try_from(bytes >> 20).ok().filter(|_| whole);
    mebibytes.ok_or_else(|| format!("`{text}` is not a size from `1MiB` to `4095TiB`"))
}

/// Reads the number of processors of a machine.
///
/// # Errors
/// The text is not a number, or more than QEMU supports.
pub fn parse_cpus(text: &str) -> Result<u32, String> {
    check_cpus(text.parse().map_err(|_| format!("`{text}` is not a number of processors"))?)
}

fn check_cpus(cpus: u32) -> Result<u32, String> {
    let valid = (1..=MOST_CPUS).contains(&cpus);
    valid.then_some(cpus).ok_or_else(|| format!("a machine has between 1 and {MOST_CPUS} processors"))
}

fn mebibytes(text: &Spanned<String>, problems: &mut Problems<'_>) -> Option<u32> {
    parse_memory(text.get_ref()).map_err(|cause| problems.add(text.span(), cause, None)).ok()
}

fn disks(raw: Vec<RawDisk>, problems: &mut Problems<'_>) -> Option<Vec<DiskSpec>> {
    let mut serials = BTreeSet::from([PRIMARY.to_owned()]);
    let mut disks = Vec::new();
    for disk in raw {
        let serial = disk.serial.get_ref();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if serial.is_empty() || serial.len() > LONGEST_SERIAL || !serial.chars().all(allowed) {
            let cause = format!("`{serial}` is not a serial number");
            let hint = format!("use up to {LONGEST_SERIAL} letters, digits and `-_.`");
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
            let hint = "write each argument as an element: `[\"quiet\", \"loglevel=3\"]`".to_owned();
            problems.add(argument.span(), format!("`{text}` is not one kernel argument"), Some(hint));
            return None;
        }
    }
    Some(raw.into_iter().map(Spanned::into_inner).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_commands_have_the_limits_of_scenario_files() {
        assert_eq!(parse_memory("2GiB"), Ok(2048));
        assert_eq!(parse_cpus("288"), Ok(288));
        for wrong in ["0MiB", "1KiB", "2 gigs", "9000TiB"] {
            parse_memory(wrong).expect_err(wrong);
        }
        for wrong in ["0", "289", "-1", "two"] {
            parse_cpus(wrong).expect_err(wrong);
        }
    }
}
