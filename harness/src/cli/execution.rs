// SPDX-License-Identifier: Apache-2.0
//! Executes a plan, for every command that runs scenarios.
use std::sync::Arc;

use camino::Utf8Path;
use loadgauge_host::Store;
use tokio::runtime::Runtime;

use super::context::Context;
use super::parent::{self, Parent};
use super::runtime::{listen_for_interrupts, own_program};
use super::schedule::ScheduleArguments;
use super::{Exit, Failure, compare_warm_cold};
use crate::machine::{MachineStarter, Supervisor};
use crate::report::{EVENTS, TerminalOptions, consume, standard};
use crate::runner::{
    self, Events, GuestOperation, QemuProvider, RetainedMachines, Run, RunDirectory, Timings, Verdict,
};
use crate::scenario::Plan;

/// How a plan is executed.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunOptions<'a> {
    /// directory for the files of the run; a new one where absent
    pub(super) output: Option<&'a Utf8Path>,
    /// order, repetitions and retries
    pub(super) schedule: &'a ScheduleArguments,
    /// whether scenarios that start warm run cold too, to compare the outcomes
    pub(super) verify_warm: bool,
}

/// Executes a plan in this process. With a parent, the machines that are to be kept are left running,
/// and the function returns when the last of them has ended.
pub(super) fn execute(
    runtime: Runtime,
    context: &Context,
    plan: Plan,
    starter: MachineStarter,
    options: &RunOptions<'_>,
    parent: Option<&Parent>,
) -> Result<Exit, Failure> {
    let plan = if options.verify_warm { compare_warm_cold::with_cold_variants(plan)? } else { plan };
    let directory = RunDirectory::create(options.output)?;
    let timings = Timings::of(&context.store, plan.acceleration.accelerator);
    let run = options.schedule.apply(Run::of_plan(&plan, &directory, options.schedule.repeat)?, &timings);
    let executed = run_and_report(&plan, starter, run, &directory, timings, &context.store, parent);
    let (mut exit, kept) = runtime.block_on(executed)?;
    if options.verify_warm {
        exit = compare_warm_cold::judge(exit, &directory.path().join(EVENTS))?;
    }
    if let (Some(parent), Some((kept, supervisor))) = (parent, kept) {
        parent.release(exit)?;
        runtime.block_on(parent::hold(&kept, &supervisor));
    }
    // Blocking threads may still wait for the answer of a guest.
    runtime.shutdown_background();
    Ok(exit)
}

/// Runs the machines of a plan while the reports consume its events.
async fn run_and_report(
    plan: &Plan,
    starter: MachineStarter,
    run: Run<GuestOperation>,
    directory: &RunDirectory,
    timings: Timings,
    store: &Store,
    parent: Option<&Parent>,
) -> Result<(Exit, Option<(Arc<RetainedMachines>, Supervisor)>), Failure> {
    let supervisor = Supervisor::new()?;
    let interrupt = listen_for_interrupts()?;
    let mut machines = QemuProvider::new(plan, starter, own_program()?, supervisor.clone());
    let kept = parent.map(|_| RetainedMachines::listen(store, &supervisor)).transpose()?;
    if let Some(kept) = &kept {
        machines = machines.retaining(Arc::clone(kept));
    }
    let reports = standard(directory.path(), timings, TerminalOptions::of_stderr())?;
    let flaky = run.flaky;

    let (events, receiver) = Events::channel();
    let reporting = tokio::spawn(consume(receiver, reports));
    let result = runner::run(run, Arc::new(machines), events, interrupt.token()).await;
    let kept = kept.filter(|kept| !kept.is_empty() && !result.interrupted);
    if kept.is_none() {
        supervisor.stop_all().await;
    }
    let reported = reporting.await.map_err(Failure::internal)?;
    let reports_broken = reported.is_err();
    if let Some(failure) =
        reported.err().and_then(|errors| Failure::merge(errors.into_iter().map(Failure::from)))
    {
        failure.print();
    }
    let exit = Verdict::of(result.counts, result.interrupted, reports_broken, flaky).into();
    Ok((exit, kept.map(|kept| (kept, supervisor))))
}
