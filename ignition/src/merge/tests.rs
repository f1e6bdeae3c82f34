// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint as _;
use proptest::prelude::*;

use crate::config::{Config, Contents, Directory, Dropin, File, Link, Unit, User};

fn config(sections: &str) -> Config {
    Config::parse(&format!(r#"{{"ignition": {{"version": "3.3.0"}}, {sections}}}"#)).expect("a config")
}

fn merged(one: &str, other: &str) -> String {
    config(one)
        .merge(config(other))
        .expect("no conflict")
        .to_json()
        .replace(r#""ignition":{"version":"3.3.0"},"#, "")
}

fn conflict(one: &str, other: &str) -> String {
    let conflict = config(one).merge(config(other)).expect_err("a conflict");
    assert!(conflict.hint().is_some());
    conflict.to_string().replace("the configs differ in ", "")
}

#[test]
fn users_are_united() {
    assert_eq!(
        merged(
            r#""passwd": {"users": [{"name": "core", "sshAuthorizedKeys": ["a", "b"], "shell": "/bin/zsh"}]}"#,
            r#""passwd": {"users": [{"name": "probe"}, {"name": "core", "sshAuthorizedKeys": ["b", "c"], "groups": ["docker"]}]}"#
        ),
        r#"{"passwd":{"users":[{"groups":["docker"],"name":"core","shell":"/bin/zsh","sshAuthorizedKeys":["a","b","c"]},{"name":"probe"}]}}"#
    );
    assert_eq!(
        conflict(
            r#""passwd": {"users": [{"name": "core", "uid": 500}]}"#,
            r#""passwd": {"users": [{"name": "core", "uid": 501}]}"#
        ),
        "the `uid` of user `core`: one has `500`, the other `501`"
    );
}

#[test]
fn a_path_has_one_type() {
    let file = r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:,x"}}]}"#;
    assert_eq!(
        merged(file, file),
        r#"{"storage":{"files":[{"contents":{"source":"data:,x"},"path":"/a"}]}}"#
    );
    assert_eq!(
        conflict(file, r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:,y"}}]}"#),
        r#"the `contents` of file `/a`: one has `{"source":"data:,x"}`, the other `{"source":"data:,y"}`"#
    );
    assert_eq!(
        conflict(file, r#""storage": {"links": [{"path": "/a", "target": "/dev/null"}]}"#),
        "the type of `/a`: one has `a file`, the other `a link`"
    );
    let append = |text: &str| {
        format!(r#""storage": {{"files": [{{"path": "/a", "append": [{{"source": "data:,{text}"}}]}}]}}"#)
    };
    assert_eq!(
        merged(&append("x"), &append("y")),
        r#"{"storage":{"files":[{"append":[{"source":"data:,x"},{"source":"data:,y"}],"path":"/a"}]}}"#
    );
}

#[test]
fn units_are_united_or_conflict() {
    let unit = |fields: &str| format!(r#""systemd": {{"units": [{{"name": "a.service", {fields}}}]}}"#);
    let dropin = |name: &str, text: &str| {
        unit(&format!(r#""dropins": [{{"name": "{name}.conf", "contents": "{text}"}}]"#))
    };
    assert_eq!(
        merged(&dropin("10", "[Unit]"), &dropin("20", "[Service]")),
        r#"{"systemd":{"units":[{"dropins":[{"contents":"[Unit]","name":"10.conf"},{"contents":"[Service]","name":"20.conf"}],"name":"a.service"}]}}"#
    );
    assert_eq!(
        conflict(&dropin("10", "[Unit]"), &dropin("10", "[Service]")),
        "drop-in `10.conf` of unit `a.service`: one has `[Unit]`, the other `[Service]`"
    );
    assert_eq!(
        conflict(&unit(r#""mask": true"#), &unit(r#""enabled": true"#)),
        "unit `a.service`: one has `masked`, the other `enabled or written`"
    );
    assert_eq!(
        conflict(&unit(r#""enabled": false"#), &unit(r#""enabled": true"#)),
        "whether unit `a.service` is enabled: one has `false`, the other `true`"
    );
    assert_eq!(
        conflict(&unit(r#""contents": "[Unit]""#), &unit(r#""contents": "[Service]""#)),
        "the contents of unit `a.service`: one has `[Unit]`, the other `[Service]`"
    );
}

#[test]
fn the_authors_disks_and_arguments_are_kept() {
    let disks = r#""storage": {"disks": [{"device": "/dev/vdb", "wipeTable": true}], "filesystems": [{"device": "/dev/vdb1", "format": "ext4"}],
        "luks": [{"name": "l", "device": "/dev/vdb2"}], "raid": [{"name": "r", "level": "raid1", "devices": ["/dev/vdc", "/dev/vdd"]}]},
        "kernelArguments": {"shouldExist": ["quiet"]}"#;
    let all = merged(
        disks,
        r#""storage": {"files": [{"path": "/a"}]}, "kernelArguments": {"shouldExist": ["quiet", "flatcar.autologin"]}"#,
    );
    for part in [
        r#""wipeTable":true"#,
        r#""format":"ext4""#,
        r#""name":"l""#,
        r#""level":"raid1""#,
        r#"["quiet","flatcar.autologin"]"#,
        r#""path":"/a""#,
    ] {
        assert!(all.contains(part), "{part} is missing from {all}");
    }
    assert_eq!(
        conflict(disks, r#""kernelArguments": {"shouldNotExist": ["quiet"]}"#),
        "the kernel argument `quiet`: one has `shouldExist`, the other `shouldNotExist`"
    );
}

/// A config whose every name and path begins with `prefix`, so that two of them are disjoint.
fn any_config(prefix: &'static str) -> impl Strategy<Value = Config> {
    let part = || "[a-z]{1,6}";
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    let users = proptest::collection::btree_map(
        part(),
        proptest::collection::btree_set("[a-zA-Z0-9 ]{1,9}", 0..3),
        0..3,
    );
    let files = proptest::collection::btree_map(part(), (bytes(), 0_u32..0o1000, any::<bool>()), 0..4);
    let units = proptest::collection::btree_map(part(), (any::<Option<bool>>(), any::<bool>(), part()), 0..3);
    (users, files, units, proptest::collection::btree_set(part(), 0..3)).prop_map(
        move |(users, files, units, links)| {
            let mut config = Config::new();
            for (name, keys) in users {
                config.user(User {
                    name: format!("{prefix}{name}"),
                    ssh_keys: keys.into_iter().collect(),
                    ..User::default()
                });
            }
            for (name, (bytes, mode, overwrite)) in files {
                config.directory(Directory { path: format!("/{prefix}/d/{name}").into(), mode });
                let contents = Contents::Inline(bytes);
                config.file(File { path: format!("/{prefix}/f/{name}").into(), mode, contents, overwrite });
            }
            for (name, (enabled, mask, text)) in units {
                let dropins = vec![Dropin {
                    name: format!("{text}.conf"),
                    contents: format!("[Unit]\nDescription={text}\n"),
                }];
                config.unit(Unit {
                    name: format!("{prefix}{name}.service"),
                    enabled,
                    mask,
                    contents: None,
                    dropins,
                });
            }
            for name in links {
                let target = "/dev/null".into();
                config.link(Link {
                    path: format!("/{prefix}/l/{name}").into(),
                    target,
                    overwrite: true,
                    hard: false,
                });
            }
            config
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_reads_back(config in any_config("a")) {
        prop_assert_eq!(&Config::parse(&config.to_json()).expect("compact"), &config);
        prop_assert_eq!(&Config::parse(&config.to_json_pretty()).expect("pretty"), &config);
        prop_assert_eq!(Config::parse(&config.to_json()).expect("again").to_json(), config.to_json());
    }

    #[test]
    fn merging_disjoint_configs_is_associative((a, b, c) in (any_config("a"), any_config("b"), any_config("c"))) {
        let left = a.clone().merge(b.clone()).and_then(|ab| ab.merge(c.clone())).expect("disjoint");
        let right = b.merge(c).and_then(|bc| a.merge(bc)).expect("disjoint");
        prop_assert_eq!(left.to_json(), right.to_json());
    }

    #[test]
    fn a_config_merged_with_itself_or_nothing_stays_as_it_is(config in any_config("a")) {
        prop_assert_eq!(&config.clone().merge(config.clone()).expect("the same"), &config);
        prop_assert_eq!(&config.clone().merge(Config::new()).expect("nothing"), &config);
        prop_assert_eq!(&Config::new().merge(config.clone()).expect("nothing"), &config);
    }
}
