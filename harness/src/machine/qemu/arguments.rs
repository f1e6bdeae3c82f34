// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_images::Architecture;

use super::firmware::Firmware;
use super::memory::MemoryMode;
use super::option::{escape, options};
use crate::machine::guest_config::{EVENTS_PORT, JOURNAL_PORT};
use crate::machine::layout::Layout;
use crate::machine::plan::MachinePlan;
use crate::machine::spec::{DiskSpec, Network};

/// The harness's origin for the guest: HTTP on port 80 of an address in QEMU's user network that no host
/// has.
pub const ORIGIN: &str = "http://10.0.2.100";
const HARNESS: &str = "10.0.2.100:80";

/// The names under which Ignition looks for its config: in Flatcar, and upstream.
const CONFIG_NAMES: [&str; 2] = ["opt/org.flatcar-linux/config", "opt/com.coreos/config"];

/// QEMU's arguments for a machine.
///
/// The guest starts paused, so that the harness misses nothing. QEMU connects its sockets to the harness,
/// which so need not wait for them to appear.
pub fn arguments(plan: &MachinePlan, layout: &Layout) -> Vec<String> {
    arguments_with(plan, layout, &MemoryMode::Anonymous)
}

/// As [`arguments`], for a machine that is saved or restored.
pub(crate) fn arguments_with(plan: &MachinePlan, layout: &Layout, memory: &MemoryMode) -> Vec<String> {
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
        peers(plan, layout),
    ]
    .concat()
}

fn machine(plan: &MachinePlan, memory: &MemoryMode) -> Vec<String> {
    let spec = &plan.spec;
    let architecture = plan.architecture();
    let accelerator = plan.acceleration.accelerator;
    options([
        ("-name", format!("guest={}", escape(&plan.name))),
        ("-machine", memory.machine(machine_type(architecture, &plan.firmware))),
        ("-accel", accelerator.option().into()),
        ("-cpu", accelerator.cpu_model(architecture).into()),
        ("-m", format!("{}M", spec.memory_mib)),
        ("-smp", spec.processors(accelerator).to_string()),
        // A reported panic pauses the guest, so that it is seen before the guest resets itself.
        ("-action", "panic=pause".into()),
        ("-display", "none".into()),
        // Denies QEMU the system calls that it does not need. `spawn` and `elevateprivileges` must stay
        // allowed: without them the relay does not start, and the guest's requests fail without a message.
        ("-sandbox", "on,resourcecontrol=deny".into()),
    ])
    .into_iter()
    .chain(["-nodefaults", "-no-user-config", "-S"].map(str::to_owned))
    .collect()
}

/// The value of `-machine`. Secure Boot on amd64 needs system management mode, in which alone the firmware
/// variables are writable.
fn machine_type(architecture: Architecture, firmware: &Firmware) -> &'static str {
    match (architecture, firmware) {
        (Architecture::Amd64, Firmware::Uefi { secure: true, .. }) => "q35,smm=on",
        (Architecture::Amd64, _) => "q35",
        (Architecture::Arm64, _) => "virt,gic-version=max",
    }
}

