// SPDX-License-Identifier: Apache-2.0
//! What the harness adds to a guest through Ignition: its key, and two units that report. One of them
//! takes orders as well, see `guest_report.sh`.
use camino::Utf8PathBuf;
use loadgauge_ignition::{Config, Contents, File, Link, Unit, User};

/// The virtio-serial port on which the guest says that it is ready, and takes orders.
pub const EVENTS_PORT: &str = "org.loadgauge.events";
/// The virtio-serial port on which the guest sends its journal.
pub const JOURNAL_PORT: &str = "org.loadgauge.journal";

/// The account that the harness logs in to: Flatcar's own.
pub const USER: &str = "core";

const JOURNAL_UNIT: &str = "loadgauge-journal.service";
const READY_UNIT: &str = "loadgauge-ready.service";

/// What [`READY_UNIT`] runs, and where it lies in the guest.
const REPORT: &str = include_str!("guest_report.sh");
const REPORT_PATH: &str = "/etc/loadgauge/report";

/// What the journal is cut down to: what checks read, and what people need to follow it. journalctl
/// adds the times and the boot id by itself.
const FIELDS: &str = "MESSAGE,MESSAGE_ID,PRIORITY,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT,UNIT,_COMM,_PID,_TRANSPORT";

/// Waits for a port of the host's as `$port`, and ends the script well where there is none: a guest
/// that runs elsewhere, or whose kernel lacks the driver, shall not have a failed unit for it.
const WAIT: &str = "n=0; until [ -c $$port ]; do n=$$((n+1)); [ $$n -le 100 ] || exit 0; sleep 0.2; done";

/// The Ignition config that the harness adds to that of an author.
///
/// Both units are enabled by links and not by presets, which Flatcar applies only where the machine id
/// is fresh. They write to /etc only, and nothing depends on them.
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

/// Sends the journal of this boot, from its first entry on. It starts once the journal has moved to
/// its place under /var, because `journalctl -f` may not follow the move.
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

/// Says once in each boot that the system is up, in which state, and which boot it is. By then all
/// jobs of the start are done, sshd's among them.
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
    fn the_config_is_what_was_reviewed_and_valid() {
        let config = harness_config("ssh-ed25519 AAAA harness");
        assert!(config.validate().is_empty());
        insta::assert_snapshot!(config.to_json_pretty());
    }

    #[test]
    fn the_script_knows_the_port_and_the_user() {
        assert!(REPORT.contains(&format!("port=/dev/virtio-ports/{EVENTS_PORT}\n")));
        assert!(REPORT.contains(&format!("~{USER}/.ssh/authorized_keys ")));
    }

    #[test]
    fn units_read_as_they_should() {
        insta::assert_snapshot!("journal", journal_unit());
        insta::assert_snapshot!("ready", ready_unit());
    }
}
