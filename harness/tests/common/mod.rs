// SPDX-License-Identifier: Apache-2.0
//! A real sshd on the host, for tests over SSH.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loadgauge::guest::Guest;
use ssh_key::private::{Ed25519Keypair, PrivateKey};

/// An sshd of the current user, with its own port and keys. It ends with the test.
pub(crate) struct Sshd {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) user: String,
    pub(crate) key: PrivateKey,
    pub(crate) directory: tempfile::TempDir,
}

impl Sshd {
    /// Starts an sshd.
    ///
    /// # Panics
    /// sshd is not installed: a test that cannot run must not pass.
    pub(crate) fn start() -> Self {
        assert!(
            Path::new("/usr/sbin/sshd").exists(),
            "these tests need a real sshd: sudo apt-get install openssh-server"
        );
        let directory = tempfile::Builder::new().prefix("loadgauge-sshd-").tempdir().expect("a directory");
        let (key, host_key) = (key(1), key(2));
        write(
            directory.path(),
            "host_key",
            &host_key.to_openssh(ssh_key::LineEnding::LF).expect("a key"),
            0o600,
        );
        write(directory.path(), "authorized", &key.public_key().to_openssh().expect("a key"), 0o600);
        let address = free_port();
        let child = spawn(directory.path(), address);
        let user = String::from_utf8(Command::new("id").arg("-un").output().expect("id runs").stdout)
            .expect("a name")
            .trim()
            .to_owned();
        let sshd = Self { child, address, user, key, directory };
        sshd.wait();
        sshd
    }

    /// Kills the server and all its sessions, like a crash of the guest.
    pub(crate) fn kill(&mut self) {
        let mut processes = vec![self.child.id()];
        let mut next = 0;
        while let Some(process) = processes.get(next) {
            processes.extend(children(*process));
            next += 1;
        }
        let processes = processes.iter().map(u32::to_string);
        // `kill` fails for processes that have exited meanwhile.
        Command::new("kill").arg("-KILL").args(processes).output().expect("kill runs");
        self.child.wait().expect("sshd is reaped");
    }

    /// Starts it again after [`Sshd::kill`], with another host key.
    pub(crate) fn restart(&mut self, host_key: u8) {
        let text = self::key(host_key).to_openssh(ssh_key::LineEnding::LF).expect("a key");
        write(self.directory.path(), "host_key", &text, 0o600);
        self.child = spawn(self.directory.path(), self.address);
        self.wait();
    }

    /// A logged-in guest.
    pub(crate) async fn guest(&self) -> Guest {
        Guest::connect(self.address, &self.user, &self.key, Duration::from_secs(10)).await.expect("logged in")
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < deadline, "sshd does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How many commands were run by this server.
    pub(crate) fn commands(&self) -> usize {
        self.log().matches("Starting session: command").count()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
    }
}

/// The same key for the same number.
pub(crate) fn key(number: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[number; 32]))
}

/// An unused address.
pub(crate) fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address")
}

/// The child processes of a process (proc_pid_stat(5): the parent is the field after the state).
fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    processes
        .filter(|process| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let parent_of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            parent_of == Some(parent)
        })
        .collect()
}

fn write(directory: &Path, name: &str, text: &str, mode: u32) {
    let path = directory.join(name);
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
}

fn spawn(directory: &Path, address: SocketAddr) -> Child {
    // Tests install commands here that a guest has and the host may lack (sudo, systemctl).
    let tools = directory.join("bin");
    fs::create_dir_all(&tools).expect("a directory");
    // The shell's home directory excludes the user's start-up files from the test.
    let text = format!(
        "Port {}\nListenAddress 127.0.0.1\nHostKey {d}/host_key\nAuthorizedKeysFile {d}/authorized\n\
         PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n\
         LogLevel VERBOSE\n\
         SetEnv HOME={d} PATH={d}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
        address.port(),
        d = directory.display(),
    );
    write(directory, "config", &text, 0o600);
    // As root, sshd needs its privilege separation directory, which its service creates.
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all("/run/sshd").expect("sshd's directory");
    }
    let log = fs::File::create(directory.join("log")).expect("a log");
    Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(directory.join("config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("sshd starts")
}
