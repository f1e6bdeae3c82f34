// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Entry, Store, StoreError, Vacancy};
use loadgauge_images::Architecture;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::accelerator_probe::{self, Probe};
use super::emulator::{Emulator, EmulatorError};
use super::micro_boot::{Then, boot_sector};
use crate::machine::directory::{FileError, at};
use crate::machine::leftovers::{self, PREFIX};

/// The factor of a host whose TCG does the micro-boot's work in [`REFERENCE`]: tmt gives tests without
/// KVM ten times as long, and a boot of the stand-in image agrees.
const TCG_FACTOR: f64 = 10.0;
/// A slower host gets more, up to this.
const MAX_FACTOR: f64 = 30.0;
/// What the work takes by TCG on a virtual machine of 2 processors of 2023.
const REFERENCE: Duration = Duration::from_millis(100);
/// By how much KVM has to do the work faster than TCG: one that is not does not deserve the name.
const FASTER: f64 = 1.5;
/// Where the kernel offers virtualisation.
const DEVICE: &str = "/dev/kvm";
/// The file within an entry of the store.
const EVIDENCE: &str = "acceleration.json";

/// How QEMU executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// the processor's virtualisation, through /dev/kvm
    Kvm,
    /// QEMU's translator
    Tcg,
}

/// The accelerator that was proven to work, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acceleration {
    /// which one
    pub accelerator: Accelerator,
    /// by how much time-outs, given for KVM, are multiplied: 1 for KVM; for TCG 10 on a host that
    /// translates the micro-boot's work in 0.1 s, in proportion more on a slower one, 30 at most
    pub factor: f64,
    /// why this one, for the report
    pub reason: String,
}

impl Acceleration {
    /// The same for a guest of an architecture. KVM executes the host's own instructions alone, so that
    /// only TCG is left for another's.
    ///
    /// # Errors
    /// KVM was asked for and the guest is not of the host's architecture.
    pub fn for_guest(
        self,
        choice: AccelChoice,
        guest: Architecture,
        host: Option<Architecture>,
    ) -> Result<Self, AccelerationError> {
        if host == Some(guest) {
            return Ok(self);
        }
        let host = host.map_or_else(|| std::env::consts::ARCH.to_owned(), |host| host.to_string());
        let reason = format!("the image is for {guest} and the host is {host}, which KVM does not bridge");
        if choice == AccelChoice::Kvm {
            return Err(AccelerationError::Kvm { reason });
        }
        Ok(Self { accelerator: Accelerator::Tcg, factor: self.factor.max(TCG_FACTOR), reason })
    }
}

/// What the user asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AccelChoice {
    /// KVM where it is proven to work, else TCG
    #[default]
    Auto,
    /// KVM or nothing
    Kvm,
    /// QEMU's translator
    Tcg,
}

/// No accelerator, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AccelerationError {
    /// there is no QEMU
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// KVM was asked for and does not work
    #[error("KVM was asked for and does not work: {reason}")]
    Kvm {
        /// what was tried, and what came of it
        reason: String,
    },
    /// not even TCG boots anything
    #[error("QEMU boots nothing: {reason}")]
    Tcg {
        /// what came of it
        reason: String,
    },
    /// the evidence cannot be kept
    #[error(transparent)]
    Store(#[from] StoreError),
    /// a file of the micro-boot cannot be made
    #[error(transparent)]
    File(#[from] FileError),
}

impl Hint for AccelerationError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Emulator(error) => error.hint(),
            Self::Kvm { reason } if reason.contains("ermission denied") => Some(
                "let everybody use it, after all packages are installed:\n\
                 echo 'KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0666\", OPTIONS+=\"static_node=kvm\"' | \
                 sudo tee /etc/udev/rules.d/99-kvm4all.rules\n\
                 sudo udevadm control --reload-rules && sudo udevadm trigger --name-match=kvm && \
                 sudo udevadm settle"
                    .to_owned(),
            ),
            Self::Kvm { .. } => Some("run without it: --accel auto takes what works".to_owned()),
            Self::Tcg { .. } => {
                Some("reinstall QEMU: sudo apt-get install --reinstall qemu-system-x86".to_owned())
            }
            Self::Store(_) | Self::File(_) => None,
        }
    }
}

/// What is known of the accelerators of a host, kept until it boots again or QEMU changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Evidence {
    tcg: Probe,
    kvm: Probe,
}

