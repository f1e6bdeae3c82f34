// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint as _;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha512};

use super::plan::inline_cost;
use super::*;

const ORIGIN: &str = "http://10.0.2.100";

struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, below: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).expect("UTF-8").join(below)
    }

    fn write(&self, below: &str, bytes: &[u8]) -> Utf8PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
        path
    }

    fn image(&self, size: usize) -> Payload {
        let bytes = vec![7_u8; size];
        let path = self.write("hello.raw", &bytes);
        let sha512 = hex::encode(Sha512::digest(&bytes));
        Payload { name: "hello".into(), kind: PayloadKind::Image { path, size: size as u64, sha512 } }
    }

    fn tree(&self) -> Payload {
        // Made anew each time, since a test may have spoilt the one before.
        let _ = fs::remove_dir_all(self.path("tree"));
        self.write("tree/usr/lib/extension-release.d/extension-release.hello", b"ID=_any\n");
        let script = self.write("tree/usr/bin/hello", b"#!/bin/sh\necho hello\n");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a mode");
        self.write("tree/usr/share/hello/empty", b"");
        self.write("tree/usr/share/hello/large file", &vec![1; 100_000]);
        symlink("hello", self.path("tree/usr/bin/hi")).expect("a link");
        for directory in ["", "usr", "usr/bin", "usr/lib", "usr/lib/extension-release.d", "usr/share"] {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(self.path("tree").join(directory), mode).expect("a mode");
        }
        fs::set_permissions(self.path("tree/usr/share/hello"), fs::Permissions::from_mode(0o750))
            .expect("a mode");
        Payload { name: "hello".into(), kind: PayloadKind::Directory { path: self.path("tree") } }
    }
}

#[test]
fn a_small_image_is_in_the_config_and_a_large_one_is_not() {
    let host = Host::new();
    let small = deliver(&host.image(48_000), Delivery::Auto, ORIGIN, INLINE_LIMIT).expect("delivered");
    assert_eq!((small.how, small.served), (HowDelivered::Inline, vec![]));
    assert!(small.config.to_json().len() as u64 >= inline_cost(48_000));
    let large = deliver(&host.image(50_000), Delivery::Auto, ORIGIN, INLINE_LIMIT).expect("delivered");
    assert_eq!(large.how, HowDelivered::Http);
    let served = &large.served[0];
    assert_eq!(served.url_path, format!("/{}/hello.raw", served.sha512));
    assert_eq!(served.file, host.path("hello.raw"));
    insta::assert_snapshot!(large.config.to_json_pretty());
    assert_eq!(large.config.validate(), []);
    let requested = deliver(&host.image(10), Delivery::Http, "http://10.0.2.100/", INLINE_LIMIT);
    assert_eq!(requested.expect("delivered").how, HowDelivered::Http);
}

#[test]
fn large_extensions_are_refused_inline() {
    let error = deliver(&Host::new().image(200_000), Delivery::Inline, ORIGIN, 0).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "`hello` would add 266681 bytes to the config, the limit of inline delivery is 262144"
    );
    assert!(error.hint().expect("a hint").contains("http"));
    let host = Host::new();
    assert!(deliver(&host.image(190_000), Delivery::Inline, ORIGIN, 0).is_ok(), "the threshold is Auto's");
}

#[test]
fn a_changed_image_is_refused() {
    let host = Host::new();
    let payload = host.image(10);
    host.write("hello.raw", b"0123456789");
    let error = deliver(&payload, Delivery::Inline, ORIGIN, 0).expect_err("changed");
    assert!(matches!(error, DeliveryError::Changed { .. }), "{error}");
    host.write("hello.raw", b"longer than before");
    for how in [Delivery::Inline, Delivery::Http] {
        let error = deliver(&payload, how, ORIGIN, 0).expect_err("changed");
        assert_eq!(error.to_string(), format!("`{}` has 18 bytes, expected 10", host.path("hello.raw")));
    }
    fs::remove_file(host.path("hello.raw")).expect("it is there");
    let error = deliver(&payload, Delivery::Http, ORIGIN, 0).expect_err("gone");
    assert_eq!(error.to_string(), format!("cannot examine `{}`", host.path("hello.raw")));
}

