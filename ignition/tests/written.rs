// SPDX-License-Identifier: Apache-2.0
//! What the real Ignition makes of our configs: its stage `files` writes into a directory, and every path
//! is compared with what was asked for. Where the binary comes from: see the test `oracle`.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]

use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
    process::Command,
    thread,
};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_ignition::{
    Config, Contents, Directory, Dropin, File, Link, Unit,
    delivery::{Delivery, HowDelivered, INLINE_LIMIT, Payload, PayloadKind, Served, deliver},
    mask_updates,
};
use sha2::{Digest as _, Sha512};

/// The program that runs in a guest's initrd, which lies beside `ignition-validate` in Debian's package.
fn ignition() -> PathBuf {
    let validate = env::var_os("LOADGAUGE_IGNITION_VALIDATE").map(PathBuf::from);
    let usr = validate.as_deref().and_then(|path| path.parent()?.parent()).unwrap_or("/usr".as_ref());
    let program = usr.join("lib/dracut/modules.d/30ignition/ignition");
    assert!(
        program.is_file(),
        "no `{}`: run `ignition/tests/fetch-oracle.sh DIRECTORY`, and set \
         LOADGAUGE_IGNITION_VALIDATE=DIRECTORY/usr/bin/ignition-validate",
        program.display()
    );
    program
}

/// A root directory that Ignition writes into.
struct Guest {
    scratch: tempfile::TempDir,
}

impl Guest {
    fn new() -> Self {
        let guest = Self { scratch: tempfile::tempdir().expect("a temporary directory") };
        // Debian's Ignition is built to relabel for SELinux, and fails without these two.
        guest.put("root/etc/selinux/config", "SELINUX=disabled\nSELINUXTYPE=none\n");
        let setfiles = guest.put("bin/setfiles", "#!/bin/sh\n");
        fs::set_permissions(setfiles, fs::Permissions::from_mode(0o755)).expect("a mode");
        guest
    }

    fn path(&self, below: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.scratch.path()).expect("UTF-8").join(below)
    }

    fn put(&self, below: &str, text: &str) -> Utf8PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, text).expect("a file");
        path
    }

    /// Runs the stages that a guest runs, all but those for disks.
    fn apply(&self, config: &Config) -> Result<(), String> {
        let json = self.put("config.ign", &config.to_json());
        for stage in ["fetch-offline", "fetch", "files"] {
            let is_root = fs::metadata("/proc/self").expect("proc").uid() == 0;
            let mut command = Command::new(if is_root { "env" } else { "unshare" });
            if !is_root {
                command.args(["--map-root-user", "--"]);
            }
            let path = env::var("PATH").unwrap_or_default();
            command
                .arg(ignition())
                .args(["--platform=file", "--log-to-stdout"])
                .arg(format!("--stage={stage}"))
                .arg(format!("--root={}", self.path("root")))
                .arg(format!("--config-cache={}", self.path("cache.json")))
                .arg(format!("--state-file={}", self.path("state")))
                .arg(format!("--neednet={}", self.path("neednet")))
                .env("IGNITION_CONFIG_FILE", &json)
                .env("PATH", format!("{}:{path}", self.path("bin")));
            let output = command.output().expect("it starts");
            if !output.status.success() {
                let words = [output.stdout, output.stderr].concat();
                return Err(format!("stage {stage}: {}", String::from_utf8_lossy(&words)));
            }
        }
        Ok(())
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(&format!("root{path}"))).expect(path)
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.path(&format!("root{path}"))).expect(path).mode() & 0o7777
    }

    fn target(&self, path: &str) -> String {
        self.path(&format!("root{path}")).read_link_utf8().expect(path).into_string()
    }
}

/// Serves files by their addresses until the test ends, and returns the origin.
fn serve(served: Vec<Served>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let files = served.into_iter().map(|file| (file.url_path, file.file)).collect::<HashMap<_, _>>();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
            let request = lines.next().expect("a request").expect("text");
            while lines.next().is_some_and(|line| !line.expect("text").is_empty()) {}
            let path = request.split(' ').nth(1).expect("a path");
            let (status, body) = match files.get(path) {
                Some(file) => ("200 OK", fs::read(file).expect("the file")),
                None => ("404 Not Found", Vec::new()),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("it listens");
            stream.write_all(&body).expect("it listens");
        }
    });
    origin
}

