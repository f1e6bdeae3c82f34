// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_images::Architecture;

use super::acceleration::Accelerator;
use super::firmware::Firmware;
use super::memory::Memory;
use crate::machine::layout::Layout;
use crate::machine::plan::MachinePlan;
use crate::machine::spec::{DiskSpec, Network};
use crate::machine::units::{EVENTS_PORT, JOURNAL_PORT};

/// Where the guest finds the harness: an address of QEMU's user network that no host has, with HTTP on
/// port 80 (and so the origin `http://10.0.2.100`).
pub const ORIGIN: &str = "http://10.0.2.100";
const HARNESS: &str = "10.0.2.100:80";

/// The names under which a guest looks for its Ignition config: Flatcar's and, for an Ignition that is
/// not Flatcar's, upstream's.
const CONFIG_NAMES: [&str; 2] = ["opt/org.flatcar-linux/config", "opt/com.coreos/config"];

/// QEMU's arguments for a machine.
///
/// The machine starts stopped, so that nothing happens before the harness watches, and connects all
/// its sockets to the harness, so that nobody waits for a socket to appear.
pub fn arguments(plan: &MachinePlan, layout: &Layout) -> Vec<String> {
    arguments_with(plan, layout, &Memory::Own)
}

/// The same for a machine that a snapshot is made of, or that is restored from one.
pub(crate) fn arguments_with(plan: &MachinePlan, layout: &Layout, memory: &Memory) -> Vec<String> {
    [
        machine(plan, memory),
        memory.arguments(plan.spec.memory_mib),
        plan.firmware.arguments(plan.architecture(), layout),
        channels(layout),
        devices(plan, layout),
        disks(plan, layout),
        tpm(plan, layout),
        config(layout),
        network(plan, layout),
        segment(plan, layout),
    ]
    .concat()
}

fn machine(plan: &MachinePlan, memory: &Memory) -> Vec<String> {
    let spec = &plan.spec;
    let architecture = plan.architecture();
    words([
        ("-name", format!("guest={}", value(&plan.name))),
        ("-machine", memory.machine(board(architecture, &plan.firmware))),
        ("-accel", accelerator(plan.acceleration.accelerator).into()),
        ("-cpu", processor(architecture, plan.acceleration.accelerator).into()),
        ("-m", format!("{}M", spec.memory_mib)),
        ("-smp", spec.processors(plan.acceleration.accelerator).to_string()),
        // A panic that the guest tells of stops it, so that it is seen before the guest resets itself.
        ("-action", "panic=pause".into()),
        ("-display", "none".into()),
        // QEMU loses system calls that it does not need. `spawn` must stay, and `elevateprivileges` too:
        // denied to it or to its children, the relay is not started and the guest's requests come to
        // nothing, without a word.
        ("-sandbox", "on,resourcecontrol=deny".into()),
    ])
    .into_iter()
    .chain(["-nodefaults", "-no-user-config", "-S"].map(str::to_owned))
    .collect()
}

/// What `-accel` takes for an accelerator.
pub(crate) fn accelerator(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg => "tcg,thread=multi",
    }
}

/// What `-machine` takes. Secure Boot on amd64 needs system management mode, where alone the variables
/// can be written.
fn board(architecture: Architecture, firmware: &Firmware) -> &'static str {
    match (architecture, firmware) {
        (Architecture::Amd64, Firmware::Uefi { secure: true, .. }) => "q35,smm=on",
        (Architecture::Amd64, _) => "q35",
        (Architecture::Arm64, _) => "virt,gic-version=max",
    }
}

/// What `-cpu` takes: all that the accelerator can give, but for TCG no more than what Flatcar and
/// today's distributions may ask for (x86-64-v2, ARMv8.0): a boot with `max` takes a tenth more
/// processor time.
pub(crate) fn processor(architecture: Architecture, accelerator: Accelerator) -> &'static str {
    match (accelerator, architecture) {
        (Accelerator::Kvm, _) => "host",
        (Accelerator::Tcg, Architecture::Amd64) => "Nehalem",
        (Accelerator::Tcg, Architecture::Arm64) => "cortex-a57",
    }
}

