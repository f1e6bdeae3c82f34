// SPDX-License-Identifier: Apache-2.0
//! `loadgauge doctor`: what this host has and lacks, and what to do about it.
mod finding;
mod host;
mod tools;

use clap::Args;
use loadgauge_host::Hint as _;
use loadgauge_host::Store;
use serde::Serialize;

use super::arguments::OutputFormat;
use super::context::last_image;
use super::run::runtime;
use super::{Exit, Failure, output};
use crate::machine::{AccelChoice, Acceleration, AccelerationError, Accelerator, open_device, prove};
use finding::{Finding, State, table};

/// `loadgauge doctor`
#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// How it is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Report<'a> {
    /// whether machines can be run on this host
    ok: bool,
    /// how they would run
    acceleration: Option<&'a Acceleration>,
    findings: &'a [Finding],
}

/// `loadgauge doctor`
pub(super) fn doctor(arguments: &DoctorArguments) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let mut findings = tools::findings();
    let proven = runtime()?.block_on(prove(AccelChoice::Auto, &store));
    findings.extend([accelerator(&proven), device()]);
    findings.extend(host::findings(&store));
    findings.push(image(&store));
    let ok = findings.iter().all(|finding| finding.state != State::Missing);
    match arguments.format {
        OutputFormat::Json => {
            let acceleration = proven.as_ref().ok();
            output::print_json(&Report { ok, acceleration, findings: &findings })?;
        }
        OutputFormat::Text => output::print(&table(&findings))?,
    }
    Ok(if ok { Exit::Passed } else { Exit::Host })
}

fn accelerator(proven: &Result<Acceleration, AccelerationError>) -> Finding {
    let name = "acceleration";
    match proven {
        Ok(Acceleration { accelerator: Accelerator::Kvm, reason, .. }) => {
            Finding::good(name, format!("KVM: {reason}"))
        }
        Ok(Acceleration { accelerator: Accelerator::Tcg, factor, reason }) => {
            let found = format!("TCG, time-outs x {factor:.1}: {reason}");
            Finding::good(name, found).noted("everything works, some ten times slower than with KVM")
        }
        Err(error) => Finding::missing(name, super::failure::chain(error), error.hint()),
    }
}

/// The device by itself: under TCG, what would have to change for KVM.
fn device() -> Finding {
    let name = "/dev/kvm";
    match open_device() {
        Ok(()) => Finding::good(name, "opens for reading and writing"),
        Err(reason) => {
            let denied = reason.contains("ermission denied");
            let hint = AccelerationError::Kvm { reason: reason.clone() }.hint().filter(|_| denied);
            let other = "a virtual machine gets it where its host nests virtualisation; a container, by \
                         --device=/dev/kvm";
            Finding::good(name, reason).noted(hint.as_deref().unwrap_or(other))
        }
    }
}

fn image(store: &Store) -> Finding {
    match last_image(store) {
        Some(image) => Finding::good("image", image.to_string()),
        None => Finding::good("image", "none was made yet")
            .noted("make the stand-in with `loadgauge image build`, or name a Flatcar disk with --image"),
    }
}
