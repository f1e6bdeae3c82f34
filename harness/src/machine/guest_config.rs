// SPDX-License-Identifier: Apache-2.0
//! What the harness adds to a guest's Ignition config: its SSH key, and two units. One sends the journal;
//! the other reports readiness and answers requests, see `guest_report.sh`.
use camino::Utf8PathBuf;
use loadgauge_ignition::{Config, Conflict, Contents, File, Link, Unit, User, mask_updates};

/// The virtio-serial port for readiness and requests.
pub const EVENTS_PORT: &str = "org.loadgauge.events";
/// The virtio-serial port for the journal.
pub const JOURNAL_PORT: &str = "org.loadgauge.journal";

/// The account that the harness logs in to, Flatcar's default user.
pub const USER: &str = "core";

const JOURNAL_UNIT: &str = "loadgauge-journal.service";
const READY_UNIT: &str = "loadgauge-ready.service";

/// The script of [`READY_UNIT`], and its path in the guest.
const REPORT: &str = include_str!("guest_report.sh");
const REPORT_PATH: &str = "/etc/loadgauge/report";

/// The fields of journal entries that checks read and people need. journalctl adds the timestamps and the
/// boot ID.
const FIELDS: &str = "MESSAGE,MESSAGE_ID,PRIORITY,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT,UNIT,_COMM,_PID,_TRANSPORT";

/// Waits for the port `$port`, and exits with 0 if there is none: a guest that runs elsewhere, or whose
/// kernel lacks the driver, must not have a failed unit because of the harness.
const WAIT: &str = "n=0; until [ -c $$port ]; do n=$$((n+1)); [ $$n -le 100 ] || exit 0; sleep 0.2; done";

/// Merges the author's config with the harness's, and masks automatic updates.
///
/// # Errors
/// The configs contradict each other.
pub fn complete_config(authors: &Config, public_key: &str) -> Result<Config, Conflict> {
    let mut config = authors.clone().merge(harness_config(public_key))?;
    mask_updates(&mut config);
    Ok(config)
}

/// The harness's part of the Ignition config.
///
/// Links enable both units, because Flatcar applies presets only on the first boot. The units write to /etc
/// only, and no unit depends on them.
pub fn harness_config(public_key: &str) -> Config {
    let mut config = Config::new();
    config.user(User { name: USER.into(), ssh_keys: vec![public_key.to_owned()], ..User::default() });
    config.file(File {
        path: REPORT_PATH.into(),
        mode: 0o644,
        contents: Contents::Inline(REPORT.as_bytes().to_vec()),
        overwrite: true,
    });
    for (name, contents) in [(JOURNAL_UNIT, journal_unit()), (READY_UNIT, ready_unit())] {
        config.unit(Unit { name: name.into(), contents: Some(contents), ..Unit::default() });
        config.link(Link {
            path: Utf8PathBuf::from(format!("/etc/systemd/system/multi-user.target.wants/{name}")),
            target: Utf8PathBuf::from(format!("/etc/systemd/system/{name}")),
            overwrite: true,
            hard: false,
        });
    }
    config
}

/// Sends the journal of this boot from its first entry on. The unit starts after the journal has moved to
/// /var, because `journalctl -f` may not follow the move.
fn journal_unit() -> String {
    format!(
        "[Unit]
Description=Journal for the test harness
DefaultDependencies=no
After=systemd-journald.service systemd-journal-flush.service systemd-udev-trigger.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=exec
ExecStart=-/bin/sh -c 'port=/dev/virtio-ports/{JOURNAL_PORT}; {WAIT}; \
exec journalctl -b -f -n all -o json --output-fields={FIELDS} >$$port'
StandardOutput=null
StandardError=null
"
    )
}

/// Reports once in each boot that the system is up, its state, and the boot ID. By then all start jobs are
/// done, sshd's among them.
fn ready_unit() -> String {
    format!(
        "[Unit]
Description=Readiness for the test harness
After=multi-user.target sshd.service sshd.socket ssh.service ssh.socket

[Service]
Type=exec
ExecStart=-/bin/sh {REPORT_PATH}
StandardOutput=null
StandardError=null
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_is_as_reviewed_and_valid() {
        let config = harness_config("ssh-ed25519 AAAA harness");
        assert!(config.validate().is_empty());
        insta::assert_snapshot!(config.to_json_pretty());
    }

    #[test]
    fn the_script_contains_the_port_and_the_user() {
        assert!(REPORT.contains(&format!("port=/dev/virtio-ports/{EVENTS_PORT}\n")));
        assert!(REPORT.contains(&format!("~{USER}/.ssh/authorized_keys ")));
    }

    #[test]
    fn units_are_as_reviewed() {
        insta::assert_snapshot!("journal", journal_unit());
        insta::assert_snapshot!("ready", ready_unit());
    }
}