#[test]
fn a_directory_becomes_its_entries_and_large_files_are_served() {
    let host = Host::new();
    let delivered = deliver(&host.tree(), Delivery::Auto, ORIGIN, INLINE_LIMIT).expect("delivered");
    assert_eq!(delivered.how, HowDelivered::Mixed);
    assert_eq!(delivered.served.len(), 1);
    assert!(delivered.served[0].url_path.ends_with("/large%20file"));
    assert_eq!(delivered.config.validate(), []);
    insta::assert_snapshot!(delivered.config.to_json_pretty());

    let inline = deliver(&host.tree(), Delivery::Inline, ORIGIN, 0).expect("delivered");
    assert_eq!((inline.how, inline.served.len()), (HowDelivered::Inline, 0));
    let http = deliver(&host.tree(), Delivery::Http, ORIGIN, 0).expect("delivered");
    assert_eq!((http.how, http.served.len()), (HowDelivered::Http, 3), "an empty file needs no server");
}

#[test]
fn files_that_ignition_cannot_create_are_refused() {
    let host = Host::new();
    let refused =
        |payload: &Payload| deliver(payload, Delivery::Auto, ORIGIN, INLINE_LIMIT).expect_err("refused");
    let payload = host.tree();
    let script = host.path("tree/usr/bin/hello");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o4755)).expect("a mode");
    assert_eq!(
        refused(&payload).to_string(),
        format!("`{script}` has the mode 0o4755, whose set-ID and sticky bits Ignition would lose")
    );
    let payload = host.tree();
    let socket = host.path("tree/usr/socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let error = refused(&payload);
    assert_eq!(error.to_string(), format!("`{socket}` is neither a file, a directory nor a symbolic link"));
    assert!(error.hint().is_some());
    let file = host.write("file", b"");
    let payload = Payload { name: "hello".into(), kind: PayloadKind::Directory { path: file } };
    assert!(matches!(refused(&payload), DeliveryError::NoDirectory(_)));
}

#[test]
fn file_capabilities_are_not_lost() {
    let host = Host::new();
    let payload = host.tree();
    let program = host.path("tree/usr/bin/hello");
    // cap_net_raw, permitted and effective, in the form of capability.h's `vfs_cap_data`.
    let mut capability = [0_u8; 20];
    capability[..8].copy_from_slice(&[1, 0, 0, 2, 0, 0x20, 0, 0]);
    let flags = rustix::fs::XattrFlags::empty();
    match rustix::fs::setxattr(program.as_std_path(), "security.capability", &capability, flags) {
        Ok(()) => {
            let error = deliver(&payload, Delivery::Auto, ORIGIN, INLINE_LIMIT).expect_err("refused");
            assert_eq!(
                error.to_string(),
                format!("`{program}` has file capabilities, which Ignition cannot set")
            );
        }
        Err(error) => eprintln!("skipped: a file cannot be given capabilities here: {error}"),
    }
}

#[test]
fn names_are_one_component_of_a_path() {
    let host = Host::new();
    for name in ["", ".hidden", "a/b", "..", "hello.raw", "a b", "ü", "a\nb"] {
        let payload = Payload { name: name.into(), ..host.image(1) };
        let error = deliver(&payload, Delivery::Auto, ORIGIN, INLINE_LIMIT).expect_err("no name");
        assert!(matches!(error, DeliveryError::Name(_)), "{name}: {error}");
    }
    let payload = Payload { name: "docker-27.1_x".into(), ..host.image(1) };
    assert!(deliver(&payload, Delivery::Auto, ORIGIN, INLINE_LIMIT).is_ok());
}

#[test]
fn names_of_deliveries() {
    for how in [Delivery::Auto, Delivery::Inline, Delivery::Http] {
        assert_eq!(how.to_string().parse(), Ok(how));
        assert_eq!(serde_json::to_value(how).expect("JSON"), how.to_string());
    }
    let error = "disk".parse::<Delivery>().expect_err("not yet");
    assert_eq!(error.to_string(), "`disk` is not a delivery, expected `auto`, `inline` or `http`");
}
