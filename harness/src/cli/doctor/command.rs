// SPDX-License-Identifier: Apache-2.0
use clap::Args;
use loadgauge_host::Hint as _;
use loadgauge_host::Store;
use loadgauge_host::error::on_lines;
use serde::Serialize;

use super::finding::{Finding, State, table};
use super::{host, tools};
use crate::cli::format_choice::FormatChoice;
use crate::cli::{Exit, Failure, built_images, runtime};
use crate::machine::{AccelChoice, Acceleration, AccelerationError, Accelerator, open_device, prove};

/// Arguments of `loadgauge doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    format: FormatChoice,
}

/// All findings as `--format json` prints them.
#[derive(Debug, Serialize)]
struct Report<'a> {
    /// whether machines can run on this host
    ok: bool,
    /// the accelerator that they would use
    acceleration: Option<&'a Acceleration>,
    findings: &'a [Finding],
}

/// Checks this host.
pub(crate) fn run(arguments: &DoctorArguments) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let mut findings = tools::findings();
    let acceleration = runtime::start()?.block_on(prove(AccelChoice::Auto, &store));
    findings.extend([accelerator(&acceleration), kvm_device()]);
    findings.extend(host::findings(&store));
    findings.push(image(&store));
    let ok = findings.iter().all(|finding| finding.state != State::Missing);
    let report = Report { ok, acceleration: acceleration.as_ref().ok(), findings: &findings };
    arguments.format.print(&report, || table(&findings))?;
    Ok(if ok { Exit::Passed } else { Exit::Host })
}

fn accelerator(acceleration: &Result<Acceleration, AccelerationError>) -> Finding {
    let name = "acceleration";
    match acceleration {
        Ok(Acceleration { accelerator: Accelerator::Kvm, reason, .. }) => {
            Finding::good(name, format!("KVM: {reason}"))
        }
        Ok(Acceleration { accelerator: Accelerator::Tcg, factor, reason }) => {
            Finding::good(name, format!("TCG, time-outs x{factor:.0}: {reason}"))
                .with_note("machines work, about ten times slower than with KVM")
        }
        Err(error) => Finding::missing(name, on_lines(error), error.hint()),
    }
}

/// The device of KVM, which explains why TCG was chosen.
fn kvm_device() -> Finding {
    let name = "/dev/kvm";
    match open_device() {
        Ok(()) => Finding::good(name, "can be opened for reading and writing"),
        Err(reason) => {
            let denied = reason.contains("ermission denied");
            let hint = AccelerationError::Kvm { reason: reason.clone() }.hint().filter(|_| denied);
            let other = "for a virtual machine, enable nested virtualisation on its host; for a container, \
                         add --device=/dev/kvm";
            Finding::good(name, reason).with_note(hint.as_deref().unwrap_or(other))
        }
    }
}

fn image(store: &Store) -> Finding {
    match built_images::last(store) {
        Some(image) => Finding::good("image", image.to_string()),
        None => {
            Finding::good("image", "none was built on this host yet").with_note(built_images::HOW_TO_GET_ONE)
        }
    }
}
