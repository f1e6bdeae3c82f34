// SPDX-License-Identifier: Apache-2.0
use crate::{Config, Severity};

/// What is wrong with a config that has these sections, one problem a line.
fn problems(sections: &str) -> Vec<String> {
    let text = format!(r#"{{"ignition": {{"version": "3.3.0"}}, {sections}}}"#);
    let config = Config::parse(&text).expect("the text is a config");
    let line = |problem: crate::Problem| match problem.severity {
        Severity::Error => problem.to_string(),
        Severity::Warning => format!("warning: {problem}"),
    };
    config.validate().into_iter().map(line).collect()
}

#[test]
fn paths_and_modes() {
    assert_eq!(
        problems(
            r#""storage": {"files": [{"path": "etc/a"}, {"path": "/etc//b"}, {"path": "/c/../d"}, {"path": "/e/"}, {"path": ""},
                {"path": "/f", "mode": 4096}, {"path": "/g", "mode": -1}, {"path": "/h", "mode": 2541}, {"path": "/i", "mode": 420}]}"#
        ),
        [
            "`storage.files[0].path`: `etc/a` is not absolute",
            "`storage.files[1].path`: `/etc//b` is not in normal form",
            "`storage.files[2].path`: `/c/../d` is not in normal form",
            "`storage.files[3].path`: `/e/` is not in normal form",
            "`storage.files[4].path`: the path is empty",
            "`storage.files[5].mode`: 4096 is not a mode, expected 0 to 4095 (07777)",
            "`storage.files[6].mode`: -1 is not a mode, expected 0 to 4095 (07777)",
            "warning: `storage.files[7].mode`: the set-ID and sticky bits of 0o4755 have no effect before specification 3.6.0",
        ]
    );
}

#[test]
fn one_entry_per_path_and_none_below_files_and_links() {
    assert_eq!(
        problems(
            r#""storage": {"directories": [{"path": "/a"}, {"path": "/a/b"}], "files": [{"path": "/a"}, {"path": "/f"}, {"path": "/f/g/h"}],
                "links": [{"path": "/l", "target": "/x"}, {"path": "/l/m", "target": "/dev/null"}, {"path": "/n", "target": "/n"}, {"path": "/o"}]}"#
        ),
        [
            "`storage.links[2].target`: the link leads to itself",
            "`storage.links[3].target`: `target` is missing",
            "`storage.files[0].path`: `/a` is already a directory at `storage.directories[0].path`",
            "`storage.directories[1].path`: `/a` above it is a file (`storage.files[0].path`)",
            "`storage.files[2].path`: `/f` above it is a file (`storage.files[1].path`)",
            "`storage.links[1].path`: `/l` above it is a link (`storage.links[0].path`)",
        ]
    );
}

