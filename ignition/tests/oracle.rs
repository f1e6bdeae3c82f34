// SPDX-License-Identifier: Apache-2.0
//! Ours against theirs: the real `ignition-validate` judges what this crate writes, and what it refuses.
//!
//! `tests/fetch-oracle.sh DIRECTORY` unpacks the binary; `LOADGAUGE_IGNITION_VALIDATE` names it, or it is
//! on `PATH`. Without it these tests fail, since an oracle that is not asked proves nothing.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]

use std::{
    env, fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    process::{Command, Stdio},
};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_ignition::{
    Config, Contents, Directory, Dropin, File, Link, Severity, Unit, User,
    delivery::{Delivery, INLINE_LIMIT, Payload, PayloadKind, deliver},
    mask_updates,
};
use sha2::{Digest as _, Sha512};

fn oracle() -> PathBuf {
    let named = env::var_os("LOADGAUGE_IGNITION_VALIDATE").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|directory| directory.join("ignition-validate"));
    named.into_iter().chain(on_path).find(|candidate| candidate.is_file()).unwrap_or_else(|| {
        panic!(
            "no ignition-validate: run `ignition/tests/fetch-oracle.sh DIRECTORY`, and set \
             LOADGAUGE_IGNITION_VALIDATE=DIRECTORY/usr/bin/ignition-validate"
        )
    })
}

/// What Ignition says of a config, and whether it takes it.
fn theirs(json: &str) -> (bool, String) {
    let mut child = Command::new(oracle())
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ignition-validate starts");
    child.stdin.take().expect("a pipe").write_all(json.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let words = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&words).trim().to_owned())
}

/// Whether our own judgement is that Ignition would take it.
fn ours(json: &str) -> (bool, String) {
    match Config::parse(json) {
        Err(error) => (false, error.to_string()),
        Ok(config) => {
            let problems = config.validate();
            let words = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            (problems.iter().all(|problem| problem.severity == Severity::Warning), words)
        }
    }
}

/// Both take it without a word, compact and pretty, and ours reads back as itself.
fn both_accept(what: &str, config: &Config) {
    assert_eq!(config.validate(), [], "{what}: ours");
    for json in [config.to_json(), config.to_json_pretty()] {
        assert_eq!(theirs(&json), (true, String::new()), "{what}: theirs, of {json}");
        assert_eq!(&Config::parse(&json).expect("it reads back"), config, "{what}");
    }
}

