// SPDX-License-Identifier: Apache-2.0
//! The micro-boot: boots a guest of 512 bytes to see whether an accelerator works, and how fast.
use std::process::Stdio;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use loadgauge_host::{FileError, Tool, fs};
use loadgauge_images::Architecture;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::time::timeout;

use super::accelerator::Accelerator;
use super::micro_boot::{BootAction, DONE, DONE_STATUS, EXIT_PORT, boot_disk};
use super::option::{escape, options};
use super::process;
use super::qmp::{Qmp, RunState};

/// The limit of a micro-boot. With TCG or a KVM that works, it takes 0.25 s; on a host whose KVM does not
/// work, the firmware alone has taken 11 to 16 s.
pub(crate) const LIMIT: Duration = Duration::from_secs(3);
/// The limit with TCG, which always works: only a very busy host is as slow.
const TCG_LIMIT: Duration = Duration::from_secs(30);
/// The number of times that the guest's loop runs: about 0.1 s with TCG, a few hundredths natively.
pub(crate) const LOOPS: u32 = 20_000_000;
/// The guest's first output.
const GREETING: &str = "loadgauge micro-boot\n";
/// The limit of QEMU's answer to `query-status`.
const QUERY_LIMIT: Duration = Duration::from_millis(500);

/// The times of a micro-boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// from the start of QEMU to its exit
    pub total: Duration,
    /// the guest's loop
    pub work: Duration,
}

/// The result of a micro-boot: its times, or why it failed.
pub type Probe = Result<Measurement, String>;

/// Boots the micro-guest with an accelerator.
///
/// # Errors
/// The guest's files cannot be created. An accelerator that does not work is a result and not an error.
pub(crate) async fn probe(
    qemu: &Tool,
    accelerator: Accelerator,
    directory: &Utf8Path,
) -> Result<Probe, FileError> {
    let disk = directory.join("disk");
    boot_disk(&disk, GREETING, BootAction::Work(LOOPS))?;
    let socket = directory.join("qmp");
    let listener = UnixListener::bind(&socket).map_err(FileError::at("listen on", &socket))?;
    let result = boot(qemu, accelerator, &disk, &socket, listener).await;
    fs::remove_file(&socket)?;
    Ok(result)
}

async fn boot(
    qemu: &Tool,
    accelerator: Accelerator,
    disk: &Utf8Path,
    socket: &Utf8Path,
    qmp: UnixListener,
) -> Probe {
    let begun = Instant::now();
    let mut command = qemu.command();
    command.args(arguments(accelerator, disk, socket));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        process::spawn(command).await.map_err(|error| format!("cannot run `{}`: {error}", qemu.path()))?;
    let (Some(console), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("QEMU has no output".to_owned());
    };
    let limit = if accelerator == Accelerator::Kvm { LIMIT } else { TCG_LIMIT };
    let watched = timeout(limit, watch(&mut child, console, errors)).await;
    let result = match watched {
        Ok(result) => result.map(|work| Measurement { total: begun.elapsed(), work }),
        Err(_) => {
            Err(format!("the micro-boot took more than {} s{}", limit.as_secs(), run_state(&qmp).await))
        }
    };
    let _ = child.kill().await;
    result
}

/// QEMU's arguments for a micro-boot: those of a machine, as far as they concern the accelerator.
fn arguments(accelerator: Accelerator, disk: &Utf8Path, qmp: &Utf8Path) -> Vec<String> {
    let value = |path: &Utf8Path| escape(path.as_str());
    let mut all = options([
        ("-machine", "q35".to_owned()),
        ("-accel", accelerator.option().to_owned()),
        ("-cpu", accelerator.cpu_model(Architecture::Amd64).to_owned()),
        ("-m", "64M".to_owned()),
        ("-display", "none".to_owned()),
        ("-chardev", "stdio,id=console,signal=off".to_owned()),
        ("-serial", "chardev:console".to_owned()),
        ("-chardev", format!("socket,id=qmp,path={}", value(qmp))),
        ("-mon", "chardev=qmp,mode=control".to_owned()),
        ("-drive", format!("if=none,id=disk,format=raw,readonly=on,file={}", value(disk))),
        ("-device", "virtio-blk-pci,drive=disk,bootindex=1".to_owned()),
        ("-device", format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1")),
    ]);
    all.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
    all
}

/// Waits for the guest's greeting, the end of its work and QEMU's exit, and returns the time of the work.
async fn watch(child: &mut Child, console: ChildStdout, mut errors: ChildStderr) -> Result<Duration, String> {
    let mut console = BufReader::new(console);
    let mut begun = None;
    let mut work = None;
    while let Ok(byte) = console.read_u8().await {
        match byte {
            b'\n' => begun = Some(Instant::now()),
            DONE => work = begun.map(|begun| begun.elapsed()),
            _ => {}
        }
    }
    let mut log = String::new();
    // Only for the message: an error here does not matter.
    let _ = errors.read_to_string(&mut log).await;
    let status = child.wait().await.map_err(|error| format!("cannot read QEMU's exit status: {error}"))?;
    if let (Some(work), Some(DONE_STATUS)) = (work, status.code()) {
        return Ok(work);
    }
    let first = log.lines().find(|line| !line.trim().is_empty()).unwrap_or("no output");
    Err(format!("QEMU exited with {status} during the micro-boot: {}", first.trim()))
}

/// The run state of a QEMU that hangs, to be appended to a message: if the accelerator cannot run the guest,
/// QEMU stays in `internal-error`.
async fn run_state(qmp: &UnixListener) -> String {
    let query = async {
        let (stream, _): (UnixStream, _) = qmp.accept().await.ok()?;
        let (qmp, _events) = Qmp::connect(stream).await.ok()?;
        qmp.run_state().await.ok()
    };
    match timeout(QUERY_LIMIT, query).await {
        Ok(Some(state)) if state != RunState::Running => format!(" (QEMU is in state `{state}`)"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;

    fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        (directory, path)
    }

    fn tool(name: &str) -> Tool {
        Tool::find(name).expect("installed where tests run")
    }

    #[tokio::test]
    async fn tcg_boots_the_micro_guest() {
        let (_directory, path) = directory();
        let probe = probe(&tool("qemu-system-x86_64"), Accelerator::Tcg, &path).await.expect("files");
        let measured = probe.expect("TCG works everywhere");
        assert!(measured.work > Duration::from_millis(1) && measured.work < measured.total, "{measured:?}");
        println!("{measured:?}");
    }

    #[tokio::test]
    async fn a_program_that_is_not_qemu_is_reported() {
        let (_directory, path) = directory();
        let probe = probe(&tool("false"), Accelerator::Tcg, &path).await.expect("files");
        let reason = probe.expect_err("not QEMU");
        assert!(reason.contains("exit status: 1"), "{reason}");
    }
}
