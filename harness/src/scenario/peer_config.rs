// SPDX-License-Identifier: Apache-2.0
//! The Ignition config of a machine that shares a network with the other machines of its scenario.
use std::fmt::Write as _;

use loadgauge_ignition::{Config, Contents, File};

use crate::machine::PeerAddress;

/// Sorts before the image's own files: networkd uses the first one that matches (systemd.network(5)).
const NETWORK: &str = "/etc/systemd/network/00-loadgauge-peers.network";

/// The config of one of several machines: its address, its host name, and the names of all machines.
/// `names` are in the order of the addresses.
pub(super) fn config(names: &[&str], own: PeerAddress) -> Config {
    let mut config = Config::new();
    let mut file = |path: &str, text: String| {
        config.file(File {
            path: path.into(),
            mode: 0o644,
            contents: Contents::Inline(text.into_bytes()),
            overwrite: true,
        });
    };
    file(NETWORK, network(own));
    file("/etc/hosts", hosts(names));
    if let Some(name) = names.get(own.number()) {
        file("/etc/hostname", format!("{name}\n"));
    }
    config
}

/// The `.network` file. `RequiredForOnline=no`, since the other machines may start later.
fn network(own: PeerAddress) -> String {
    format!(
        "[Match]\nMACAddress={}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nAddress={}/{}\n",
        own.mac(),
        own.address(),
        PeerAddress::PREFIX
    )
}

fn hosts(names: &[&str]) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    for (address, name) in PeerAddress::all().zip(names) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {name}", address.address());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_knows_itself_and_the_others() {
        let second = PeerAddress::all().nth(1).expect("a second");
        let config = config(&["server", "client"], second);
        assert!(config.validate().is_empty(), "{:?}", config.validate());
        assert_eq!(
            hosts(&["server", "client"]),
            "127.0.0.1 localhost\n::1 localhost\n198.18.0.1 server\n198.18.0.2 client\n"
        );
        insta::assert_snapshot!(network(second));
    }
}
