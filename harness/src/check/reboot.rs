// SPDX-License-Identifier: Apache-2.0
use super::Assertions;

/// Evaluates whether a guest rebooted: the kernel draws a boot id once per boot (random(4)), so a guest
/// with the id from `before` never went down. The new id is known twice, from the unit that `announced`
/// the guest and over `ssh`; both are the same if the connection is to the new boot.
pub fn evaluate_reboot(before: &str, announced: &str, ssh: &str) -> Assertions {
    let claim = format!("the boot id is not `{before}`, and is the same from the guest's unit and over SSH");
    let changed = !before.is_empty() && !ssh.is_empty() && ssh != before && ssh == announced;
    let mut assertions = Assertions::default();
    assertions.assert(claim, (!changed).then(|| format!("unit: `{announced}`\nSSH: `{ssh}`")));
    assertions.suggest("see the end of the journal for why the guest did not go down");
    assertions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reboot_changes_the_boot_id() {
        assert!(evaluate_reboot("one", "two", "two").all_hold());
        assert!(!evaluate_reboot("one", "one", "one").all_hold(), "it did not go down");
        assert!(!evaluate_reboot("one", "two", "one").all_hold(), "the connection is to the old boot");
        assert!(!evaluate_reboot("", "two", "two").all_hold(), "an unknown id proves nothing");
    }
}