fn with_sections(sections: &str) -> String {
    format!(r#"{{"ignition": {{"version": "3.3.0"}}, {sections}}}"#)
}

fn file(path: &str, contents: Contents) -> File {
    File { path: path.into(), mode: 0o644, contents, overwrite: true }
}

#[test]
fn composed_configs_are_accepted() {
    both_accept("an empty config", &Config::new());
    let mut config = Config::new();
    config
        .user(User {
            name: "core".into(),
            ssh_keys: vec!["ssh-ed25519 AAAA a".into(), "ssh-rsa AAAA b".into()],
            groups: vec!["docker".into()],
            password_hash: Some("$6$salt$hash".into()),
        })
        .directory(Directory { path: "/etc/probe".into(), mode: 0o700 })
        .file(file("/etc/probe/greeting", Contents::Inline("hello, wörld\n".into())))
        .file(file("/etc/probe/empty", Contents::Inline(vec![])))
        .file(file("/etc/probe/bytes", Contents::Inline((0..=255).collect())))
        .file(file(
            "/etc/probe/remote",
            Contents::Remote { url: "https://example.com/a?b=c".into(), sha512: "0a".repeat(64) },
        ))
        .link(Link {
            path: "/etc/extensions/docker-flatcar.raw".into(),
            target: "/dev/null".into(),
            overwrite: true,
            hard: false,
        })
        .link(Link {
            path: "/etc/probe/hard".into(),
            target: "/etc/probe/greeting".into(),
            overwrite: false,
            hard: true,
        })
        .unit(Unit {
            name: "probe@1.service".into(),
            enabled: Some(true),
            contents: Some("# probe\n[Unit]\nDescription=a \\\n  b\n\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target".into()),
            ..Unit::default()
        })
        .unit(Unit {
            name: "docker.service".into(),
            dropins: vec![Dropin { name: "10-a.conf".into(), contents: "[Unit]\nUpholds=x.service\n".into() }],
            ..Unit::default()
        })
        .unit(Unit { name: "locksmithd.service".into(), mask: true, ..Unit::default() });
    mask_updates(&mut config);
    both_accept("a composed config", &config);

    let mut harness = Config::new();
    harness
        .user(User { name: "core".into(), ssh_keys: vec!["ssh-ed25519 BBBB".into()], ..User::default() })
        .unit(Unit {
            name: "docker.service".into(),
            dropins: vec![Dropin { name: "20-b.conf".into(), contents: "[Service]\n".into() }],
            ..Unit::default()
        });
    both_accept("a merged config", &config.merge(harness).expect("no conflict"));
}

#[test]
fn every_byte_and_character_is_a_valid_data_url() {
    let mut config = Config::new();
    // Each byte alone among text, so that it is percent-encoded, and many of it, so that it becomes base64.
    for byte in 0..=255_u8 {
        config.file(file(&format!("/one/{byte}"), Contents::Inline([b"text ".as_slice(), &[byte]].concat())));
        config.file(file(&format!("/many/{byte}"), Contents::Inline(vec![byte; 50])));
    }
    both_accept("every byte", &config);
}

#[test]
fn butane_configs_are_accepted() {
    let text = include_str!("../src/butane/everything.bu");
    let config = Config::from_butane(text, Utf8Path::new(".")).expect("the text is right");
    both_accept("Butane", &config);
}

#[test]
fn delivery_configs_are_accepted() {
    let host = tempfile::tempdir().expect("a temporary directory");
    let root = Utf8Path::from_path(host.path()).expect("UTF-8");
    let image = root.join("image");
    fs::write(&image, [7; 3000]).expect("a file");
    let tree = root.join("tree");
    fs::create_dir_all(tree.join("usr/bin")).expect("a directory");
    fs::write(tree.join("usr/bin/a b"), vec![1; 100_000]).expect("a file");
    fs::write(tree.join("usr/bin/ü#?%"), "small").expect("a file");
    symlink("a b", tree.join("usr/bin/link")).expect("a link");
    for directory in ["", "usr", "usr/bin"] {
        fs::set_permissions(tree.join(directory), fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let size = 3000;
    let sha512 = hex::encode(Sha512::digest([7; 3000]));
    let image = |path: &Utf8PathBuf| PayloadKind::Image { path: path.clone(), size, sha512: sha512.clone() };
    for how in [Delivery::Auto, Delivery::Inline, Delivery::Http] {
        for kind in [image(&root.join("image")), PayloadKind::Directory { path: tree.clone() }] {
            let payload = Payload { name: "hello".into(), kind };
            let delivered = deliver(&payload, how, "http://10.0.2.100", INLINE_LIMIT).expect("delivered");
            both_accept(&format!("{how} {payload:?}"), &delivered.config);
        }
    }
}

/// Sections that neither takes.
const REFUSED_BY_BOTH: &[&str] = &[
    // Paths, modes, owners.
    r#""storage": {"files": [{"path": "etc/a"}]}"#,
    r#""storage": {"files": [{"path": ""}]}"#,
    r#""storage": {"files": [{"path": "/etc//a"}]}"#,
    r#""storage": {"files": [{"path": "/etc/../a"}]}"#,
    r#""storage": {"directories": [{"path": "/a/"}]}"#,
    r#""storage": {"files": [{"path": "/a", "mode": 4096}]}"#,
    r#""storage": {"directories": [{"path": "/a", "mode": -1}]}"#,
    r#""storage": {"files": [{"path": "/a", "user": {"id": 1, "name": "a"}}]}"#,
    r#""storage": {"files": [{"path": "/a", "mode": "0644"}]}"#,
    // One thing per path, and none below a link.
    r#""storage": {"files": [{"path": "/a"}, {"path": "/a"}]}"#,
    r#""storage": {"files": [{"path": "/a"}], "directories": [{"path": "/a"}]}"#,
    r#""storage": {"files": [{"path": "/a"}], "links": [{"path": "/a", "target": "/b"}]}"#,
    r#""storage": {"files": [{"path": "/a/b"}], "links": [{"path": "/a", "target": "/b"}]}"#,
    r#""storage": {"directories": [{"path": "/b"}], "links": [{"path": "/a", "target": "/b", "hard": true}]}"#,
    r#""storage": {"files": [{"path": "/a", "overwrite": true}]}"#,
    // Sources and digests.
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "ftp://a/b"}}]}"#,
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "/etc/passwd"}}]}"#,
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:hello"}}]}"#,
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:,a b"}}]}"#,
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:,50%"}}]}"#,
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:;base64,AAA"}}]}"#,
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:;base64,A*=="}}]}"#,
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:text,a"}}]}"#,
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:,", "compression": "xz"}}]}"#,
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:,", "verification": {"hash": "abc"}}}]}"#,
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:,", "verification": {"hash": "md5-abc"}}}]}"#,
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:,", "verification": {"hash": "sha512-abc"}}}]}"#,
    r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:,", "httpHeaders": [{"name": "a", "value": "b"}]}}]}"#,
    r#""ignition": {"version": "3.3.0", "config": {"merge": [{}]}}"#,
    r#""ignition": {"version": "3.3.0", "proxy": {"httpProxy": "ftp://a"}}"#,
    // Units.
    r#""systemd": {"units": [{"name": "a"}]}"#,
    r#""systemd": {"units": [{"name": "a.conf"}]}"#,
    r#""systemd": {"units": [{"name": "a.service"}, {"name": "a.service"}]}"#,
    r#""systemd": {"units": [{"name": "a.service", "contents": "[Unit\n"}]}"#,
    r#""systemd": {"units": [{"name": "a.service", "contents": "[Unit] x\n"}]}"#,
    r#""systemd": {"units": [{"name": "a.service", "contents": "[Unit]\nDescription\n"}]}"#,
    r#""systemd": {"units": [{"name": "a.service", "dropins": [{"name": "b"}]}]}"#,
    r#""systemd": {"units": [{"name": "a.service", "dropins": [{"name": "b.conf"}, {"name": "b.conf"}]}]}"#,
    // Accounts and arguments.
    r#""passwd": {"users": [{"name": "core"}, {"name": "core"}]}"#,
    r#""passwd": {"users": [{"name": "core", "sshAuthorizedKeys": ["a", "a"]}]}"#,
    r#""passwd": {"groups": [{"name": "a"}, {"name": "a"}]}"#,
    r#""kernelArguments": {"shouldExist": ["a", "a"]}"#,
    r#""kernelArguments": {"shouldExist": ["a"], "shouldNotExist": ["a"]}"#,
    // Block devices.
    r#""storage": {"disks": [{"device": ""}]}"#,
    r#""storage": {"disks": [{"device": "/dev/vda"}, {"device": "/dev/vda"}]}"#,
    r#""storage": {"disks": [{"device": "/dev/vda", "partitions": [{}]}]}"#,
    r#""storage": {"disks": [{"device": "/dev/vda", "partitions": [{"number": 1}, {"number": 1}]}]}"#,
    r#""storage": {"disks": [{"device": "/dev/vda", "partitions": [{"label": "a"}, {"label": "a"}]}]}"#,
    r#""storage": {"disks": [{"device": "/dev/vda", "partitions": [{"number": 1, "startMiB": 1, "sizeMiB": 10}, {"number": 2, "startMiB": 10, "sizeMiB": 1}]}]}"#,
    r#""storage": {"disks": [{"device": "/dev/vda", "partitions": [{"number": 1, "guid": "x"}]}]}"#,
    r#""storage": {"disks": [{"device": "/dev/vda", "partitions": [{"number": 1, "label": "a:b"}]}]}"#,
    r#""storage": {"disks": [{"device": "/dev/vda", "partitions": [{"number": 1, "shouldExist": false, "label": "a"}]}]}"#,
    r#""storage": {"raid": [{"name": "a", "level": "raid1"}]}"#,
    r#""storage": {"raid": [{"name": "a", "devices": ["/dev/vda"], "level": "raid7"}]}"#,
    r#""storage": {"raid": [{"name": "a", "devices": ["/dev/vda"], "level": "raid0", "spares": 1}]}"#,
    r#""storage": {"luks": [{"name": "a/b", "device": "/dev/vda"}]}"#,
    r#""storage": {"luks": [{"name": "a"}]}"#,
    r#""storage": {"luks": [{"name": "a", "device": "/dev/vda", "clevis": {"custom": {"pin": "x", "config": "y"}}}]}"#,
    r#""storage": {"luks": [{"name": "a", "device": "/dev/vda", "clevis": {"tang": [{"url": "ftp://a", "thumbprint": "b"}]}}]}"#,
    r#""storage": {"filesystems": [{"device": "/dev/vda", "format": "ntfs"}]}"#,
    r#""storage": {"filesystems": [{"device": "/dev/vda", "path": "/var"}]}"#,
    r#""storage": {"filesystems": [{"device": "/dev/vda", "format": "xfs", "label": "longer than 12"}]}"#,
];