/// Finds the accelerator to use by booting something with each, or by what is known from an earlier
/// time.
///
/// # Errors
/// There is no QEMU, it does not work, or KVM was asked for and does not.
pub async fn prove(choice: AccelChoice, store: &Store) -> Result<Acceleration, AccelerationError> {
    let emulator = Emulator::find(Architecture::Amd64)?;
    let device = open_device();
    let key = key(&emulator, &device);
    let evidence = match store.entry("acceleration", &key)? {
        Entry::Ready(path) => match read(&path) {
            // Whoever insists gets another try: the host may only have been busy.
            Some(evidence) if choice != AccelChoice::Kvm || evidence.kvm.is_ok() => evidence,
            _ => measure(&emulator, &device).await?,
        },
        Entry::Vacant(vacancy) => {
            let evidence = measure(&emulator, &device).await?;
            // A QEMU that does not work is no knowledge to keep.
            if evidence.tcg.is_ok() {
                write(vacancy, &evidence)?;
            }
            evidence
        }
    };
    decide(choice, &evidence)
}

/// Why the kernel's device cannot be used, if so. Its mode is not asked: only opening it tells.
///
/// # Errors
/// What the kernel says, in words.
pub fn open_device() -> Result<(), String> {
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("there is no {DEVICE}")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(format!("{DEVICE}: permission denied"))
        }
        Err(error) => Err(format!("{DEVICE}: {error}")),
    }
}

async fn measure(emulator: &Emulator, device: &Result<(), String>) -> Result<Evidence, AccelerationError> {
    let directory = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .map_err(at("create a directory in", std::env::temp_dir().to_string_lossy().as_ref()))?;
    let path = Utf8PathBuf::from(directory.path().to_string_lossy().as_ref());
    let _claim = leftovers::claim(&path).map_err(at("lock", &path))?;
    let tcg = accelerator_probe::probe(emulator.path(), Accelerator::Tcg, &path).await?;
    let kvm = match device {
        Ok(()) => accelerator_probe::probe(emulator.path(), Accelerator::Kvm, &path).await?,
        Err(reason) => Err(reason.clone()),
    };
    tracing::debug!(?tcg, ?kvm, "measured the accelerators");
    Ok(Evidence { tcg, kvm })
}

fn decide(choice: AccelChoice, evidence: &Evidence) -> Result<Acceleration, AccelerationError> {
    let tcg = match &evidence.tcg {
        Ok(measured) => measured,
        Err(reason) => return Err(AccelerationError::Tcg { reason: reason.clone() }),
    };
    let translator =
        |reason: String| Acceleration { accelerator: Accelerator::Tcg, factor: tcg_factor(tcg.work), reason };
    if choice == AccelChoice::Tcg {
        return Ok(translator("TCG was asked for".to_owned()));
    }
    let rejected = match &evidence.kvm {
        Ok(kvm) if kvm.work.mul_f64(FASTER) <= tcg.work => {
            let reason = format!(
                "KVM was proven: it did the micro-boot's work in {}, TCG in {}",
                seconds(kvm.work),
                seconds(tcg.work)
            );
            return Ok(Acceleration { accelerator: Accelerator::Kvm, factor: 1.0, reason });
        }
        Ok(kvm) => format!(
            "the micro-boot's work took {}, no faster than TCG's {}",
            seconds(kvm.work),
            seconds(tcg.work)
        ),
        Err(reason) => reason.clone(),
    };
    if choice == AccelChoice::Kvm {
        return Err(AccelerationError::Kvm { reason: rejected });
    }
    let tried = if rejected.contains(DEVICE) { "KVM cannot be used" } else { "KVM was tried and rejected" };
    Ok(translator(format!("{tried}: {rejected}; TCG took {}", seconds(tcg.total))))
}