#[test]
fn sources_and_digests() {
    let file = |contents: &str| {
        problems(&format!(r#""storage": {{"files": [{{"path": "/a", "contents": {contents}}}]}}"#))
    };
    let at = "`storage.files[0].contents";
    assert_eq!(
        file(r#"{"source": "ftp://x/y"}"#),
        [format!("{at}.source`: Ignition does not support the scheme `ftp`")]
    );
    assert_eq!(
        file(r#"{"source": "/etc/x"}"#),
        [format!("{at}.source`: `/etc/x` is not a URL: relative URL without a base")]
    );
    assert_eq!(
        file(r#"{"source": "data:;base64,AAA"}"#),
        [format!("{at}.source`: the data URL is not valid: the base64 data is not valid: Invalid padding")]
    );
    assert_eq!(
        file(r#"{"source": "data:,", "compression": "xz"}"#),
        [format!("{at}.compression`: Ignition does not support the compression `xz`")]
    );
    let hash = |hash: &str| file(&format!(r#"{{"source": "data:,", "verification": {{"hash": "{hash}"}}}}"#));
    let at = format!("{at}.verification.hash`");
    assert_eq!(hash("abc"), [format!("{at}: `abc` does not name its algorithm")]);
    assert_eq!(hash("md5-abc"), [format!("{at}: unknown algorithm `md5`")]);
    assert_eq!(hash("sha512-abc"), [format!("{at}: 3 digits, but sha512 has 128")]);
    assert_eq!(
        hash(&format!("sha256-{}", "G".repeat(64))),
        [format!("{at}: `G` is not a lower-case hexadecimal digit")]
    );
    assert_eq!(hash(&format!("sha256-{}", "0a".repeat(32))), [""; 0]);
    assert_eq!(hash(&format!("sha512-{}", "0a".repeat(64))), [""; 0]);
}

#[test]
fn units() {
    assert_eq!(
        problems(
            r#""systemd": {"units": [{"name": "a"}, {"name": "b.conf"}, {"name": "c d.service"}, {"name": "e.service", "contents": "ExecStart=x"},
                {"name": "f.service", "contents": "[Service]\nExecStart"}, {"name": "g.service", "enabled": true, "contents": "[Service]\nExecStart=x\\\n  y\n"},
                {"name": "h.service", "mask": true, "enabled": true}, {"name": "i.service", "dropins": [{"name": "x"}, {"name": "y.conf", "contents": "[Unit"}]},
                {"name": "i.service"}]}, "storage": {"files": [{"path": "/etc/systemd/system/e.service"}]}"#
        ),
        [
            "`systemd.units[0].name`: `a` has no unit suffix",
            "`systemd.units[1].name`: `b.conf` has no unit suffix",
            "`systemd.units[2].name`: `c d.service` is not a valid unit name",
            "`systemd.units[3].contents`: line 1: `ExecStart=x` is before the first section",
            "`systemd.units[4].contents`: line 2: `ExecStart` is not `Name=value`",
            "warning: `systemd.units[5].enabled`: `g.service` has no section `[Install]`, so enabling it does nothing",
            "`systemd.units[6].mask`: `h.service` is masked, but enabled or written too",
            "`systemd.units[7].dropins[0].name`: `x` is not named `NAME.conf`",
            "`systemd.units[7].dropins[1].contents`: line 1: `[Unit` is not a section `[Name]`",
            "`systemd.units[8]`: `i.service` is in the list twice",
            "`storage.files[0].path`: `/etc/systemd/system/e.service` is written by `systemd.units` too",
        ]
    );
}

#[test]
fn accounts_and_kernel_arguments() {
    assert_eq!(
        problems(
            r#""kernelArguments": {"shouldExist": ["quiet", "quiet"], "shouldNotExist": ["quiet"]},
            "passwd": {"users": [{"name": ""}, {"name": "0x"}, {"name": "core", "sshAuthorizedKeys": ["", "a\nb"], "groups": ["docker", "docker"]}, {"name": "core", "uid": -1}]}"#
        ),
        [
            "`kernelArguments.shouldExist[1]`: `quiet` is in the list twice",
            "`kernelArguments.shouldNotExist[0]`: `quiet` is under `shouldExist` too",
            "`passwd.users[0].name`: the name is empty",
            "`passwd.users[1].name`: useradd does not accept the name `0x`",
            "`passwd.users[2].sshAuthorizedKeys[0]`: the key is empty",
            "`passwd.users[2].sshAuthorizedKeys[1]`: the key has more than one line; each key is an element of its own",
            "`passwd.users[2].groups[1]`: `docker` is in the list twice",
            "`passwd.users[3].uid`: -1 is out of range, expected 0 to 4294967294",
            "`passwd.users[3]`: `core` is in the list twice",
        ]
    );
}

#[test]
fn block_devices() {
    assert_eq!(
        problems(
            r#""storage": {"disks": [{"device": "/dev/vda", "partitions": [{"number": 1, "startMiB": 1, "sizeMiB": 10}, {"number": 1, "startMiB": 10, "sizeMiB": 10}, {}]}],
                "raid": [{"name": "md", "level": "raid7", "devices": ["/dev/vdb"]}],
                "filesystems": [{"device": "/dev/vdc", "format": "ntfs"}, {"device": "/dev/vdd", "path": "/var"}, {"device": "/dev/vde", "format": "ext4", "label": "0123456789abcdefg"}]}"#
        ),
        [
            "`storage.disks[0].partitions[1].number`: number 1 is in the list twice",
            "`storage.disks[0].partitions[1]`: overlaps `partitions[0]`",
            "`storage.disks[0].partitions[2]`: a partition needs a `number` of 1 or more, or a `label`",
            "`storage.raid[0].level`: unknown level `raid7`",
            "`storage.filesystems[0].format`: unknown format `ntfs`",
            "`storage.filesystems[1].format`: `format` is missing, which the other keys need",
            "`storage.filesystems[2].label`: a label of ext4 has at most 16 bytes",
        ]
    );
}
