// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use loadgauge_host::digest::{Inputs, sha256};

use super::snapshot::seconds;
use crate::machine::guest_config::complete_config;
use crate::machine::layout::Layout;
use crate::machine::plan::MachinePlan;
use crate::machine::qemu::accelerator::Accelerator;
use crate::machine::qemu::arguments::arguments_with;
use crate::machine::qemu::capabilities::SnapshotMode;
use crate::machine::qemu::firmware::Firmware;
use crate::machine::qemu::flash::Flash;
use crate::machine::qemu::memory::{MemoryBacking, MemoryMode};
use crate::machine::start_error::StartError;

/// The format of snapshots. It is increased when older ones become unusable.
const FORMAT: u32 = 2;
/// Replaces a machine's SSH key, which is generated when it starts.
const KEY: &str = "ssh-ed25519 MADE-WHEN-THE-MACHINE-STARTS loadgauge";

/// Everything that must be equal for two booted machines to be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotKey {
    parts: BTreeMap<String, String>,
    digest: String,
}

/// What a key takes from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotHost {
    /// the emulator's identity
    pub(crate) emulator: String,
    /// QEMU's machine type with its version
    pub(crate) machine_type: String,
    /// how machines are saved
    pub(crate) mode: SnapshotMode,
    /// the processor that KVM offers to guests
    pub(crate) processor: String,
}

impl SnapshotKey {
    /// Computes the key of a machine on a host. The command line is part of it, without what differs
    /// between two starts: the machine's paths, name and SSH key.
    ///
    /// # Errors
    /// The machine's Ignition config contradicts the harness's.
    pub(crate) fn of(plan: &MachinePlan, host: &SnapshotHost) -> Result<Self, StartError> {
        let config = complete_config(&plan.config, KEY)?.to_json();
        let nameless = MachinePlan { name: String::new(), ..plan.clone() };
        let layout = Layout::new("RECORDS", "RUNTIME", "RELAY");
        let backing = MemoryBacking { machine_type: host.machine_type.clone(), file: None };
        let command = arguments_with(&nameless, &layout, &MemoryMode::Saved(backing));
        let served: Vec<String> =
            plan.served.iter().map(|served| format!("{} {}", served.url_path, served.sha512)).collect();
        let spec = serde_json::to_string(&plan.spec).unwrap_or_default();
        let mut parts = BTreeMap::from([
            ("format", FORMAT.to_string()),
            // The saved overlay refers to the image by its path.
            ("image", format!("{} {} {}", plan.image.digest, plan.image.format.name(), plan.image.disk)),
            ("config", sha256(&config)),
            ("served", served.join("\n")),
            ("machine", spec),
            ("firmware", firmware(&plan.firmware)),
            ("emulator", host.emulator.clone()),
            ("mode", host.mode.capability().to_owned()),
            ("command", command.join("\n")),
        ]);
        if plan.acceleration.accelerator == Accelerator::Kvm {
            parts.insert("processor", host.processor.clone());
        }
        let mut inputs = Inputs::default();
        for (name, part) in &parts {
            inputs.add(name, part);
        }
        let parts = parts.into_iter().map(|(name, part)| (name.to_owned(), part)).collect();
        Ok(Self { parts, digest: inputs.finish() })
    }

    /// SHA-256 of all parts, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The parts, by name.
    pub(crate) fn parts(&self) -> &BTreeMap<String, String> {
        &self.parts
    }
}

/// Identifies the files of a firmware, of which the guest gets copies.
fn firmware(firmware: &Firmware) -> String {
    let Firmware::Uefi { code, variables, .. } = firmware else { return firmware.name().to_owned() };
    let identity = |flash: &Flash| {
        let file = flash.path.metadata().ok();
        let changed = file.as_ref().and_then(|file| file.modified().ok()).map_or(0, seconds);
        format!("{} {} {changed}", flash.path, file.map_or(0, |file| file.len()))
    };
    format!("{}\n{}\n{}", firmware.name(), identity(code), identity(variables))
}

