// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;

use loadgauge_builder::Activation;
use loadgauge_host::quote;

/// A script that does for a merged extension what a boot does after the merge, in the same order: users
/// (systemd-sysusers), files (systemd-tmpfiles), `daemon-reload`, and the units. Units of the extension that
/// were running restart, so that what runs is what the extension has now.
pub(super) fn script(activation: &Activation) -> String {
    let mut lines = vec!["set -e".to_owned()];
    if !activation.sysusers.is_empty() {
        lines.push(format!("systemd-sysusers -- {}", quoted(&activation.sysusers)));
    }
    if !activation.tmpfiles.is_empty() {
        // systemd-tmpfiles-setup.service takes these two statuses, about single lines, for success.
        lines.push(format!(
            "systemd-tmpfiles --create --remove --boot -- {} || {{ status=$?; [ $status = 65 ] || [ $status = 73 ]; }}",
            quoted(&activation.tmpfiles)
        ));
    }
    lines.push("systemctl daemon-reload".to_owned());
    if !activation.units.is_empty() {
        // A boot has no earlier failures, which would use up the limit of starts. systemctl fails for units that
        // have none.
        lines.push(format!("systemctl reset-failed -- {} 2>/dev/null || :", quoted(&activation.units)));
        lines.push(format!("systemctl try-restart --no-block -- {}", quoted(&activation.units)));
    }
    for (by, units) in &activation.wanted {
        let units = quoted(units);
        lines.push(format!(
            "if systemctl is-active --quiet -- {}; then systemctl start --no-block -- {units}; fi",
            quote(by)
        ));
    }
    lines.join("\n")
}

/// The units that must be active after the script, and those among them that may also have ended well:
/// those that another unit starts once.
pub(super) fn started(activation: &Activation) -> (BTreeSet<String>, BTreeSet<String>) {
    // The targets that are active after every boot.
    const REACHED: [&str; 5] =
        ["basic.target", "multi-user.target", "sockets.target", "sysinit.target", "timers.target"];
    let reached = activation.wanted.iter().filter(|(by, _)| REACHED.contains(&by.as_str()));
    let wanted: BTreeSet<String> = reached.flat_map(|(_, units)| units).cloned().collect();
    let may_end = wanted.difference(&activation.upheld).cloned().collect();
    (activation.upheld.union(&wanted).cloned().collect(), may_end)
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| quote(name)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_does_what_a_boot_does_and_nothing_more() {
        assert_eq!(script(&Activation::default()), "set -e\nsystemctl daemon-reload");
        let activation = Activation {
            upheld: ["a.service".to_owned()].into(),
            wanted: [("multi-user.target".to_owned(), ["b c.service".to_owned()].into())].into(),
            units: ["a.service".to_owned()].into(),
            sysusers: vec!["a.conf".to_owned()],
            tmpfiles: vec!["a.conf".to_owned()],
        };
        insta::assert_snapshot!(script(&activation), @r"
        set -e
        systemd-sysusers -- a.conf
        systemd-tmpfiles --create --remove --boot -- a.conf || { status=$?; [ $status = 65 ] || [ $status = 73 ]; }
        systemctl daemon-reload
        systemctl reset-failed -- a.service 2>/dev/null || :
        systemctl try-restart --no-block -- a.service
        if systemctl is-active --quiet -- multi-user.target; then systemctl start --no-block -- 'b c.service'; fi
        ");
        let (all, may_end) = started(&activation);
        assert_eq!((all.len(), may_end), (2, ["b c.service".to_owned()].into()));
    }

    #[test]
    fn units_of_targets_that_no_boot_reaches_are_not_expected() {
        let wanted = [("graphical.target".to_owned(), ["x.service".to_owned()].into())].into();
        assert!(started(&Activation { wanted, ..Activation::default() }).0.is_empty());
    }
}
