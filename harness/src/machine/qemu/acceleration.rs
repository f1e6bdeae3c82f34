// SPDX-License-Identifier: Apache-2.0
use std::fs::OpenOptions;
use std::io;
use std::time::Duration;

use camino::Utf8Path;
use loadgauge_host::digest::Inputs;
use loadgauge_host::{Entry, FileError, Hint, Scratch, Store, StoreError, Vacancy, fs};
use loadgauge_images::Architecture;
use serde::{Deserialize, Serialize};

use super::accelerator::Accelerator;
use super::accelerator_probe::{self, Probe};
use super::emulator::{Emulator, EmulatorError};
use super::micro_boot::{BootAction, boot_sector};

/// The factor of a host whose TCG does the micro-boot's work in [`REFERENCE`]: tmt multiplies time-outs
/// without KVM by ten, and a boot of the stand-in image agrees.
const TCG_FACTOR: f64 = 10.0;
/// The largest factor, of a slower host.
const MAX_FACTOR: f64 = 30.0;
/// The time of the work with TCG on a virtual machine with 2 processors of 2023.
const REFERENCE: Duration = Duration::from_millis(100);
/// KVM must do the work this many times faster than TCG: nested or emulated virtualisation does not.
const FASTER: f64 = 1.5;
/// The kernel's device for virtualisation.
const DEVICE: &str = "/dev/kvm";
/// The file within an entry of the store.
const FILE: &str = "acceleration.json";

/// The accelerator that was proven to work, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acceleration {
    /// the accelerator
    pub accelerator: Accelerator,
    /// the factor for time-outs, which are given for KVM: 1 for KVM; for TCG 10 on a host that does the
    /// micro-boot's work in 0.1 s, proportionally more on a slower one, and 30 at most
    pub factor: f64,
    /// why this accelerator was chosen
    pub reason: String,
}

impl Acceleration {
    /// The acceleration for guests of an architecture: KVM runs the host's architecture only.
    ///
    /// # Errors
    /// KVM was requested and the guest is not of the host's architecture.
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
        let reason =
            format!("the image is for {guest} and the host is {host}: KVM runs the host's architecture only");
        if choice == AccelChoice::Kvm {
            return Err(AccelerationError::Kvm { reason });
        }
        Ok(Self { accelerator: Accelerator::Tcg, factor: self.factor.max(TCG_FACTOR), reason })
    }
}

/// The value of `--accel`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AccelChoice {
    /// KVM if it is proven to work, else TCG
    #[default]
    Auto,
    /// KVM, or an error
    Kvm,
    /// TCG, QEMU's translator
    Tcg,
}

/// No accelerator works, or not the requested one.
#[derive(Debug, thiserror::Error)]
pub enum AccelerationError {
    /// QEMU is not usable
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// KVM was requested and does not work
    #[error("KVM was requested and does not work: {reason}")]
    Kvm {
        /// the failure
        reason: String,
    },
    /// TCG does not work either
    #[error("QEMU cannot boot a guest: {reason}")]
    Tcg {
        /// the failure
        reason: String,
    },
    /// the store cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
}

impl Hint for AccelerationError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Emulator(error) => error.hint(),
            Self::Kvm { reason } if reason.contains("ermission denied") => Some(
                "give every user access to it, after installing all packages:\n\
                 echo 'KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0666\", OPTIONS+=\"static_node=kvm\"' | \
                 sudo tee /etc/udev/rules.d/99-kvm4all.rules\n\
                 sudo udevadm control --reload-rules && sudo udevadm trigger --name-match=kvm && \
                 sudo udevadm settle"
                    .to_owned(),
            ),
            Self::Kvm { .. } => Some("run without KVM: --accel auto".to_owned()),
            Self::Tcg { .. } => {
                Some("reinstall QEMU: sudo apt-get install --reinstall qemu-system-x86".to_owned())
            }
            Self::Store(error) => error.hint(),
            Self::File(error) => error.hint(),
        }
    }
}

/// The micro-boots of a host, stored until it reboots or QEMU is updated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Measurements {
    tcg: Probe,
    kvm: Probe,
}

