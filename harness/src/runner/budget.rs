// SPDX-License-Identifier: Apache-2.0
use std::iter::Sum;
use std::num::NonZeroUsize;

use super::Capacity;
use crate::machine::{Accelerator, MachineSpec};

/// Memory that is reserved for the host, in MiB.
const RESERVE: u64 = 1024;
/// Memory of QEMU beside the guest's, in MiB, with TCG's translated code.
const OVERHEAD: u64 = 512;

/// The resources of the host that the machines of a scenario need while they run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// processors
    pub cpus: usize,
    /// memory in MiB, with QEMU's own
    pub memory_mib: u64,
}

impl Needs {
    /// The needs of a machine, which counts as if it used all of its memory.
    ///
    /// Under TCG a guest that boots keeps about one processor of the host busy, whatever its number of
    /// virtual processors; under KVM the virtual processors count.
    pub fn of(spec: &MachineSpec, accelerator: Accelerator) -> Self {
        let cpus = match accelerator {
            Accelerator::Tcg => 1,
            Accelerator::Kvm => usize::try_from(spec.processors(accelerator)).unwrap_or(usize::MAX),
        };
        Self { cpus, memory_mib: u64::from(spec.memory_mib) + OVERHEAD }
    }
}

impl Sum for Needs {
    /// The needs of several machines together.
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            cpus: sum.cpus.saturating_add(one.cpus),
            memory_mib: sum.memory_mib.saturating_add(one.memory_mib),
        })
    }
}

/// The resources that all machines of a run may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// most scenarios at a time
    pub machines: usize,
    /// processors
    pub cpus: usize,
    /// memory in MiB
    pub memory_mib: u64,
}

/// The part of a budget that is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct InUse {
    machines: usize,
    cpus: usize,
    memory_mib: u64,
}

impl Budget {
    /// The budget of a host.
    ///
    /// Under KVM a boot waits for its disk half of the time, so the processors count twice. A number of
    /// jobs replaces the limit of processors, since too many machines are only slower, but not the limit
    /// of memory, since machines without memory die.
    pub fn of(capacity: Capacity, accelerator: Accelerator, jobs: Option<NonZeroUsize>) -> Self {
        let by_host = match accelerator {
            Accelerator::Tcg => capacity.cpus,
            Accelerator::Kvm => capacity.cpus.saturating_mul(2),
        };
        Self {
            machines: jobs.map_or(usize::MAX, NonZeroUsize::get),
            cpus: if jobs.is_some() { usize::MAX } else { by_host },
            memory_mib: capacity.memory_mib.saturating_sub(RESERVE),
        }
    }

    /// The most of these scenarios that can run at a time; at least one.
    pub fn at_most(&self, needs: &[Needs]) -> usize {
        let cpus = needs.iter().map(|needs| needs.cpus as u64);
        let memory = needs.iter().map(|needs| needs.memory_mib);
        let by_cpus = how_many(cpus.collect(), self.cpus as u64);
        let by_memory = how_many(memory.collect(), self.memory_mib);
        self.machines.min(by_cpus).min(by_memory).max(1)
    }

    /// The most machines that can be left running while the largest scenario still has room; at least
    /// one.
    pub fn keepable(&self, needs: &[Needs]) -> usize {
        let largest = needs.iter().map(|needs| needs.memory_mib).max().unwrap_or(0).max(1);
        usize::try_from((self.memory_mib / largest).saturating_sub(1)).unwrap_or(usize::MAX).max(1)
    }

    /// Whether there is room for one more scenario. If none runs there is always room, since waiting
    /// would not help.
    pub(super) fn has_room(&self, in_use: InUse, needs: Needs) -> bool {
        in_use.machines == 0
            || (in_use.machines < self.machines
                && in_use.cpus.saturating_add(needs.cpus) <= self.cpus
                && in_use.memory_mib.saturating_add(needs.memory_mib) <= self.memory_mib)
    }
}

/// How many of the smallest sizes fit.
fn how_many(mut sizes: Vec<u64>, budget: u64) -> usize {
    sizes.sort_unstable();
    let mut sum = 0u64;
    sizes
        .iter()
        .take_while(|size| {
            sum = sum.saturating_add(**size);
            sum <= budget
        })
        .count()
}

impl InUse {
    pub(super) fn add(&mut self, needs: Needs) {
        self.machines += 1;
        self.cpus = self.cpus.saturating_add(needs.cpus);
        self.memory_mib = self.memory_mib.saturating_add(needs.memory_mib);
    }

    /// Releases the resources of a scenario, except for the memory of machines that were kept.
    pub(super) fn release(&mut self, needs: Needs, kept: usize) {
        self.machines -= 1;
        self.cpus = self.cpus.saturating_sub(needs.cpus);
        let memory = needs.memory_mib.saturating_mul(kept as u64);
        self.memory_mib = self.memory_mib.saturating_sub(needs.memory_mib).saturating_add(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_most(cpus: usize, memory_mib: u64, count: usize, accelerator: Accelerator) -> usize {
        let spec = MachineSpec { memory_mib: 1536, cpus: Some(2), ..MachineSpec::default() };
        let needs = vec![Needs::of(&spec, accelerator); count];
        Budget::of(Capacity { cpus, memory_mib }, accelerator, None).at_most(&needs)
    }

    #[test]
    fn the_scarcer_of_processors_and_memory_decides() {
        assert_eq!(at_most(2, 24_000, 9, Accelerator::Tcg), 2);
        assert_eq!(at_most(8, 24_000, 9, Accelerator::Kvm), 8);
        assert_eq!(at_most(8, 1024 + 3 * 2048, 9, Accelerator::Tcg), 3, "memory for three");
        assert_eq!(at_most(8, 24_000, 2, Accelerator::Tcg), 2, "no more than there are scenarios");
    }

    #[test]
    fn there_is_always_one() {
        assert_eq!(at_most(1, 0, 0, Accelerator::Kvm), 1);
        let budget = Budget { machines: 1, cpus: 0, memory_mib: 0 };
        assert!(budget.has_room(InUse::default(), Needs { cpus: 64, memory_mib: 1 << 20 }));
        assert_eq!(budget.keepable(&[Needs { cpus: 1, memory_mib: 2048 }]), 1);
    }

    #[test]
    fn a_number_of_jobs_replaces_the_limit_of_processors_and_not_of_memory() {
        let capacity = Capacity { cpus: 2, memory_mib: RESERVE + 3000 };
        let budget = Budget::of(capacity, Accelerator::Tcg, NonZeroUsize::new(8));
        let small = Needs { cpus: 1, memory_mib: 600 };
        assert_eq!(budget.at_most(&[small; 10]), 5);
        assert_eq!(budget.at_most(&[Needs { cpus: 1, memory_mib: 100 }; 10]), 8);
    }

    #[test]
    fn the_needs_of_machines_add_up() {
        let one = Needs { cpus: 1, memory_mib: 1536 };
        assert_eq!([one, one].into_iter().sum::<Needs>(), Needs { cpus: 2, memory_mib: 3072 });
    }

    #[test]
    fn a_machine_that_is_kept_keeps_its_memory() {
        let budget = Budget { machines: 4, cpus: 4, memory_mib: 3000 };
        let needs = Needs { cpus: 1, memory_mib: 1500 };
        let mut in_use = InUse::default();
        in_use.add(needs);
        in_use.add(needs);
        in_use.release(needs, 1);
        assert!(!budget.has_room(in_use, needs));
        in_use.release(needs, 0);
        assert!(budget.has_room(in_use, needs));
    }
}
