// SPDX-License-Identifier: Apache-2.0
use super::Judgement;

/// Judges whether a guest was booted anew: `/proc/sys/kernel/random/boot_id` is drawn once per boot
/// (random(4)), so a guest that answers with the one from `before` never went down. It is told twice,
/// by the unit that `announced` the guest and to who `asked` over SSH; that both say the same shows
/// that the connection leads into the new boot.
pub fn judge_reboot(before: &str, announced: &str, asked: &str) -> Judgement {
    let claim = format!("another boot id than `{before}`, the same from the guest's unit and over SSH");
    let changed = !before.is_empty() && !asked.is_empty() && asked != before && asked == announced;
    let mut judgement = Judgement::default();
    judgement.claim(claim, (!changed).then(|| format!("unit: `{announced}`\nSSH: `{asked}`")));
    judgement.advise("the guest answers from before the reboot: see the end of its journal for what kept it");
    judgement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reboot_changes_the_boot_id_for_whoever_asks() {
        assert!(judge_reboot("one", "two", "two").holds());
        assert!(!judge_reboot("one", "one", "one").holds(), "it did not go down");
        assert!(!judge_reboot("one", "two", "one").holds(), "the connection leads into the old boot");
        assert!(!judge_reboot("", "two", "two").holds(), "an unread id is no other id");
    }
}
