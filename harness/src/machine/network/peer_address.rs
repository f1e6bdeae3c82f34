// SPDX-License-Identifier: Apache-2.0
use std::net::Ipv4Addr;

/// The place of a machine on the network where it meets the other machines of its scenario.
///
/// Its hardware address and its address are fixed, so that everything that a guest must know of the
/// others can stand in its config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress(u8);

impl PeerAddress {
    /// How many there are on one network.
    pub const MOST: u8 = 8;
    /// The length of the network's prefix in bits.
    pub const PREFIX: u8 = 24;

    /// All, in their order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::MOST).map(Self)
    }

    /// Counted from 0.
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    /// The hardware address of its interface: locally administered, within those that QEMU gives out.
    pub fn mac(self) -> String {
        format!("52:54:00:4c:47:{:02x}", self.0 + 1)
    }

    /// Its address. The network is one that is meant for tests between devices (RFC 2544, appendix C.2.2),
    /// which no host is in and no guest's Docker takes.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 0, self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_are_the_same() {
        let addresses: BTreeSet<_> = PeerAddress::all().map(PeerAddress::address).collect();
        let macs: BTreeSet<_> = PeerAddress::all().map(PeerAddress::mac).collect();
        let most = usize::from(PeerAddress::MOST);
        assert_eq!((addresses.len(), macs.len()), (most, most));
        assert_eq!(PeerAddress(1).mac(), "52:54:00:4c:47:02");
    }
}