/// The channels between QEMU or guest and the harness.
fn channels(layout: &Layout) -> Vec<String> {
    let socket = |id, path: &Utf8Path| format!("socket,id={id},path={}", escape(path.as_str()));
    let port = |id, name| format!("virtserialport,bus=ports.0,chardev={id},name={name}");
    options([
        ("-chardev", socket("qmp", &layout.qmp_socket())),
        ("-mon", "chardev=qmp,mode=control".into()),
        // Not with `logfile=`: QEMU repeats a byte there each time the socket is full.
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
    let mut all = options([
        ("-drive", drive("disk", &layout.overlay())),
        ("-device", "virtio-blk-pci,drive=disk,serial=primary-disk,bootindex=1".into()),
        ("-object", "rng-random,id=random,filename=/dev/urandom".into()),
        ("-device", "virtio-rng-pci,rng=random".into()),
        ("-device", "pvpanic-pci".into()),
    ]);
    if plan.architecture() == Architecture::Amd64 {
        // Makes the kernel of a restored guest reseed its random numbers. QEMU has it for this machine type
        // only.
        all.extend(options([("-device", "vmgenid,guid=auto".into())]));
    }
    all
}

/// The additional disks, in the order of the scenario file.
fn disks(plan: &MachinePlan, layout: &Layout) -> Vec<String> {
    let disk = |(number, disk): (usize, &DiskSpec)| {
        let id = format!("disk{number}");
        let device = format!("virtio-blk-pci,drive={id},serial={}", escape(&disk.serial));
        options([("-drive", drive(&id, &layout.extra_disk(number))), ("-device", device)])
    };
    plan.spec.disks.iter().enumerate().flat_map(disk).collect()
}

/// A disk that is removed with the machine and need not survive a crash of the host. An error of the host
/// pauses the guest: reported to the guest, it would look like a fault of the guest.
fn drive(id: &str, file: &Utf8Path) -> String {
    let file = escape(file.as_str());
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
    options([
        ("-chardev", format!("socket,id=tpm,path={}", escape(layout.tpm_socket().as_str()))),
        ("-tpmdev", "emulator,id=tpm,chardev=tpm".into()),
        ("-device", device.into()),
    ])
}

fn config(layout: &Layout) -> Vec<String> {
    options(
        CONFIG_NAMES
            .map(|name| ("-fw_cfg", format!("name={name},file={}", escape(layout.ignition().as_str())))),
    )
}

/// The guest's network. With port 0, the kernel chooses a free port for SSH.
fn network(plan: &MachinePlan, layout: &Layout) -> Vec<String> {
    let restrict = match plan.spec.network {
        Network::Hermetic => "restrict=on",
        Network::Internet => "restrict=off",
    };
    let relay = format!("{} relay {}", shell_quote(layout.relay()), shell_quote(&layout.http_socket()));
    let netdev = format!(
        "user,id=network,{restrict},hostfwd=tcp:127.0.0.1:0-:22,guestfwd=tcp:{HARNESS}-cmd:{}",
        escape(&relay)
    );
    // No option ROM: the firmware need not try to boot from the network.
    options([("-netdev", netdev), ("-device", "virtio-net-pci,netdev=network,romfile=".into())])
}

/// The interface on the network of the scenario's machines: QEMU passes its frames to the harness
/// (`-netdev stream`, since QEMU 7.2).
fn peers(plan: &MachinePlan, layout: &Layout) -> Vec<String> {
    let Some(address) = plan.peer_address else { return Vec::new() };
    let socket = escape(layout.peers_socket().as_str());
    options([
        ("-netdev", format!("stream,id=peers,addr.type=unix,addr.path={socket}")),
        ("-device", format!("virtio-net-pci,netdev=peers,mac={},romfile=", address.mac())),
    ])
}

/// Quotes an argument of a command that QEMU splits like a shell (GLib's `g_shell_parse_argv`).
fn shell_quote(path: &Utf8Path) -> String {
    format!("'{}'", path.as_str().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use loadgauge_images::image::DiskFormat;

    use super::*;
    use crate::machine::network::peer_address::PeerAddress;
    use crate::machine::qemu::accelerator::Accelerator;
    use crate::machine::qemu::flash::Flash;
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
        plan.peer_address = PeerAddress::all().nth(1);
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
    fn special_characters_in_paths_are_escaped() {
        let layout = Layout::new("/runs/a,b", "/tmp/x", "/opt/it's here/load gauge");
        let all = arguments(&testing::plan(), &layout);
        assert!(all.contains(&"name=opt/com.coreos/config,file=/runs/a,,b/config.ign".to_owned()));
        let netdev = all.iter().find(|argument| argument.starts_with("user,")).expect("a network");
        assert!(netdev.ends_with(r"-cmd:'/opt/it'\''s here/load gauge' relay '/tmp/x/http'"), "{netdev}");
    }
}
