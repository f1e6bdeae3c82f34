// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Store;
use tokio::runtime::Runtime;

use super::arguments::RunArguments;
use super::context::Context;
use super::keep::{self, Parent};
use super::report::report_failure;
use super::schedule::ScheduleArguments;
use super::start::StartArguments;
use super::{Exit, Failure, compare_warm_cold};
use crate::machine::{Decision, MachineStarter, Supervisor};
use crate::report::{EVENTS, TerminalOptions, consume, standard};
use crate::runner::{
    self, Assigned, Events, Interrupt, KeepPolicy, Machines, Question, RetainedMachines, Run, RunDirectory,
    Timings, Verdict,
};
use crate::scenario::{Plan, PlannedMachine};

/// `loadgauge run`. Machines that shall outlive the run need a process that does: then the run is done
/// by another, whose end is not waited for.
pub(super) fn run(arguments: &RunArguments) -> Result<Exit, Failure> {
    match arguments.schedule.keep {
        KeepPolicy::Never => run_here(arguments, None),
        KeepPolicy::OnFailure | KeepPolicy::Always => keep::run_in_keeper(),
    }
}

/// Does the run in this process. Where it has a parent, machines may be left running, for as long as
/// which it does not return.
pub(super) fn run_here(arguments: &RunArguments, parent: Option<&Parent>) -> Result<Exit, Failure> {
    let (context, scenarios) = Context::with_scenarios(&arguments.selection, &arguments.image)?;
    let runtime = runtime()?;
    let acceleration = runtime.block_on(context.prove(arguments.machine.accel))?;
    let plan = context.plan(scenarios, &acceleration, arguments.machine.firmware)?;
    let course = RunOptions {
        output: arguments.output.as_deref(),
        start: &arguments.start,
        schedule: &arguments.schedule,
        verify_warm: arguments.verify_warm,
    };
    carry_out(runtime, &context, plan, &course, parent)
}

/// How a plan is carried out.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunOptions<'a> {
    /// where the files go; a directory of its own when not given
    pub(super) output: Option<&'a Utf8Path>,
    /// how machines start
    pub(super) start: &'a StartArguments,
    /// in which order, how often
    pub(super) schedule: &'a ScheduleArguments,
    /// whether what starts warm is run cold as well, and compared
    pub(super) verify_warm: bool,
}

/// Runs a plan in this process, to its end.
pub(super) fn carry_out(
    runtime: Runtime,
    context: &Context,
    plan: Plan,
    course: &RunOptions<'_>,
    parent: Option<&Parent>,
) -> Result<Exit, Failure> {
    let starter = course.start.starter(&context.store, &plan.image, &plan.acceleration);
    let decisions = course.start.decide(&starter, &plan, course.schedule.repeat.get());
    let (plan, decisions) =
        if course.verify_warm { compare_warm_cold::doubled(plan, decisions)? } else { (plan, decisions) };
    let directory = RunDirectory::create(course.output)?;
    let timings = Timings::of(&context.store, plan.acceleration.accelerator);
    let run = course.schedule.apply(Run::of_plan(&plan, &directory, course.schedule.repeat)?, &timings);
    let starts = (starter, decisions);
    let executed = execute(&plan, starts, run, &directory, timings, &context.store, parent);
    let (mut exit, kept) = runtime.block_on(executed)?;
    if course.verify_warm {
        exit = compare_warm_cold::judge(exit, &directory.path().join(EVENTS))?;
    }
    if let (Some(parent), Some((kept, supervisor))) = (parent, kept) {
        parent.leave(exit)?;
        runtime.block_on(keep::hold(&kept, &supervisor));
    }
    // A worker that still waits for a guest's answer is no reason to stay.
    runtime.shutdown_background();
    Ok(exit)
}

/// Runs a plan: the machines, the reports, and whoever interrupts them.
async fn execute(
    plan: &Plan,
    (starter, decisions): (MachineStarter, Vec<Vec<Decision>>),
    run: Run<Question>,
    directory: &RunDirectory,
    timings: Timings,
    store: &Store,
    parent: Option<&Parent>,
) -> Result<(Exit, Option<(Arc<RetainedMachines>, Supervisor)>), Failure> {
    let supervisor = Supervisor::new()?;
    // Nothing is to be killed by hand: the kernel ends every QEMU with this process.
    let interrupt = Interrupt::listen(|| ()).map_err(|error| Failure::new(Exit::Internal, &error, None))?;
    let plans = plan.scenarios.iter().zip(decisions).map(|(planned, decisions)| {
        let assign = |(machine, decision): (&PlannedMachine, Decision)| Assigned {
            name: machine.name.clone(),
            plan: machine.plan.clone(),
            decision,
        };
        (planned.scenario.name.clone(), planned.machines.iter().zip(decisions).map(assign).collect())
    });
    let mut machines = Machines::new(plans, starter, own_program()?, supervisor.clone());
    let kept = parent.map(|_| RetainedMachines::listen(store, &supervisor)).transpose()?;
    if let Some(kept) = &kept {
        machines = machines.keeping(Arc::clone(kept));
    }
    let terminal = TerminalOptions::of_stderr();
    let reports = standard(directory.path(), timings, terminal)?;
    let flaky = run.flaky;

    let (events, receiver) = Events::channel();
    let reporting = tokio::spawn(consume(receiver, reports));
    let tally = runner::run(run, Arc::new(machines), events, interrupt.token()).await;
    let kept = kept.filter(|kept| !kept.is_empty() && !tally.interrupted);
    if kept.is_none() {
        supervisor.stop_all().await;
    }
    let reported = reporting.await.map_err(|error| Failure::new(Exit::Internal, &error, None))?;
    let broken = reported.is_err();
    if let Err(errors) = reported {
        report_failure(errors).print();
    }
    let exit = Verdict::of(tally.counts, tally.interrupted, broken, flaky).into();
    Ok((exit, kept.map(|kept| (kept, supervisor))))
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