#[test]
fn configs_that_ignition_refuses_are_refused() {
    for sections in REFUSED_BY_BOTH {
        // A second section `ignition` would be a duplicate for us: those cases bring their own.
        let json = if sections.starts_with(r#""ignition""#) {
            format!("{{{sections}}}")
        } else {
            with_sections(sections)
        };
        let (their_judgement, their_words) = theirs(&json);
        let (our_judgement, our_words) = ours(&json);
        assert!(!their_judgement, "Ignition takes it: {json}\n{their_words}");
        assert!(!our_judgement, "we take what Ignition refuses: {json}\n{their_words}\nours: {our_words}");
    }
    for json in
        ["", "{}", "[]", "{", r#"{"ignition": {"version": "2.3.0"}}"#, r#"{"ignition": {"version": "9"}}"#]
    {
        assert!(!theirs(json).0, "Ignition takes it: {json}");
        assert!(!ours(json).0, "we take what Ignition refuses: {json}");
    }
}

/// What Ignition takes and we do not, and why.
const STRICTER: &[(&str, &str)] = &[
    (
        r#""storage": {"files": [{"path": "/a", "content": {}}]}"#,
        "an unknown key is a slip, and would be lost",
    ),
    (r#""storage": {"files": [{"path": "/a"}]}, "storage": {}"#, "of two equal keys one would be lost"),
    (r#""storage": {"files": [{"path": "/a"}, {"path": "/a/b"}]}"#, "nothing can be below a file"),
    (r#""storage": {"links": [{"path": "/a", "target": "/a"}]}"#, "a link to itself leads nowhere"),
    (
        r#""storage": {"files": [{"path": "/a", "contents": {"source": "tftp:///b"}}]}"#,
        "nobody answers there",
    ),
    (
        r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:,", "verification": {"hash": "sha256-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"}}}]}"#,
        "no file has a digest that is not hexadecimal",
    ),
    (r#""passwd": {"users": [{"name": ""}]}"#, "useradd refuses an empty name"),
    (r#""passwd": {"users": [{"name": "0 x"}]}"#, "useradd refuses blanks"),
    (r#""passwd": {"users": [{"name": "a", "uid": -1}]}"#, "useradd refuses it"),
    (r#""passwd": {"users": [{"name": "a", "sshAuthorizedKeys": [""]}]}"#, "an empty key lets nobody in"),
    (
        r#""passwd": {"users": [{"name": "a", "sshAuthorizedKeys": ["a\nb"]}]}"#,
        "the second line hides another key",
    ),
    (r#""passwd": {"users": [{"name": "a", "homeDir": "home"}]}"#, "useradd refuses a relative home"),
    (r#""systemd": {"units": [{"name": "a b.service"}]}"#, "systemd does not load a unit of that name"),
    (r#""systemd": {"units": [{"name": ".service"}]}"#, "systemd does not load a unit without a name"),
    (
        r#""systemd": {"units": [{"name": "a.service", "dropins": [{"name": ".conf"}]}]}"#,
        "a hidden file is no drop-in",
    ),
    (
        r#""systemd": {"units": [{"name": "a.service", "contents": "ExecStart=x"}]}"#,
        "systemd ignores what stands before a section",
    ),
    (
        r#""systemd": {"units": [{"name": "a.service", "mask": true, "enabled": true}]}"#,
        "a masked unit does not start",
    ),
    (
        r#""systemd": {"units": [{"name": "a.service", "mask": true, "contents": "[Unit]"}]}"#,
        "the mask replaces the contents",
    ),
    (
        r#""storage": {"files": [{"path": "/etc/systemd/system/a.service"}]}, "systemd": {"units": [{"name": "a.service", "mask": true}]}"#,
        "the mask replaces the file",
    ),
    (
        r#""storage": {"files": [{"path": "/etc/systemd/system/a.service"}]}, "systemd": {"units": [{"name": "a.service", "contents": "[Unit]"}]}"#,
        "one would overwrite the other; Ignition since 2.15 agrees",
    ),
    (
        r#""storage": {"files": [{"path": "/etc/systemd/system/a.service.d/b.conf"}]}, "systemd": {"units": [{"name": "a.service", "dropins": [{"name": "b.conf", "contents": "[Unit]"}]}]}"#,
        "one would overwrite the other; Ignition since 2.15 agrees",
    ),
    (r#""ignition": {"version": "3.3.0", "timeouts": {"httpTotal": -1}}"#, "no time is below zero"),
];

#[test]
fn stricter_rules() {
    for (sections, reason) in STRICTER {
        let json = if sections.starts_with(r#""ignition""#) {
            format!("{{{sections}}}")
        } else {
            with_sections(sections)
        };
        let (their_judgement, their_words) = theirs(&json);
        let (our_judgement, our_words) = ours(&json);
        assert!(their_judgement, "Ignition has become as strict as we are: {json}\n{their_words}");
        assert!(!our_judgement, "we should be stricter, since {reason}: {json}\n{our_words}");
    }
}
