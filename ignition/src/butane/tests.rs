// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint as _;
use std::{fs, os::unix::fs::PermissionsExt as _};

use camino::Utf8Path;
use proptest::prelude::*;

use crate::config::Config;

/// Every key that the format has, but those that need local files.
const EVERYTHING: &str = include_str!("everything.bu");

fn failure(text: &str) -> (String, Option<String>) {
    let error = Config::from_butane(text, Utf8Path::new("/nonexistent")).expect_err("the text is wrong");
    let cause = std::error::Error::source(&error.cause).map(|source| format!(": {source}"));
    (format!("{error}{}", cause.unwrap_or_default()), error.hint())
}

fn flatcar(body: &str) -> String {
    format!("variant: flatcar\nversion: 1.0.0\n{body}")
}

#[test]
fn every_key_is_converted() {
    let config = Config::from_butane(EVERYTHING, Utf8Path::new(".")).expect("the text is right");
    assert_eq!(Config::parse(&config.to_json()).expect("every key is one of Ignition's"), config);
    assert_eq!(config.validate(), []);
    insta::assert_snapshot!(config.to_json_pretty());
}

#[test]
fn local_files_and_trees() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = Utf8Path::from_path(directory.path()).expect("UTF-8");
    fs::create_dir_all(files.join("root/etc")).expect("a directory");
    fs::write(files.join("motd"), "welcome\n").expect("a file");
    fs::write(files.join("keys"), "ssh-ed25519 A\n\nssh-ed25519 B\n").expect("a file");
    fs::write(files.join("root/etc/run"), "#!/bin/sh\n").expect("a file");
    fs::set_permissions(files.join("root/etc/run"), fs::Permissions::from_mode(0o700)).expect("a mode");
    fs::write(files.join("root/etc/plain"), "plain\n").expect("a file");
    std::os::unix::fs::symlink("plain", files.join("root/etc/link")).expect("a link");
    std::os::unix::fs::symlink("/etc/passwd", files.join("out")).expect("a link");
    let body = "passwd: {users: [{name: core, ssh_authorized_keys_local: [keys]}]}\n\
        storage:\n  files:\n  - {path: /etc/motd, contents: {local: motd}}\n  - {path: /etc/plain, mode: 0600}\n  trees:\n  - {local: root}\n\
        systemd: {units: [{name: a.service, dropins: [{name: a.conf, contents_local: motd}]}]}\n";
    let config = Config::from_butane(&flatcar(body), files).expect("the text is right");
    insta::assert_snapshot!(config.to_json_pretty());

    for path in ["../etc/passwd", "/etc/passwd", "a/../../b", "out"] {
        let body = format!("storage:\n  files:\n  - path: /a\n    contents:\n      local: {path}\n");
        let error = Config::from_butane(&flatcar(&body), files).expect_err("it leads out");
        assert_eq!(
            error.to_string(),
            format!("line 7, column 14: `{path}` leads out of `{files}`, the directory of local files")
        );
    }
    let twice =
        "storage:\n  files:\n  - {path: /etc/plain, contents: {inline: x}}\n  trees:\n  - local: root\n";
    let error = Config::from_butane(&flatcar(twice), files).expect_err("twice");
    assert_eq!(
        error.to_string(),
        "line 7, column 12: `/etc/plain` of the tree is written elsewhere in the config too"
    );
}

#[test]
fn another_variant_or_version_is_refused() {
    assert_eq!(
        failure("variant: fcos\nversion: 1.5.0\nboot_device: {}\n"),
        (
            "line 1, column 10: variant `fcos`, expected `flatcar`".into(),
            Some("write `variant: flatcar` and `version: 1.0.0`: this variant is for another system".into())
        )
    );
    assert_eq!(failure("version: 1.0.0").0, "line 1, column 1: variant `(none)`, expected `flatcar`");
    assert_eq!(
        failure("variant: flatcar\nversion: 1.2.0-experimental\n").0,
        "line 2, column 10: version `1.2.0-experimental` of variant `flatcar`, expected `1.0.0` or `1.1.0`"
    );
}