/// The ways in which QEMU and guest talk to the harness.
fn channels(layout: &Layout) -> Vec<String> {
    let socket = |id, path: &Utf8Path| format!("socket,id={id},path={}", value(path.as_str()));
    let port = |id, name| format!("virtserialport,bus=ports.0,chardev={id},name={name}");
    words([
        ("-chardev", socket("qmp", &layout.qmp_socket())),
        ("-mon", "chardev=qmp,mode=control".into()),
        // Not with `logfile=`: QEMU writes a byte there again each time the socket was full.
        ("-chardev", socket("console", &layout.console_socket())),
        ("-serial", "chardev:console".into()),
        ("-device", "virtio-serial-pci,id=ports".into()),
        ("-chardev", socket("events", &layout.events_socket())),
        ("-device", port("events", EVENTS_PORT)),
        ("-chardev", socket("journal", &layout.journal_socket())),
        ("-device", port("journal", JOURNAL_PORT)),
    ])
}

fn devices(plan: &MachinePlan, layout: &Layout) -> Vec<String> {
    let mut all = words([
        ("-drive", drive("disk", &layout.overlay())),
        ("-device", "virtio-blk-pci,drive=disk,serial=primary-disk,bootindex=1".into()),
        ("-object", "rng-random,id=random,filename=/dev/urandom".into()),
        ("-device", "virtio-rng-pci,rng=random".into()),
        ("-device", "pvpanic-pci".into()),
    ]);
    if plan.architecture() == Architecture::Amd64 {
        // Tells a guest that was restored from a snapshot so, and its kernel draws new random numbers;
        // QEMU has it for this board alone.
        all.extend(words([("-device", "vmgenid,guid=auto".into())]));
    }
    all
}

/// The empty disks, in the order in which they were asked for.
fn disks(plan: &MachinePlan, layout: &Layout) -> Vec<String> {
    let disk = |(number, disk): (usize, &DiskSpec)| {
        let id = format!("disk{number}");
        let device = format!("virtio-blk-pci,drive={id},serial={}", value(&disk.serial));
        words([("-drive", drive(&id, &layout.extra_disk(number))), ("-device", device)])
    };
    plan.spec.disks.iter().enumerate().flat_map(disk).collect()
}

/// A disk that goes with the machine: whether it would survive the host's crash is of no interest.
/// A host that has no room for what is written, or cannot write it, stops the guest: an error that the
/// guest were told would look like its own.
fn drive(id: &str, file: &Utf8Path) -> String {
    let file = value(file.as_str());
    format!("if=none,id={id},file={file},format=qcow2,cache=unsafe,discard=unmap,werror=stop,rerror=stop")
}

fn tpm(plan: &MachinePlan, layout: &Layout) -> Vec<String> {
    if !plan.spec.tpm {
        return Vec::new();
    }
    let device = match plan.architecture() {
        Architecture::Amd64 => "tpm-crb,tpmdev=tpm",
        Architecture::Arm64 => "tpm-tis-device,tpmdev=tpm",
    };
    words([
        ("-chardev", format!("socket,id=tpm,path={}", value(layout.tpm_socket().as_str()))),
        ("-tpmdev", "emulator,id=tpm,chardev=tpm".into()),
        ("-device", device.into()),
    ])
}

fn config(layout: &Layout) -> Vec<String> {
    words(
        CONFIG_NAMES
            .map(|name| ("-fw_cfg", format!("name={name},file={}", value(layout.ignition().as_str())))),
    )
}

/// The guest's network. Port 0 has the kernel choose a free one for SSH.
fn network(plan: &MachinePlan, layout: &Layout) -> Vec<String> {
    let restrict = match plan.spec.network {
        Network::Hermetic => "restrict=on",
        Network::Internet => "restrict=off",
    };
    let relay = format!("{} relay {}", shell_word(layout.relay()), shell_word(&layout.http_socket()));
    let netdev = format!(
        "user,id=network,{restrict},hostfwd=tcp:127.0.0.1:0-:22,guestfwd=tcp:{HARNESS}-cmd:{}",
        value(&relay)
    );
    // No option ROM: nobody boots from the network, and the firmware need not wait for it.
    words([("-netdev", netdev), ("-device", "virtio-net-pci,netdev=network,romfile=".into())])
}