/// Finds the accelerator to use by a micro-boot with each, or by stored measurements.
///
/// # Errors
/// QEMU is missing or does not work, or KVM was requested and does not work.
pub async fn prove(choice: AccelChoice, store: &Store) -> Result<Acceleration, AccelerationError> {
    let emulator = Emulator::find(Architecture::Amd64)?;
    let device = open_device();
    let key = key(&emulator, &device);
    let entry = store.entry("acceleration", &key).map_err(|error| {
        tracing::debug!(%error, "cannot store the measurements of the accelerators");
    });
    let measurements = match entry {
        Ok(Entry::Ready(path)) => match read(&path) {
            // If KVM is requested, a failure is not final: the host may only have been busy.
            Some(stored) if choice != AccelChoice::Kvm || stored.kvm.is_ok() => stored,
            _ => measure(&emulator, &device).await?,
        },
        // A cache that cannot be written only costs time.
        Err(()) => measure(&emulator, &device).await?,
        Ok(Entry::Vacant(vacancy)) => {
            let measurements = measure(&emulator, &device).await?;
            if measurements.tcg.is_ok() {
                write(vacancy, &measurements)?;
            }
            measurements
        }
    };
    decide(choice, &measurements)
}

/// Opens /dev/kvm, since its mode does not tell whether it can be opened.
///
/// # Errors
/// The kernel's error, with the device.
pub fn open_device() -> Result<(), String> {
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("{DEVICE} does not exist")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(format!("{DEVICE}: permission denied"))
        }
        Err(error) => Err(format!("{DEVICE}: {error}")),
    }
}

async fn measure(
    emulator: &Emulator,
    device: &Result<(), String>,
) -> Result<Measurements, AccelerationError> {
    let directory = Scratch::new()?;
    let path = directory.path();
    let tcg = accelerator_probe::probe(emulator.tool(), Accelerator::Tcg, path).await?;
    let kvm = match device {
        Ok(()) => accelerator_probe::probe(emulator.tool(), Accelerator::Kvm, path).await?,
        Err(reason) => Err(reason.clone()),
    };
    tracing::debug!(?tcg, ?kvm, "measured the accelerators");
    Ok(Measurements { tcg, kvm })
}

fn decide(choice: AccelChoice, measurements: &Measurements) -> Result<Acceleration, AccelerationError> {
    let tcg = match &measurements.tcg {
        Ok(measured) => measured,
        Err(reason) => return Err(AccelerationError::Tcg { reason: reason.clone() }),
    };
    let by_tcg =
        |reason: String| Acceleration { accelerator: Accelerator::Tcg, factor: tcg_factor(tcg.work), reason };
    if choice == AccelChoice::Tcg {
        return Ok(by_tcg("TCG was requested".to_owned()));
    }
    let rejected = match &measurements.kvm {
        Ok(kvm) if kvm.work.mul_f64(FASTER) <= tcg.work => {
            let reason = format!(
                "KVM works: the micro-boot's work took {}, with TCG {}",
                seconds(kvm.work),
                seconds(tcg.work)
            );
            return Ok(Acceleration { accelerator: Accelerator::Kvm, factor: 1.0, reason });
        }
        Ok(kvm) => format!(
            "the micro-boot's work took {}, not clearly faster than {} with TCG",
            seconds(kvm.work),
            seconds(tcg.work)
        ),
        Err(reason) => reason.clone(),
    };
    if choice == AccelChoice::Kvm {
        return Err(AccelerationError::Kvm { reason: rejected });
    }
    let tried = if rejected.contains(DEVICE) { "KVM cannot be used" } else { "KVM was tried and rejected" };
    Ok(by_tcg(format!("{tried}: {rejected}; TCG took {}", seconds(tcg.total))))
}

fn tcg_factor(work: Duration) -> f64 {
    (TCG_FACTOR * work.as_secs_f64() / REFERENCE.as_secs_f64()).clamp(TCG_FACTOR, MAX_FACTOR).round()
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// The key of the measurements: the host's boot, its processor, its device, QEMU, and the micro-boot.
fn key(emulator: &Emulator, device: &Result<(), String>) -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find(|line| line.starts_with("model name")).unwrap_or_default();
    let mut inputs = Inputs::default();
    inputs.add("boot", fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default());
    inputs.add("processor", model);
    inputs.add("device", format!("{device:?}"));
    inputs.add("emulator", emulator.identity());
    inputs.add("micro-boot", boot_sector("", BootAction::Work(accelerator_probe::LOOPS)));
    inputs.add("limit", accelerator_probe::LIMIT.as_millis().to_le_bytes());
    inputs.finish()
}

fn read(directory: &Utf8Path) -> Option<Measurements> {
    let text = fs::read_to_string(directory.join(FILE)).ok()?;
    serde_json::from_str(&text).ok()
}