/// The processor that KVM offers to guests: its name, revision and features (proc_cpuinfo(5)).
pub(crate) fn host_processor(cpuinfo: &str) -> String {
    const FIELDS: [&str; 7] =
        ["vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags"];
    let first = cpuinfo.split("\n\n").next().unwrap_or_default();
    let relevant = |line: &&str| line.split(':').next().is_some_and(|name| FIELDS.contains(&name.trim()));
    first.lines().filter(relevant).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use loadgauge_ignition::delivery::Served;
    use loadgauge_images::image::DiskFormat;

    use super::*;
    use crate::machine::testing;

    fn host() -> SnapshotHost {
        SnapshotHost {
            emulator: "/usr/bin/qemu 1 2 10.0.2".to_owned(),
            machine_type: "pc-q35-10.0".to_owned(),
            mode: SnapshotMode::Shared,
            processor: "model name : one".to_owned(),
        }
    }

    fn key(plan: &MachinePlan, host: &SnapshotHost) -> String {
        SnapshotKey::of(plan, host).expect("a key").digest().to_owned()
    }

    #[test]
    fn the_name_of_the_scenario_is_not_part_of_the_key() {
        let other = MachinePlan { name: "another".to_owned(), ..testing::plan() };
        assert_eq!(key(&testing::plan(), &host()), key(&other, &host()));
    }

    #[test]
    fn every_difference_of_machines_changes_the_key() {
        type Change = fn(&mut MachinePlan, &mut SnapshotHost);
        let changes: &[(&str, Change)] = &[
            ("image", |plan, _| plan.image.digest = "01".to_owned()),
            ("disk", |plan, _| plan.image.disk = "/images/other.img".into()),
            ("extension in the config", |plan, _| {
                plan.config.link(loadgauge_ignition::Link {
                    path: "/etc/extensions/x.raw".into(),
                    target: "/dev/null".into(),
                    ..loadgauge_ignition::Link::default()
                });
            }),
            ("served extension", |plan, _| {
                plan.served.push(Served {
                    url_path: "/ab/x.raw".to_owned(),
                    file: "/x.raw".into(),
                    sha512: "ab".to_owned(),
                });
            }),
            ("memory", |plan, _| plan.spec.memory_mib = 2048),
            ("processors", |plan, _| plan.spec.cpus = Some(4)),
            ("network", |plan, _| plan.spec.network = crate::machine::Network::Internet),
            ("firmware", |plan, _| {
                let flash = |path: &str| Flash { path: path.into(), format: DiskFormat::Raw };
                let (code, variables) = (flash("/code"), flash("/variables"));
                plan.firmware = Firmware::Uefi { code, variables, secure: false };
            }),
            ("firmware's variables", |plan, _| {
                let flash = |path: &str| Flash { path: path.into(), format: DiskFormat::Raw };
                let (code, variables) = (flash("/code"), flash("/other"));
                plan.firmware = Firmware::Uefi { code, variables, secure: false };
            }),
            ("TPM", |plan, _| plan.spec.tpm = true),
            ("acceleration", |plan, _| plan.acceleration.accelerator = Accelerator::Kvm),
            ("QEMU", |_, host| host.emulator.push_str("+1")),
            ("machine type", |_, host| host.machine_type = "pc-q35-10.1".to_owned()),
            ("mode", |_, host| host.mode = SnapshotMode::Mapped),
        ];
        let mut seen = vec![(key(&testing::plan(), &host()), "nothing")];
        for (what, change) in changes {
            let (mut plan, mut host) = (testing::plan(), host());
            change(&mut plan, &mut host);
            let key = key(&plan, &host);
            let same = seen.iter().find(|(other, _)| *other == key).map(|(_, what)| what);
            assert_eq!(same, None, "a change of the {what} does not change the key");
            seen.push((key, what));
        }
    }

    #[test]
    fn the_hosts_processor_is_part_of_the_key_with_kvm_only() {
        let other = SnapshotHost { processor: "model name : two".to_owned(), ..host() };
        let mut plan = testing::plan();
        assert_eq!(key(&plan, &host()), key(&plan, &other), "TCG hides it");
        plan.acceleration.accelerator = Accelerator::Kvm;
        assert_ne!(key(&plan, &host()), key(&plan, &other));
    }

    #[test]
    fn the_current_frequency_of_a_processor_is_left_out() {
        let text =
            "processor\t: 0\nmodel name\t: X\ncpu MHz\t\t: 2100.1\nflags\t\t: fpu vme\n\nprocessor\t: 1\n";
        assert_eq!(host_processor(text), "model name\t: X\nflags\t\t: fpu vme");
    }
}