/// The interface on the network where the machines of a scenario meet: QEMU hands its frames to the
/// harness (`-netdev stream`, since QEMU 7.2).
fn segment(plan: &MachinePlan, layout: &Layout) -> Vec<String> {
    let Some(station) = plan.station else { return Vec::new() };
    let socket = value(layout.segment_socket().as_str());
    words([
        ("-netdev", format!("stream,id=segment,addr.type=unix,addr.path={socket}")),
        ("-device", format!("virtio-net-pci,netdev=segment,mac={},romfile=", station.mac())),
    ])
}

pub(crate) fn words<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect()
}

/// A value within an option of QEMU: a comma ends it unless it is doubled.
pub(crate) fn value(text: &str) -> String {
    text.replace(',', ",,")
}

/// A word of the command that QEMU splits as a shell does (GLib's `g_shell_parse_argv`).
fn shell_word(path: &Utf8Path) -> String {
    format!("'{}'", path.as_str().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use loadgauge_images::image::DiskFormat;

    use super::*;
    use crate::machine::network::peer_address::PeerAddress;
    use crate::machine::qemu::firmware::Flash;
    use crate::machine::testing;

    fn shown(accelerator: Accelerator, network: Network) -> String {
        let mut plan = testing::plan();
        plan.acceleration.accelerator = accelerator;
        plan.spec.network = network;
        joined(&plan)
    }

    fn joined(plan: &MachinePlan) -> String {
        let layout = Layout::new("/runs/1/docker", "/tmp/loadgauge-x/0", "/usr/bin/loadgauge");
        arguments(plan, &layout).join("\n")
    }

    fn uefi(secure: bool) -> Firmware {
        let flash = |name: &str| Flash { path: format!("/firmware/{name}").into(), format: DiskFormat::Raw };
        Firmware::Uefi { code: flash("code.fd"), variables: flash("vars.fd"), secure }
    }

    #[test]
    fn amd64_tcg_secure_with_everything() {
        let mut plan = testing::plan();
        plan.firmware = uefi(true);
        plan.spec.tpm = true;
        plan.spec.disks = vec![
            DiskSpec { size_mib: 512, serial: "data".into() },
            DiskSpec { size_mib: 1024, serial: "a,b".into() },
        ];
        insta::assert_snapshot!(joined(&plan));
    }

    #[test]
    fn amd64_tcg_among_others() {
        let mut plan = testing::plan();
        plan.station = PeerAddress::all().nth(1);
        insta::assert_snapshot!(joined(&plan));
    }

    #[test]
    fn arm64_tcg_uefi() {
        let mut plan = testing::plan();
        plan.image.facts.architecture = Architecture::Arm64;
        plan.firmware = uefi(false);
        plan.spec.tpm = true;
        insta::assert_snapshot!(joined(&plan));
    }

    #[test]
    fn arm64_kvm_secure() {
        let mut plan = testing::plan();
        plan.image.facts.architecture = Architecture::Arm64;
        plan.acceleration.accelerator = Accelerator::Kvm;
        plan.firmware = uefi(true);
        insta::assert_snapshot!(joined(&plan));
    }

    #[test]
    fn amd64_tcg_hermetic() {
        insta::assert_snapshot!(shown(Accelerator::Tcg, Network::Hermetic));
    }

    #[test]
    fn amd64_kvm_hermetic() {
        insta::assert_snapshot!(shown(Accelerator::Kvm, Network::Hermetic));
    }

    #[test]
    fn amd64_kvm_internet() {
        insta::assert_snapshot!(shown(Accelerator::Kvm, Network::Internet));
    }

    #[test]
    fn paths_with_anything_in_them_stay_whole() {
        let layout = Layout::new("/runs/a,b", "/tmp/x", "/opt/it's here/load gauge");
        let all = arguments(&testing::plan(), &layout);
        assert!(all.contains(&"name=opt/com.coreos/config,file=/runs/a,,b/config.ign".to_owned()));
        let netdev = all.iter().find(|word| word.starts_with("user,")).expect("a network");
        assert!(netdev.ends_with(r"-cmd:'/opt/it'\''s here/load gauge' relay '/tmp/x/http'"), "{netdev}");
    }
}
