// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;

use super::memory::Memory;
use super::units::{EVENTS_PORT, JOURNAL_PORT};
use super::{Accelerator, Layout, MachinePlan, Network};

/// Where the guest finds the harness: an address of QEMU's user network that no host has, with HTTP on
/// port 80 (and so the origin `http://10.0.2.100`).
pub const ORIGIN: &str = "http://10.0.2.100";
const HARNESS: &str = "10.0.2.100:80";

/// The names under which a guest looks for its Ignition config: Flatcar's and, for an Ignition that is
/// not Flatcar's, upstream's.
const CONFIG_NAMES: [&str; 2] = ["opt/org.flatcar-linux/config", "opt/com.coreos/config"];

/// QEMU's arguments for a machine, for an amd64 guest.
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
        channels(layout),
        devices(plan, layout),
        config(layout),
        network(plan, layout),
    ]
    .concat()
}

fn machine(plan: &MachinePlan, memory: &Memory) -> Vec<String> {
    let spec = &plan.spec;
    words([
        ("-name", format!("guest={}", value(&plan.name))),
        ("-machine", memory.machine("q35")),
        ("-accel", accelerator(plan.acceleration.accelerator).into()),
        ("-cpu", processor(plan.acceleration.accelerator).into()),
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

/// What `-cpu` takes: all that the accelerator can give, but for TCG no more than what Flatcar and
/// today's distributions may ask for (x86-64-v2): a boot with `max` takes a tenth more processor time.
pub(crate) fn processor(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "host",
        Accelerator::Tcg => "Nehalem",
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

fn devices(_plan: &MachinePlan, layout: &Layout) -> Vec<String> {
    // The overlay goes with the machine: whether it would survive the host's crash is of no interest.
    let drive = format!(
        "if=none,id=disk,file={},format=qcow2,cache=unsafe,discard=unmap",
        value(layout.overlay().as_str())
    );
    words([
        ("-drive", drive),
        ("-device", "virtio-blk-pci,drive=disk,serial=primary-disk,bootindex=1".into()),
        ("-object", "rng-random,id=random,filename=/dev/urandom".into()),
        ("-device", "virtio-rng-pci,rng=random".into()),
        // Tells a guest that was restored from a snapshot so, and its kernel draws new random numbers.
        ("-device", "vmgenid,guid=auto".into()),
        ("-device", "pvpanic-pci".into()),
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
    use super::*;
    use crate::machine::testing;

    fn shown(accelerator: Accelerator, network: Network) -> String {
        let mut plan = testing::plan();
        plan.acceleration.accelerator = accelerator;
        plan.spec.network = network;
        let layout = Layout::new("/runs/1/docker", "/tmp/loadgauge-x/0", "/usr/bin/loadgauge");
        arguments(&plan, &layout).join("\n")
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
