// SPDX-License-Identifier: Apache-2.0
//! The micro-boot: a guest of 512 bytes that shows whether an accelerator works, and how fast.
use std::process::Stdio;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use loadgauge_images::Architecture;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

use super::acceleration::Accelerator;
use super::arguments::{accelerator, processor};
use super::micro_boot::{DONE, DONE_STATUS, EXIT_PORT, Then, boot_disk};
use super::process;
use super::qmp::Qmp;
use crate::machine::directory::{FileError, at, bind};

/// After which a micro-boot counts as failed. By TCG, and by a KVM that works, it takes a quarter of a
/// second; where /dev/kvm is not what it seems, the firmware alone has taken 11 to 16 s.
pub(crate) const LIMIT: Duration = Duration::from_secs(3);
/// The same for TCG, which is always possible: only a host that is very busy takes as long.
const PATIENT_LIMIT: Duration = Duration::from_secs(30);
/// How often the guest's loop is run: about 0.1 s by TCG, a few hundredths natively.
pub(crate) const LOOPS: u32 = 20_000_000;
/// What the guest prints first.
const GREETING: &str = "loadgauge micro-boot\n";
/// The longest answer of QEMU to `query-status` that is waited for.
const ASK: Duration = Duration::from_millis(500);

/// What a micro-boot took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// from the start of QEMU to its end
    pub total: Duration,
    /// the guest's loop alone
    pub work: Duration,
}

/// What came of a micro-boot: how long it took, or in words why it did not end as it should.
pub type Probe = Result<Measurement, String>;

/// Boots the micro-guest with an accelerator.
///
/// # Errors
/// The files for it cannot be made. That the accelerator does not work is no error but a result.
pub(crate) async fn probe(
    qemu: &Utf8Path,
    which: Accelerator,
    directory: &Utf8Path,
) -> Result<Probe, FileError> {
    let disk = directory.join("disk");
    boot_disk(&disk, GREETING, Then::Work(LOOPS)).map_err(at("write", &disk))?;
    let socket = directory.join("qmp");
    let listener = bind(&socket)?;
    let result = boot(qemu, which, &disk, &socket, listener).await;
    std::fs::remove_file(&socket).map_err(at("remove", &socket))?;
    Ok(result)
}

async fn boot(
    qemu: &Utf8Path,
    which: Accelerator,
    disk: &Utf8Path,
    socket: &Utf8Path,
    monitor: UnixListener,
) -> Probe {
    let begun = Instant::now();
    let mut command = Command::new(qemu);
    command.args(arguments(which, disk, socket));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        process::spawn(command).await.map_err(|error| format!("`{qemu}` cannot be run: {error}"))?;
    let (Some(console), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("QEMU has no output".to_owned());
    };
    let limit = if which == Accelerator::Kvm { LIMIT } else { PATIENT_LIMIT };
    let watched = timeout(limit, watch(&mut child, console, errors)).await;
    let result = match watched {
        Ok(result) => result.map(|work| Measurement { total: begun.elapsed(), work }),
        Err(_) => {
            Err(format!("the micro-boot took more than {} s{}", limit.as_secs(), state(&monitor).await))
        }
    };
    let _ = child.kill().await;
    result
}

/// The arguments of a micro-boot: as those of a machine, as far as they matter to an accelerator.
fn arguments(which: Accelerator, disk: &Utf8Path, monitor: &Utf8Path) -> Vec<String> {
    let value = |path: &Utf8Path| path.as_str().replace(',', ",,");
    let pairs = [
        ("-machine", "q35".to_owned()),
        ("-accel", accelerator(which).to_owned()),
        ("-cpu", processor(Architecture::Amd64, which).to_owned()),
        ("-m", "64M".to_owned()),
        ("-display", "none".to_owned()),
        ("-chardev", "stdio,id=console,signal=off".to_owned()),
        ("-serial", "chardev:console".to_owned()),
        ("-chardev", format!("socket,id=qmp,path={}", value(monitor))),
        ("-mon", "chardev=qmp,mode=control".to_owned()),
        ("-drive", format!("if=none,id=disk,format=raw,readonly=on,file={}", value(disk))),
        ("-device", "virtio-blk-pci,drive=disk,bootindex=1".to_owned()),
        ("-device", format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1")),
    ];
    let flags = ["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned);
    pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).chain(flags).collect()
}

/// Follows the guest through its greeting and its work to the end of QEMU, and gives the time of the
/// work.
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
    let mut words = String::new();
    // What it printed is told if it can be read, and is not missed otherwise.
    let _ = errors.read_to_string(&mut words).await;
    let status = child.wait().await.map_err(|error| format!("QEMU's status cannot be had: {error}"))?;
    if let (Some(work), Some(DONE_STATUS)) = (work, status.code()) {
        return Ok(work);
    }
    let first = words.lines().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(format!("QEMU ended with {status} before the micro-boot was done: {}", first.trim()))
}

/// The state in which QEMU hangs, as words to be added to a reason: a guest that the accelerator cannot
/// run leaves QEMU alive in `internal-error`.
async fn state(monitor: &UnixListener) -> String {
    let ask = async {
        let (stream, _): (UnixStream, _) = monitor.accept().await.ok()?;
        let (qmp, _events) = Qmp::connect(stream).await.ok()?;
        qmp.status().await.ok()
    };
    match timeout(ASK, ask).await {
        Ok(Some(state)) if state != "running" => format!(" (QEMU is in state `{state}`)"),
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

    #[tokio::test]
    async fn tcg_boots_it() {
        let (_directory, path) = directory();
        let probe = probe("qemu-system-x86_64".into(), Accelerator::Tcg, &path).await.expect("files");
        let measured = probe.expect("TCG works everywhere");
        assert!(measured.work > Duration::from_millis(1) && measured.work < measured.total, "{measured:?}");
        println!("{measured:?}");
    }

    #[tokio::test]
    async fn a_program_that_is_no_qemu_is_told() {
        let (_directory, path) = directory();
        let probe = probe("false".into(), Accelerator::Tcg, &path).await.expect("files");
        let reason = probe.expect_err("no QEMU");
        assert!(reason.contains("exit status: 1"), "{reason}");
    }
}
