// SPDX-License-Identifier: Apache-2.0
//! Describes the status that a guest without SSH reports over its event port, which needs neither network
//! nor sshd.

/// Flatcar's unit for the network.
const NETWORK: &str = "systemd-networkd.service";

/// Why a guest with these links has no network, or nothing if one of them may work. The states are the
/// kernel's (`operstate` in `Documentation/ABI/testing/sysfs-class-net`).
pub(crate) fn cut_off(links: &[(String, String)]) -> Option<String> {
    // `unknown` is the state of drivers that do not report one.
    if links.iter().any(|(_, state)| matches!(state.as_str(), "up" | "unknown")) {
        return None;
    }
    if links.is_empty() {
        return Some("the guest reports no network device".to_owned());
    }
    let links: Vec<String> = links.iter().map(|(name, state)| format!("`{name}` is {state}")).collect();
    Some(format!("the guest reports that no network link is up: {}", links.join(", ")))
}

/// Describes the units that SSH needs, given the output of `systemctl is-active`.
pub(crate) fn of_units(units: &[(String, String)]) -> String {
    let (network, sshd): (Vec<_>, Vec<_>) = units.iter().partition(|(name, _)| name == NETWORK);
    let shown = |units: &[&(String, String)]| {
        let shown: Vec<String> = units.iter().map(|(name, state)| format!("`{name}` is {state}")).collect();
        shown.join(", ")
    };
    // sshd has four names, of which an image has one or two.
    let known: Vec<_> = sshd.iter().copied().filter(|(_, state)| state != "inactive").collect();
    let sshd = if known.is_empty() { "no unit of sshd is active".to_owned() } else { shown(&known) };
    let network = shown(&network);
    let parts: Vec<String> = [sshd, network].into_iter().filter(|part| !part.is_empty()).collect();
    format!("the guest reports that {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(states: &[(&str, &str)]) -> Vec<(String, String)> {
        states.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect()
    }

    #[test]
    fn a_guest_is_cut_off_if_no_link_is_up() {
        let cut_off = |links: &[(&str, &str)]| cut_off(&states(links));
        let down = cut_off(&[("eth0", "down"), ("eth1", "dormant")]).expect("cut off");
        assert_eq!(down, "the guest reports that no network link is up: `eth0` is down, `eth1` is dormant");
        assert!(cut_off(&[]).is_some_and(|reason| reason.contains("no network device")));
        assert_eq!(cut_off(&[("eth0", "down"), ("eth1", "up")]), None, "the second works");
        assert_eq!(cut_off(&[("eth0", "unknown")]), None, "it may work");
    }

    #[test]
    fn inactive_aliases_of_sshd_are_left_out() {
        let all =
            [("sshd.socket", "inactive"), ("ssh.service", "failed"), ("systemd-networkd.service", "active")];
        assert_eq!(
            of_units(&states(&all)),
            "the guest reports that `ssh.service` is failed, `systemd-networkd.service` is active"
        );
        let none = of_units(&states(&[("sshd.socket", "inactive"), ("ssh.socket", "inactive")]));
        assert_eq!(none, "the guest reports that no unit of sshd is active");
    }
}
