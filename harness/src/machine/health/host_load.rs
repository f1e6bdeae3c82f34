// SPDX-License-Identifier: Apache-2.0
//! How much processor time the host withholds from a machine.
//!
//! Time-outs are for a guest that runs whenever it can. The kernel counts for each thread how long it waited
//! for a processor (`schedstat` in the kernel's `Documentation/scheduler/sched-stats.rst`). On a host with too
//! many machines that is most of the time: the guest then gets more time, and if that is not enough, the
//! host is the cause and not the guest.
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use loadgauge_host::fs;
use tokio::time::{Instant, sleep};

/// The interval of measurements during a wait.
const INTERVAL: Duration = Duration::from_secs(1);
/// The shortest sleep of a wait.
const SHORTEST: Duration = Duration::from_millis(10);
/// How far [`HostLoad::recent`] looks back.
const WINDOW: Duration = Duration::from_mins(1);
/// How many times its limit a wait can last.
const MOST: u32 = 8;

/// A time, and how much of it a machine waited for a processor of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostShare {
    /// the time
    pub wall: Duration,
    /// the part of it in which the machine could have run, and had no processor
    pub lost: Duration,
}

impl HostShare {
    /// Whether the machine waited for at least half of the time: no result that depends on time says anything
    /// about the guest then.
    pub fn is_starved(&self) -> bool {
        !self.wall.is_zero() && self.lost * 2 >= self.wall
    }

    /// How many times longer the guest takes than on an idle host, at most 8.
    pub fn slowdown(&self) -> f64 {
        let had = self.wall.saturating_sub(self.lost);
        if self.wall.is_zero() {
            return 1.0;
        }
        (self.wall.as_secs_f64() / had.as_secs_f64()).clamp(1.0, f64::from(MOST))
    }
}

/// Measures how long a machine's QEMU waits for a processor. Clones share the measurements.
#[derive(Debug, Clone)]
pub(crate) struct HostLoad {
    pid: u32,
    samples: Arc<Mutex<VecDeque<Sample>>>,
}

/// The waits of all threads up to a time.
#[derive(Debug, Clone)]
struct Sample {
    time: Instant,
    /// by thread
    waits: BTreeMap<u32, Duration>,
}

impl HostLoad {
    /// Measures a process from now on.
    pub(crate) fn of(pid: u32) -> Self {
        let load = Self { pid, samples: Arc::default() };
        load.record();
        load
    }

    /// Records a measurement, to be called at intervals.
    pub(crate) fn record(&self) {
        let now = Sample::of(self.pid);
        let mut samples = self.samples();
        // The oldest one is always older than the window, or the first.
        while samples.get(1).is_some_and(|next| now.time.saturating_duration_since(next.time) >= WINDOW) {
            samples.pop_front();
        }
        samples.push_back(now);
    }

    /// The share of about the last minute.
    pub(crate) fn recent(&self) -> HostShare {
        let now = Sample::of(self.pid);
        self.samples().front().map(|oldest| now.since(oldest)).unwrap_or_default()
    }

    /// Waits until the machine has had `limit`, without the time in which it waited for a processor; at most
    /// eight times as long. Returns the whole time.
    pub(crate) async fn patience(&self, limit: Duration) -> HostShare {
        let begun = Instant::now();
        let mut last = Sample::of(self.pid);
        let mut had = Duration::ZERO;
        loop {
            sleep(limit.saturating_sub(had).clamp(SHORTEST, INTERVAL)).await;
            let now = Sample::of(self.pid);
            let share = now.since(&last);
            had += share.wall.saturating_sub(share.lost);
            last = now;
            let wall = begun.elapsed();
            if had >= limit || wall >= limit * MOST {
                return HostShare { wall, lost: wall.saturating_sub(had) };
            }
        }
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sample {
    /// Reads the waits of a process. A process that is gone, and one on a kernel that does not count them, has
    /// none.
    fn of(pid: u32) -> Self {
        let mut waits = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let number = thread.file_name().to_str().and_then(|name| name.parse().ok());
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            if let (Some(number), Some(wait)) = (number, waited(&text)) {
                waits.insert(number, wait);
            }
        }
        Self { time: Instant::now(), waits }
    }

    /// The share between two samples: that of the thread that waited longest, since the guest as a whole waits
    /// for it.
    fn since(&self, earlier: &Self) -> HostShare {
        let wall = self.time.saturating_duration_since(earlier.time);
        let wait = |(thread, wait): (&u32, &Duration)| {
            wait.saturating_sub(earlier.waits.get(thread).copied().unwrap_or_default())
        };
        let lost = self.waits.iter().map(wait).max().unwrap_or_default();
        HostShare { wall, lost: lost.min(wall) }
    }
}

/// How long a thread has waited: the second number of its `schedstat`, in nanoseconds.
fn waited(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(wall: u64, lost: u64) -> HostShare {
        HostShare { wall: Duration::from_secs(wall), lost: Duration::from_secs(lost) }
    }

    #[test]
    fn a_machine_that_waits_half_of_the_time_is_starved() {
        assert!(!share(60, 0).is_starved() && !share(60, 29).is_starved() && share(60, 30).is_starved());
        assert!(!HostShare::default().is_starved(), "unknown");
        let slowdown = |wall, lost| format!("{:.1}", share(wall, lost).slowdown());
        assert_eq!([slowdown(60, 0), slowdown(60, 50), slowdown(60, 60)], ["1.0", "6.0", "8.0"]);
    }

    #[test]
    fn the_thread_that_waits_longest_counts() {
        assert_eq!(waited("1078246 3000000000 8\n"), Some(Duration::from_secs(3)));
        assert_eq!(waited(""), None);
        let time = Instant::now();
        let sample = |seconds: u64, waits: &[(u32, u64)]| Sample {
            time: time + Duration::from_secs(seconds),
            waits: waits.iter().map(|(thread, wait)| (*thread, Duration::from_secs(*wait))).collect(),
        };
        let earlier = sample(0, &[(1, 10), (2, 0)]);
        assert_eq!(sample(10, &[(1, 11), (2, 7), (3, 1)]).since(&earlier), share(10, 7));
        assert_eq!(sample(10, &[(3, 40)]).since(&earlier), share(10, 10), "a new thread");
        assert_eq!(sample(10, &[]).since(&earlier), share(10, 0), "the process is gone");
    }

    #[tokio::test]
    async fn a_process_that_sleeps_has_no_more_than_its_limit() {
        let limit = Duration::from_millis(100);
        let share = HostLoad::of(0).patience(limit).await;
        assert!(share.wall >= limit && share.wall < Duration::from_secs(5), "{share:?}");
    }

    /// More threads than processors: the kernel's count is what this host measures.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_overcommitted_host_is_measured() {
        let threads = std::thread::available_parallelism().map_or(1, usize::from) * 8;
        let end = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let busy: Vec<_> = (0..threads)
            .map(|_| {
                let end = Arc::clone(&end);
                std::thread::spawn(move || while !end.load(std::sync::atomic::Ordering::Relaxed) {})
            })
            .collect();
        let load = HostLoad::of(std::process::id());
        let share = load.patience(Duration::from_millis(300)).await;
        let recent = load.recent();
        end.store(true, std::sync::atomic::Ordering::Relaxed);
        for thread in busy {
            thread.join().expect("joined");
        }
        assert!(share.is_starved() && share.wall > Duration::from_millis(500), "{share:?}");
        assert!(recent.is_starved() && recent.slowdown() > 2.0, "{recent:?}");
    }
}
