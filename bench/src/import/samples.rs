//! Samples of the market's memory during an import.

use std::time::{Duration, Instant};

use souk_server::observe::Memory;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::process::ServerProcess;

/// Interval between two samples.
const LOOK: Duration = Duration::from_millis(100);
/// Maximum number of samples, enough for more than an hour.
const MAX_SAMPLES: usize = 40_000;
/// Minimum number of samples for a verdict.
const MIN_SAMPLES: usize = 8;
/// Memory counts as flat if the minimum of anonymous memory in the last quarter exceeds that in the first quarter by
/// at most this much. Minima are compared because merges of the index cause temporary peaks. The bound is tight
/// enough: keeping 45 bytes of each of a million rows, less than a SKU takes, would exceed it.
const FLAT_BYTES: u64 = 32 * MIB;
/// Maximum of anonymous memory at any time, including merges of the index.
const PEAK_BYTES: u64 = 512 * MIB;
pub(super) const MIB: u64 = 1_024 * 1_024;

/// Memory samples in chronological order.
pub(super) struct Samples {
    began: Instant,
    seen: Vec<(Duration, Memory)>,
}

impl Samples {
    /// Takes samples until `stop` is cancelled.
    pub(super) async fn take(market: &ServerProcess, stop: CancellationToken) -> anyhow::Result<Self> {
        let mut samples = Self { began: Instant::now(), seen: Vec::new() };
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            looks.tick().await;
            if samples.seen.len() < MAX_SAMPLES {
                samples.seen.push((samples.began.elapsed(), market.memory()?));
            }
        }
        Ok(samples)
    }

    /// Prints the median memory of each tenth of the time and the verdict. Returns whether memory was flat.
    pub(super) fn print(&self) -> bool {
        println!("\n{:<10} {:>14} {:>14}", "seconds", "anonymous MiB", "file MiB");
        let tenth = self.seen.len().div_ceil(10).max(1);
        for part in self.seen.chunks(tenth) {
            let until = part.last().map_or(0.0, |(at, _)| at.as_secs_f64());
            let (anonymous, files) = (median(part, |m| m.anonymous), median(part, |m| m.of_files));
            println!("{until:<10.1} {:>14} {:>14}", anonymous / MIB, files / MIB);
        }
        let quarter = (self.seen.len() / 4).max(1).min(self.seen.len());
        let anonymous = |samples: &[(Duration, Memory)]| -> (u64, u64) {
            let values = samples.iter().map(|(_, memory)| memory.anonymous);
            (values.clone().min().unwrap_or(0), values.max().unwrap_or(0))
        };
        let (first, _) = anonymous(&self.seen[..quarter]);
        let (last, _) = anonymous(&self.seen[self.seen.len() - quarter..]);
        let (_, most) = anonymous(&self.seen);
        let is_flat = self.seen.len() >= MIN_SAMPLES && last <= first + FLAT_BYTES && most <= PEAK_BYTES;
        let verdict = if is_flat { "flat" } else { "not flat" };
        println!(
            "\nanonymous memory: minimum {} MiB in the first quarter and {} MiB in the last (≤ {} MiB more), \
             maximum {} MiB (≤ {} MiB): {verdict}",
            first / MIB,
            last / MIB,
            FLAT_BYTES / MIB,
            most / MIB,
            PEAK_BYTES / MIB,
        );
        is_flat
    }
}

fn median(samples: &[(Duration, Memory)], part: fn(&Memory) -> u64) -> u64 {
    let mut values: Vec<_> = samples.iter().map(|(_, memory)| part(memory)).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(anonymous: impl IntoIterator<Item = u64>) -> Samples {
        let memory = |bytes| Memory { anonymous: bytes, of_files: 0 };
        let seen = anonymous.into_iter().map(|mib| (Duration::ZERO, memory(mib * MIB))).collect();
        Samples { began: Instant::now(), seen }
    }

    #[test]
    fn growth_is_distinguished_from_fluctuation() {
        assert!(samples([100; 40]).print());
        assert!(samples((0..40).map(|look| 100 + look % 2 * 200)).print(), "a peak now and then");
        assert!(!samples((0..40).map(|look| 100 + look * 5)).print());
        assert!(!samples((0..40).map(|look| 100 + look % 2 * 500)).print(), "peaks have a bound");
        assert!(!samples([100; 3]).print(), "an import too short to look at shows nothing");
    }
}