#[test]
fn composed_configs_are_written() {
    let guest = Guest::new();
    // A vendor's link, which ours replaces. (Not by one to /dev/null, as a scenario may: Ignition gives a
    // link the owner of its target, whom a user namespace does not know.)
    fs::create_dir_all(guest.path("root/etc/extensions")).expect("a directory");
    symlink(
        "/usr/share/flatcar/sysext/docker-flatcar.raw",
        guest.path("root/etc/extensions/docker-flatcar.raw"),
    )
    .expect("a link");
    let every_byte = (0..=255).collect::<Vec<u8>>();
    let text = "short, \"text\" with %, #, ? and wörds\n";
    let file = |path: &str, bytes: &[u8], mode| File {
        path: path.into(),
        mode,
        contents: Contents::Inline(bytes.to_vec()),
        overwrite: false,
    };
    let mut config = Config::new();
    config
        .directory(Directory { path: "/etc/probe".into(), mode: 0o750 })
        .file(file("/etc/probe/bytes", &every_byte, 0o600))
        .file(file("/etc/probe/text", text.as_bytes(), 0o755))
        .file(file("/etc/probe/empty", b"", 0o444))
        .link(Link {
            path: "/etc/extensions/docker-flatcar.raw".into(),
            target: "/opt/extensions/docker-flatcar.raw".into(),
            overwrite: true,
            hard: false,
        })
        .link(Link {
            path: "/etc/probe/hard".into(),
            target: "/etc/probe/text".into(),
            overwrite: false,
            hard: true,
        })
        .unit(Unit {
            name: "probe.service".into(),
            enabled: Some(true),
            contents: Some("[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n".into()),
            dropins: vec![Dropin { name: "10-a.conf".into(), contents: "[Unit]\nDescription=a\n".into() }],
            ..Unit::default()
        });
    mask_updates(&mut config);
    guest.apply(&config).expect("Ignition takes it");

    assert_eq!(guest.mode("/etc/probe"), 0o750);
    assert_eq!((guest.bytes("/etc/probe/bytes"), guest.mode("/etc/probe/bytes")), (every_byte, 0o600));
    assert_eq!((guest.bytes("/etc/probe/text"), guest.mode("/etc/probe/text")), (text.into(), 0o755));
    assert_eq!((guest.bytes("/etc/probe/empty"), guest.mode("/etc/probe/empty")), (vec![], 0o444));
    assert_eq!(guest.target("/etc/extensions/docker-flatcar.raw"), "/opt/extensions/docker-flatcar.raw");
    assert_eq!(guest.bytes("/etc/probe/hard"), text.as_bytes());
    assert!(guest.bytes("/etc/systemd/system/probe.service").starts_with(b"[Service]"));
    assert!(guest.bytes("/etc/systemd/system/probe.service.d/10-a.conf").starts_with(b"[Unit]"));
    let presets =
        String::from_utf8(guest.bytes("/etc/systemd/system-preset/20-ignition.preset")).expect("text");
    assert!(presets.contains("enable probe.service"), "{presets}");
    for unit in ["update-engine.service", "locksmithd.service"] {
        assert_eq!(guest.target(&format!("/etc/systemd/system/{unit}")), "/dev/null");
    }
}

#[test]
fn a_directory_is_the_same_inline_and_by_http() {
    let host = Guest::new();
    let tree = host.path("tree");
    host.put("tree/usr/lib/extension-release.d/extension-release.hello", "ID=_any\n");
    host.put("tree/usr/share/empty", "");
    host.put("tree/usr/share/ü #?%", "small");
    host.put("tree/usr/share/large", &"large ".repeat(20_000));
    let program = host.put("tree/usr/bin/hello", "#!/bin/sh\n");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::set_permissions(host.path("tree/usr/share"), fs::Permissions::from_mode(0o711)).expect("a mode");
    symlink("../bin/hello", host.path("tree/usr/share/link")).expect("a link");
    let payload = Payload { name: "hello".into(), kind: PayloadKind::Directory { path: tree.clone() } };

    let mut served = Vec::new();
    for how in [Delivery::Inline, Delivery::Auto, Delivery::Http] {
        served.extend(deliver(&payload, how, "http://origin", INLINE_LIMIT).expect("delivered").served);
    }
    let origin = serve(served);
    let expected = [
        (Delivery::Inline, HowDelivered::Inline),
        (Delivery::Auto, HowDelivered::Mixed),
        (Delivery::Http, HowDelivered::Http),
    ];
    for (how, taken) in expected {
        let guest = Guest::new();
        let delivered = deliver(&payload, how, &origin, INLINE_LIMIT).expect("delivered");
        assert_eq!(delivered.how, taken);
        guest.apply(&delivered.config).expect("Ignition takes it");
        assert_eq!(guest.target("/etc/extensions/hello"), "/var/lib/loadgauge/extensions/hello");
        let difference = Command::new("diff")
            .args(["--recursive", "--no-dereference"])
            .args([&tree, &guest.path("root/var/lib/loadgauge/extensions/hello")])
            .output()
            .expect("diff");
        assert!(difference.status.success(), "{how}: {}", String::from_utf8_lossy(&difference.stdout));
        for below in ["", "/usr", "/usr/share", "/usr/share/large", "/usr/bin/hello", "/usr/share/empty"] {
            let mode = fs::metadata(format!("{tree}{below}")).expect(below).mode() & 0o7777;
            assert_eq!(
                guest.mode(&format!("/var/lib/loadgauge/extensions/hello{below}")),
                mode,
                "{how}: {below}"
            );
        }
    }
}

#[test]
fn an_image_needs_its_digest() {
    let host = Guest::new();
    let image = host.put("hello.raw", "an image");
    let sha512 = hex::encode(Sha512::digest(b"an image"));
    let payload = |sha512: &str| Payload {
        name: "hello".into(),
        kind: PayloadKind::Image { path: image.clone(), size: 8, sha512: sha512.into() },
    };
    let wrong = "0a".repeat(64);
    let mut served = Vec::new();
    for sha512 in [&sha512, &wrong] {
        let delivered = deliver(&payload(sha512), Delivery::Http, "http://origin", 0).expect("delivered");
        served.extend(delivered.served);
    }
    let origin = serve(served);

    let guest = Guest::new();
    let delivered = deliver(&payload(&sha512), Delivery::Http, &origin, 0).expect("delivered");
    guest.apply(&delivered.config).expect("Ignition takes it");
    assert_eq!(guest.bytes("/opt/extensions/hello.raw"), b"an image");
    assert_eq!(guest.target("/etc/extensions/hello.raw"), "/opt/extensions/hello.raw");

    let guest = Guest::new();
    let delivered = deliver(&payload(&wrong), Delivery::Http, &origin, 0).expect("delivered");
    let words = guest.apply(&delivered.config).expect_err("the digest is wrong");
    assert!(words.contains("stage files") && words.contains("hash verification failed"), "{words}");
}
