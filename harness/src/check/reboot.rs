// SPDX-License-Identifier: Apache-2.0
use super::Judgement;

/// Judges whether a guest was booted anew: `/proc/sys/kernel/random/boot_id` is drawn once per boot
/// (random(4)), so a guest that answers with the old one never went down.
pub fn judge_reboot(before: &str, after: &str) -> Judgement {
    let (before, after) = (before.trim(), after.trim());
    let claim = format!("the boot id is another one than `{before}`");
    let mut judgement = Judgement::default();
    let plausible =
        |id: &str| id.len() == 36 && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if !plausible(before) || !plausible(after) {
        judgement.fail(claim, format!("a boot id is a UUID; before: `{before}`, after: `{after}`"));
    } else if before == after {
        judgement.fail(claim, format!("it is still `{after}`: the guest did not reboot"));
        judgement.advise("see the end of the journal for what kept `systemctl reboot` from happening");
    } else {
        judgement.hold(claim);
    }
    judgement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reboot_changes_the_boot_id() {
        let (one, other) = ("5a0e6a5e-5d4c-4a52-8a3c-61a9a1a5ad47", "0b9f2a51-0d7c-41f0-9d1f-6a3f3c0c7c11");
        assert!(judge_reboot(one, &format!("{other}\n")).holds());
        assert!(judge_reboot(one, &format!("{one}\n")).found().contains("did not reboot"));
        assert!(!judge_reboot("", one).holds(), "an unread id is no other id");
    }
}
