// SPDX-License-Identifier: Apache-2.0
//! What a guest that can no longer be reached says of itself over its port for events, which needs
//! neither its network nor its sshd.

/// The unit that runs the network, on Flatcar.
const NETWORK: &str = "systemd-networkd.service";

/// Why nobody gets through to a guest with these links, by the kernel's words for their states
/// (`operstate` in `Documentation/ABI/testing/sysfs-class-net`); nothing where one of them may lead out.
pub(crate) fn cut_off(links: &[(String, String)]) -> Option<String> {
    // Drivers that tell nothing have `unknown`.
    if links.iter().any(|(_, state)| matches!(state.as_str(), "up" | "unknown")) {
        return None;
    }
    if links.is_empty() {
        return Some("the guest says that it has no network device".to_owned());
    }
    let links: Vec<String> = links.iter().map(|(name, state)| format!("`{name}` is {state}")).collect();
    Some(format!("the guest says that no link of its network is up: {}", links.join(", ")))
}

/// What became of the units that a connection needs, by the words of `systemctl is-active`.
pub(crate) fn of_units(units: &[(String, String)]) -> String {
    let (network, sshd): (Vec<_>, Vec<_>) = units.iter().partition(|(name, _)| name == NETWORK);
    let shown = |units: &[&(String, String)]| {
        let shown: Vec<String> = units.iter().map(|(name, state)| format!("`{name}` is {state}")).collect();
        shown.join(", ")
    };
    // It is known by four names, of which an image has one or two.
    let known: Vec<_> = sshd.iter().copied().filter(|(_, state)| state != "inactive").collect();
    let sshd = if known.is_empty() { "no unit of its sshd is active".to_owned() } else { shown(&known) };
    let network = shown(&network);
    let parts: Vec<String> = [sshd, network].into_iter().filter(|part| !part.is_empty()).collect();
    format!("the guest says that {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(states: &[(&str, &str)]) -> Vec<(String, String)> {
        states.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect()
    }

    #[test]
    fn a_guest_is_cut_off_when_no_link_leads_out() {
        let cut_off = |links: &[(&str, &str)]| cut_off(&states(links));
        let down = cut_off(&[("eth0", "down"), ("eth1", "dormant")]).expect("cut off");
        assert_eq!(
            down,
            "the guest says that no link of its network is up: `eth0` is down, `eth1` is dormant"
        );
        assert!(cut_off(&[]).is_some_and(|told| told.contains("no network device")));
        assert_eq!(cut_off(&[("eth0", "down"), ("eth1", "up")]), None, "the second leads out");
        assert_eq!(cut_off(&[("eth0", "unknown")]), None, "what is not told is not so");
    }

    #[test]
    fn the_units_are_told_that_say_something() {
        let all =
            [("sshd.socket", "inactive"), ("ssh.service", "failed"), ("systemd-networkd.service", "active")];
        assert_eq!(
            of_units(&states(&all)),
            "the guest says that `ssh.service` is failed, `systemd-networkd.service` is active"
        );
        let none = of_units(&states(&[("sshd.socket", "inactive"), ("ssh.socket", "inactive")]));
        assert_eq!(none, "the guest says that no unit of its sshd is active");
    }
}
