// SPDX-License-Identifier: Apache-2.0
use std::net::Ipv4Addr;

/// The address of a machine on the network of its scenario's machines.
///
/// MAC and IP address are fixed, so that a guest's config can contain those of its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress(u8);

impl PeerAddress {
    /// The number of addresses on a network.
    pub const MOST: u8 = 8;
    /// The length of the network's prefix, in bits.
    pub const PREFIX: u8 = 24;

    /// All addresses, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::MOST).map(Self)
    }

    /// The number, counted from 0.
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    /// The MAC address: locally administered, in QEMU's range.
    pub fn mac(self) -> String {
        format!("52:54:00:4c:47:{:02x}", self.0 + 1)
    }

    /// The IP address, of a network that is reserved for tests between devices (RFC 2544, appendix C.2.2) and
    /// that neither hosts nor Docker use.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 0, self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_addresses_differ() {
        let addresses: BTreeSet<_> = PeerAddress::all().map(PeerAddress::address).collect();
        let macs: BTreeSet<_> = PeerAddress::all().map(PeerAddress::mac).collect();
        let most = usize::from(PeerAddress::MOST);
        assert_eq!((addresses.len(), macs.len()), (most, most));
        assert_eq!(PeerAddress(1).mac(), "52:54:00:4c:47:02");
    }
}
