// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::snapshot::seconds;
use crate::machine::layout::Layout;
use crate::machine::plan::MachinePlan;
use crate::machine::qemu::acceleration::Accelerator;
use crate::machine::qemu::arguments;
use crate::machine::qemu::capabilities::SnapshotMode;
use crate::machine::qemu::firmware::{Firmware, Flash};
use crate::machine::qemu::memory::{Backing, Memory};
use crate::machine::start::{StartError, complete_config};

/// Of what lies in the store. It rises when an older snapshot cannot be used any more.
const FORMAT: u32 = 1;
/// Stands in for each machine's own key, which is made when it starts.
const KEY: &str = "ssh-ed25519 MADE-WHEN-THE-MACHINE-STARTS loadgauge";

/// Everything that must be the same for two machines to be the same when they have booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotKey {
    parts: BTreeMap<String, String>,
    digest: String,
}

/// What a key takes from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// which QEMU, by its file and version
    pub(crate) emulator: String,
    /// the machine by its versioned name
    pub(crate) machine: String,
    /// how machines are saved
    pub(crate) mode: SnapshotMode,
    /// the processor that guests see through KVM
    pub(crate) processor: String,
}

impl SnapshotKey {
    /// The key of a machine on a host. The command line is part of it as it would be, but for what
    /// differs from one start to the next: paths of its own, its name, and its key for SSH.
    ///
    /// # Errors
    /// The machine's config and the harness's do not go together.
    pub(crate) fn of(plan: &MachinePlan, host: &Host) -> Result<Self, StartError> {
        let config = complete_config(&plan.config, KEY)?.to_json();
        let nameless = MachinePlan { name: String::new(), ..plan.clone() };
        let layout = Layout::new("RECORDS", "RUNTIME", "RELAY");
        let backing = Backing { machine: host.machine.clone(), file: None };
        let command = arguments::arguments_with(&nameless, &layout, &Memory::Kept(backing));
        let served: Vec<String> =
            plan.served.iter().map(|served| format!("{} {}", served.url_path, served.sha512)).collect();
        let spec = serde_json::to_string(&plan.spec).unwrap_or_default();
        let mut parts = BTreeMap::from([
            ("format", FORMAT.to_string()),
            // The copy of the disk names the image by its path.
            ("image", format!("{} {} {}", plan.image.digest, plan.image.format.name(), plan.image.disk)),
            ("config", hex::encode(Sha256::digest(&config))),
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
        let parts = parts.into_iter().map(|(name, part)| (name.to_owned(), part)).collect();
        Ok(Self { digest: digest(&parts), parts })
    }

    /// SHA-256 of it all, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What it is made of, by name.
    pub fn parts(&self) -> &BTreeMap<String, String> {
        &self.parts
    }
}

/// The files of a firmware as they are on the host; a copy of one is what the guest gets.
fn firmware(firmware: &Firmware) -> String {
    let Firmware::Uefi { code, variables, .. } = firmware else { return firmware.name().to_owned() };
    let identity = |flash: &Flash| {
        let file = flash.path.metadata().ok();
        let changed = file.as_ref().and_then(|file| file.modified().ok()).map_or(0, seconds);
        format!("{} {} {changed}", flash.path, file.map_or(0, |file| file.len()))
    };
    format!("{}\n{}\n{}", firmware.name(), identity(code), identity(variables))
}

fn digest(parts: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for part in parts.iter().flat_map(|(name, part)| [name, part]) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// The processor as guests see it through KVM: its name, revision and abilities (proc_cpuinfo(5)).
pub(crate) fn host_processor(cpuinfo: &str) -> String {
    const TELLING: [&str; 7] =
        ["vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags"];
    let first = cpuinfo.split("\n\n").next().unwrap_or_default();
    let telling = |line: &&str| line.split(':').next().is_some_and(|name| TELLING.contains(&name.trim()));
    first.lines().filter(telling).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use loadgauge_ignition::delivery::Served;
    use loadgauge_images::image::DiskFormat;

    use super::*;
    use crate::machine::testing;

    fn host() -> Host {
        Host {
            emulator: "/usr/bin/qemu 1 2 10.0.2".to_owned(),
            machine: "pc-q35-10.0".to_owned(),
            mode: SnapshotMode::Shared,
            processor: "model name : one".to_owned(),
        }
    }

    fn key(plan: &MachinePlan, host: &Host) -> String {
        SnapshotKey::of(plan, host).expect("a key").digest().to_owned()
    }

    #[test]
    fn the_name_of_a_scenario_is_no_part_of_its_machine() {
        let other = MachinePlan { name: "another".to_owned(), ..testing::plan() };
        assert_eq!(key(&testing::plan(), &host()), key(&other, &host()));
    }

    #[test]
    fn whatever_makes_another_machine_makes_another_key() {
        type Change = fn(&mut MachinePlan, &mut Host);
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
            ("extension that is served", |plan, _| {
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
            ("machine", |_, host| host.machine = "pc-q35-10.1".to_owned()),
            ("mode", |_, host| host.mode = SnapshotMode::Mapped),
        ];
        let mut seen = vec![(key(&testing::plan(), &host()), "nothing")];
        for (what, change) in changes {
            let (mut plan, mut host) = (testing::plan(), host());
            change(&mut plan, &mut host);
            let key = key(&plan, &host);
            let same = seen.iter().find(|(other, _)| *other == key).map(|(_, what)| what);
            assert_eq!(same, None, "a change of the {what} makes no other key");
            seen.push((key, what));
        }
    }

    #[test]
    fn the_hosts_processor_counts_where_guests_see_it() {
        let other = Host { processor: "model name : two".to_owned(), ..host() };
        let mut plan = testing::plan();
        assert_eq!(key(&plan, &host()), key(&plan, &other), "TCG hides it");
        plan.acceleration.accelerator = Accelerator::Kvm;
        assert_ne!(key(&plan, &host()), key(&plan, &other));
    }

    #[test]
    fn how_fast_a_processor_runs_at_the_moment_is_not_which_it_is() {
        let text =
            "processor\t: 0\nmodel name\t: X\ncpu MHz\t\t: 2100.1\nflags\t\t: fpu vme\n\nprocessor\t: 1\n";
        assert_eq!(host_processor(text), "model name\t: X\nflags\t\t: fpu vme");
    }
}