#[test]
fn an_unknown_key_has_its_line_and_a_suggestion() {
    let (message, hint) =
        failure(&flatcar("storage:\n  files:\n    - path: /a\n      content:\n        inline: x\n"));
    assert_eq!(message, "line 6, column 7: unknown key `content`");
    assert_eq!(hint.as_deref(), Some("did you mean `contents`?"));
    let (_, hint) = failure(&flatcar("passwd:\n  users:\n    - name: core\n      sshAuthorizedKeys: [a]\n"));
    assert_eq!(hint.as_deref(), Some("did you mean `ssh_authorized_keys`?"));
}

#[test]
fn errors_have_their_places() {
    let file =
        |fields: &str| failure(&flatcar(&format!("storage:\n  files:\n    - path: /a\n      {fields}\n")));
    assert_eq!(
        file("mode: 644"),
        (
            "line 6, column 13: mode `644` is a decimal number, 0o1204 in octal".into(),
            Some("write `0644`".into())
        )
    );
    assert_eq!(
        file("contents: {inline: x, source: 'data:,'}").0,
        "line 6, column 26: `source` and `inline` exclude each other"
    );
    let (message, _) = file("mode: rw");
    assert!(message.starts_with("line 6, column 13: "), "{message}");
    let (message, _) = file("path: /b");
    assert!(message.starts_with("line 6, column 7: "), "{message}");
    let (message, _) = failure(&flatcar("storage: [\n"));
    assert!(message.starts_with("line "), "{message}");
    let (message, hint) = file("contents: {local: motd}");
    assert_eq!(
        message,
        "line 6, column 25: cannot read `/nonexistent/motd`: No such file or directory (os error 2)"
    );
    assert!(hint.is_some());
    let (message, _) = failure(&flatcar("storage:\n  luks:\n  - {name: l, discard: true}\n"));
    assert_eq!(
        message,
        "line 5, column 24: `discard` needs Ignition's specification 3.4.0, but configs are written as 3.3.0"
    );
}

#[test]
fn modes_are_octal_as_butane_reads_them() {
    for mode in ["0644", "0o644", "420"] {
        let body = format!("storage:\n  files:\n    - {{path: /a, mode: {mode}}}\n");
        let config = Config::from_butane(&flatcar(&body), Utf8Path::new(".")).expect("a mode");
        assert!(config.to_json().contains("\"mode\":420"), "{mode}: {}", config.to_json());
    }
    let tty = flatcar("storage:\n  files:\n    - {path: /a, mode: 0620}\n");
    let config = Config::from_butane(&tty, Utf8Path::new(".")).expect("400 in decimal, and yet no slip");
    assert!(config.to_json().contains("\"mode\":400"), "{}", config.to_json());
}

proptest! {
    #[test]
    fn reading_never_panics(text in "\\PC*") {
        let _ = Config::from_butane(&text, Utf8Path::new("/nonexistent"));
        let _ = Config::from_butane(&flatcar(&text), Utf8Path::new("/nonexistent"));
    }

    #[test]
    fn reading_a_damaged_config_never_panics(at in 0_usize..5000, byte in any::<u8>()) {
        let mut bytes = EVERYTHING.as_bytes().to_vec();
        let length = bytes.len();
        bytes[at % length] = byte;
        let _ = Config::from_butane(&String::from_utf8_lossy(&bytes), Utf8Path::new("/nonexistent"));
    }
}

#[test]
fn a_value_of_the_wrong_type_is_described_in_plain_words() {
    for (text, message) in [
        ("storage:\n  files: x\n", "line 4, column 10: expected a list, each element after `- `"),
        ("storage: x\n", "line 3, column 10: expected keys with values: `key: value`"),
        ("storage:\n  files:\n    - path: [x]\n", "line 5, column 13: expected a text"),
    ] {
        let text = format!("variant: flatcar\nversion: 1.0.0\n{text}");
        let error = Config::from_butane(&text, Utf8Path::new("")).expect_err("a wrong type");
        assert_eq!(error.to_string(), message);
    }
}
