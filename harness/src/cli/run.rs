// SPDX-License-Identifier: Apache-2.0
use std::num::NonZeroUsize;
use std::sync::Arc;

use camino::Utf8PathBuf;
use tokio::runtime::Runtime;

use super::arguments::RunArguments;
use super::report::report_failure;
use super::workshop::Workshop;
use super::{Exit, Failure};
use crate::machine::{Foundry, MachineSpec, Supervisor};
use crate::report::{TerminalOptions, consume, standard};
use crate::runner::{
    self, Capacity, Events, FlakyPolicy, Interrupt, Machines, Question, Run, RunDirectory, Verdict,
};
use crate::scenario::Plan;

/// `loadgauge run`
pub(super) fn run(arguments: &RunArguments) -> Result<Exit, Failure> {
    let (workshop, scenarios) = Workshop::with_scenarios(&arguments.selection, &arguments.image)?;
    let runtime = runtime()?;
    let acceleration = runtime.block_on(workshop.prove(arguments.machine.accel))?;
    let plan = workshop.plan(scenarios, &acceleration)?;
    let directory = RunDirectory::create(arguments.output.as_deref())?;
    let foundry = arguments.start.foundry(&workshop.store, &acceleration);
    let exit = runtime.block_on(execute(&plan, &directory, foundry, arguments));
    // A worker that still waits for a guest's answer is no reason to stay.
    runtime.shutdown_background();
    exit
}

/// Runs a plan: the machines, the reports, and whoever interrupts them.
async fn execute(
    plan: &Plan,
    directory: &RunDirectory,
    foundry: Foundry,
    arguments: &RunArguments,
) -> Result<Exit, Failure> {
    let supervisor = Supervisor::new()?;
    // Nothing is to be killed by hand: the kernel ends every QEMU with this process.
    let interrupt = Interrupt::listen(|| ()).map_err(|error| Failure::new(Exit::Internal, &error, None))?;
    let run = assemble(plan, directory, arguments)?;
    let decisions = arguments.start.decide(&foundry, plan);
    let plans = plan.scenarios.iter().map(|planned| planned.machine.clone()).zip(decisions);
    let machines = Arc::new(Machines::new(plans, foundry, own_program()?, supervisor.clone()));
    let reports = standard(&directory.events(), &directory.junit(), TerminalOptions::of_stderr())?;

    let (events, receiver) = Events::channel();
    let reporting = tokio::spawn(consume(receiver, reports));
    let tally = runner::run(run, machines, events, interrupt.token()).await;
    supervisor.stop_all().await;
    let reported = reporting.await.map_err(|error| Failure::new(Exit::Internal, &error, None))?;
    let broken = reported.is_err();
    if let Err(errors) = reported {
        report_failure(errors).print();
    }
    Ok(Verdict::of(tally.counts, tally.interrupted, broken, FlakyPolicy::default()).into())
}

/// What the runner is given for a plan.
fn assemble(
    plan: &Plan,
    directory: &RunDirectory,
    arguments: &RunArguments,
) -> Result<Run<Question>, Failure> {
    let specs: Vec<MachineSpec> = plan.scenarios.iter().map(|planned| planned.machine.spec.clone()).collect();
    let by_host = || runner::default_jobs(Capacity::of_host(), &specs, plan.acceleration.accelerator);
    let run = Run::of_plan(plan, directory)?;
    Ok(Run {
        machines: arguments.jobs.map_or_else(by_host, NonZeroUsize::get),
        fail_fast: arguments.fail_fast,
        ..run
    })
}

/// The runtime that machines live in.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    Runtime::new().map_err(|error| Failure::new(Exit::Internal, &error, None))
}

/// This program, which QEMU starts again for each connection of a guest to the harness.
pub(super) fn own_program() -> Result<Utf8PathBuf, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(Exit::Internal, error, None);
    let path = std::env::current_exe().map_err(|error| failed(&error))?;
    Utf8PathBuf::try_from(path).map_err(|error| failed(&error))
}