fn tcg_factor(work: Duration) -> f64 {
    (TCG_FACTOR * work.as_secs_f64() / REFERENCE.as_secs_f64()).clamp(TCG_FACTOR, MAX_FACTOR).round()
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// What the evidence depends on: this boot of the host, its processor, its device, QEMU, and the
/// micro-boot itself.
fn key(emulator: &Emulator, device: &Result<(), String>) -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find(|line| line.starts_with("model name")).unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [&boot, model, &format!("{device:?}"), &emulator.identity()] {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(boot_sector("", Then::Work(accelerator_probe::LOOPS)));
    hash.update(accelerator_probe::LIMIT.as_millis().to_le_bytes());
    hex::encode(hash.finalize())
}

fn read(directory: &Utf8Path) -> Option<Evidence> {
    let text = std::fs::read_to_string(directory.join(EVIDENCE)).ok()?;
    serde_json::from_str(&text).ok()
}

fn write(vacancy: Vacancy, evidence: &Evidence) -> Result<(), AccelerationError> {
    let path = vacancy.directory().join(EVIDENCE);
    let text = serde_json::to_string_pretty(evidence).map_err(io::Error::from).map_err(at("write", &path))?;
    std::fs::write(&path, text).map_err(at("write", &path))?;
    vacancy.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::qemu::accelerator_probe::Measurement;

    fn took(total: u64, work: u64) -> Measurement {
        Measurement { total: Duration::from_millis(total), work: Duration::from_millis(work) }
    }

    fn evidence(kvm: Probe) -> Evidence {
        Evidence { tcg: Ok(took(250, 100)), kvm }
    }

    #[test]
    fn kvm_is_taken_where_it_is_faster() {
        let found = decide(AccelChoice::Auto, &evidence(Ok(took(200, 20)))).expect("KVM");
        assert_eq!((found.accelerator, found.factor.to_string().as_str()), (Accelerator::Kvm, "1"));
        assert_eq!(found.reason, "KVM was proven: it did the micro-boot's work in 0.02 s, TCG in 0.10 s");
    }

    #[test]
    fn kvm_is_rejected_where_it_is_not() {
        let late = || evidence(Err("the micro-boot took more than 3 s".into()));
        let found = decide(AccelChoice::Auto, &late()).expect("TCG");
        assert_eq!((found.accelerator, found.factor.to_string().as_str()), (Accelerator::Tcg, "10"));
        assert_eq!(
            found.reason,
            "KVM was tried and rejected: the micro-boot took more than 3 s; TCG took 0.25 s"
        );
        let error = decide(AccelChoice::Kvm, &late()).expect_err("it was asked for");
        assert_eq!(
            error.to_string(),
            "KVM was asked for and does not work: the micro-boot took more than 3 s"
        );
        assert_eq!(
            decide(AccelChoice::Auto, &evidence(Ok(took(250, 90)))).expect("TCG").accelerator,
            Accelerator::Tcg
        );
    }

    #[test]
    fn a_device_without_permission_has_a_way_out() {
        let error = decide(AccelChoice::Kvm, &evidence(Err("/dev/kvm: permission denied".into())));
        assert!(error.expect_err("it was asked for").hint().expect("a hint").contains("99-kvm4all.rules"));
    }

    #[test]
    fn a_slow_host_gets_more_time_within_bounds() {
        let factor = |work| format!("{}", tcg_factor(Duration::from_millis(work)));
        assert_eq!([10, 100, 150, 10_000].map(factor), ["10", "10", "15", "30"]);
    }

    #[test]
    fn only_tcg_executes_another_architectures_guest() {
        use Architecture::{Amd64, Arm64};
        let kvm = || Acceleration { accelerator: Accelerator::Kvm, factor: 1.0, reason: "proven".into() };
        let own = kvm().for_guest(AccelChoice::Auto, Amd64, Some(Amd64)).expect("the host's own");
        assert_eq!(own, kvm());
        let other = kvm().for_guest(AccelChoice::Auto, Arm64, Some(Amd64)).expect("by TCG");
        assert_eq!((other.accelerator, format!("{}", other.factor)), (Accelerator::Tcg, "10".to_owned()));
        assert!(other.reason.contains("for arm64 and the host is amd64"), "{}", other.reason);
        kvm().for_guest(AccelChoice::Kvm, Arm64, Some(Amd64)).expect_err("KVM cannot");
        kvm().for_guest(AccelChoice::Kvm, Amd64, None).expect_err("a host of neither kind");
    }

    #[tokio::test]
    async fn what_was_measured_is_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8"));
        prove(AccelChoice::Auto, &store).await.expect("at least TCG");
        let emulator = Emulator::find(Architecture::Amd64).expect("QEMU is installed where tests run");
        let Ok(Entry::Ready(path)) = store.entry("acceleration", &key(&emulator, &open_device())) else {
            panic!("nothing was kept");
        };
        // No measurement says this: who tells it has read it.
        let kept = Evidence { kvm: Err("as it was kept".to_owned()), ..read(&path).expect("evidence") };
        let text = serde_json::to_string(&kept).expect("JSON");
        std::fs::write(path.join(EVIDENCE), text).expect("written");
        let again = prove(AccelChoice::Auto, &store).await.expect("TCG");
        assert!(again.reason.contains("as it was kept"), "{again:?}");
    }
}