fn write(vacancy: Vacancy, measurements: &Measurements) -> Result<(), AccelerationError> {
    let path = vacancy.directory().join(FILE);
    let text = serde_json::to_string_pretty(measurements)
        .map_err(io::Error::from)
        .map_err(FileError::at("write", &path))?;
    fs::write(&path, text)?;
    vacancy.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;
    use crate::machine::qemu::accelerator_probe::Measurement;

    fn took(total: u64, work: u64) -> Measurement {
        Measurement { total: Duration::from_millis(total), work: Duration::from_millis(work) }
    }

    fn measurements(kvm: Probe) -> Measurements {
        Measurements { tcg: Ok(took(250, 100)), kvm }
    }

    #[test]
    fn kvm_is_used_if_it_is_faster() {
        let found = decide(AccelChoice::Auto, &measurements(Ok(took(200, 20)))).expect("KVM");
        assert_eq!((found.accelerator, found.factor.to_string().as_str()), (Accelerator::Kvm, "1"));
        assert_eq!(found.reason, "KVM works: the micro-boot's work took 0.02 s, with TCG 0.10 s");
    }

    #[test]
    fn kvm_is_rejected_if_it_is_not_faster() {
        let late = || measurements(Err("the micro-boot took more than 3 s".into()));
        let found = decide(AccelChoice::Auto, &late()).expect("TCG");
        assert_eq!((found.accelerator, found.factor.to_string().as_str()), (Accelerator::Tcg, "10"));
        assert_eq!(
            found.reason,
            "KVM was tried and rejected: the micro-boot took more than 3 s; TCG took 0.25 s"
        );
        let error = decide(AccelChoice::Kvm, &late()).expect_err("it was requested");
        assert_eq!(
            error.to_string(),
            "KVM was requested and does not work: the micro-boot took more than 3 s"
        );
        assert_eq!(
            decide(AccelChoice::Auto, &measurements(Ok(took(250, 90)))).expect("TCG").accelerator,
            Accelerator::Tcg
        );
    }

    #[test]
    fn a_device_without_permission_has_a_hint() {
        let error = decide(AccelChoice::Kvm, &measurements(Err("/dev/kvm: permission denied".into())));
        assert!(error.expect_err("it was requested").hint().expect("a hint").contains("99-kvm4all.rules"));
    }

    #[test]
    fn a_slow_host_gets_more_time_within_bounds() {
        let factor = |work| format!("{}", tcg_factor(Duration::from_millis(work)));
        assert_eq!([10, 100, 150, 10_000].map(factor), ["10", "10", "15", "30"]);
    }

    #[test]
    fn only_tcg_runs_guests_of_another_architecture() {
        use Architecture::{Amd64, Arm64};
        let kvm = || Acceleration { accelerator: Accelerator::Kvm, factor: 1.0, reason: "works".into() };
        let own = kvm().for_guest(AccelChoice::Auto, Amd64, Some(Amd64)).expect("the host's own");
        assert_eq!(own, kvm());
        let other = kvm().for_guest(AccelChoice::Auto, Arm64, Some(Amd64)).expect("with TCG");
        assert_eq!((other.accelerator, format!("{}", other.factor)), (Accelerator::Tcg, "10".to_owned()));
        assert!(other.reason.contains("for arm64 and the host is amd64"), "{}", other.reason);
        kvm().for_guest(AccelChoice::Kvm, Arm64, Some(Amd64)).expect_err("KVM cannot");
        kvm().for_guest(AccelChoice::Kvm, Amd64, None).expect_err("a host of neither kind");
    }

    #[tokio::test]
    async fn measurements_are_stored() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8"));
        prove(AccelChoice::Auto, &store).await.expect("at least TCG");
        let emulator = Emulator::find(Architecture::Amd64).expect("QEMU is installed where tests run");
        let Ok(Entry::Ready(path)) = store.entry("acceleration", &key(&emulator, &open_device())) else {
            panic!("nothing was stored");
        };
        // A text that only the store contains.
        let stored = Measurements { kvm: Err("from the store".to_owned()), ..read(&path).expect("stored") };
        let text = serde_json::to_string(&stored).expect("JSON");
        std::fs::write(path.join(FILE), text).expect("written");
        let again = prove(AccelChoice::Auto, &store).await.expect("TCG");
        assert!(again.reason.contains("from the store"), "{again:?}");
    }
}
