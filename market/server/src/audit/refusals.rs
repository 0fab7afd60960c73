//! Aggregates rejected identities, so that a flood of them causes few entries.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use souk_domain::AuditEntry;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, ledger::Ledgers};

/// How often the aggregated refusals are written.
const PERIOD: Duration = Duration::from_secs(1);

/// Maximum number of distinct refusals (by party, address and reason) per period; all others share one entry. Callers
/// with and without a valid certificate are limited separately, so that strangers can't hide the refusals of known
/// parties. Refusals thus write at most 66 entries per second.
const KINDS: usize = 32;

/// Maximum number of entries that wait while the ledger accepts none.
const UNSENT: usize = 1_024;

/// Collects refusals. Clones share the state; recording one holds a lock only briefly.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    gathered: Mutex<Gathered>,
    total: AtomicU64,
}

#[derive(Debug, Default)]
struct Gathered {
    known: Kinds,
    unknown: Kinds,
}

#[derive(Debug, Default)]
struct Kinds {
    apart: HashMap<Kind, u32>,
    others: u32,
}

impl Kinds {
    fn add(&mut self, kind: Kind) {
        if let Some(count) = self.apart.get_mut(&kind) {
            *count = count.saturating_add(1);
        } else if self.apart.len() < KINDS {
            self.apart.insert(kind, 1);
        } else {
            self.others = self.others.saturating_add(1);
        }
    }

    fn into_counted(self) -> impl Iterator<Item = (Kind, u32)> {
        let rest = Kind { who: "various".into(), from: None, why: "too many kinds to list".into() };
        let others = (self.others > 0).then_some((rest, self.others));
        self.apart.into_iter().chain(others)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    who: String,
    from: Option<IpAddr>,
    why: String,
}

impl Refusals {
    /// Records a refusal. `who` is the party as `role/UUID`, or `None` if it had no valid certificate.
    pub fn add(&self, who: Option<String>, from: Option<IpAddr>, why: &str) {
        self.0.total.fetch_add(1, Ordering::Relaxed);
        let mut gathered = self.lock();
        let kinds = if who.is_some() { &mut gathered.known } else { &mut gathered.unknown };
        kinds.add(Kind { who: who.unwrap_or_else(|| "unknown".into()), from, why: why.to_owned() });
    }

    /// Returns the number of refusals since the market was started.
    pub fn total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    fn take(&self, clock: Clock) -> Vec<AuditEntry> {
        let Gathered { known, unknown } = std::mem::take(&mut *self.lock());
        let entry = |(Kind { who, from, why }, count)| AuditEntry {
            at: clock.now(),
            who,
            from,
            did: "Refused",
            what: why,
            count,
            request: None,
        };
        known.into_counted().chain(unknown.into_counted()).map(entry).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Gathered> {
        self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the collected refusals periodically until `closing` is cancelled, and then once more.
pub async fn keep(refusals: Refusals, ledgers: Ledgers, clock: Clock, closing: CancellationToken) {
    let mut turn = interval(PERIOD);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unsent = Vec::new();
    loop {
        let is_last = tokio::select! {
            () = closing.cancelled() => true,
            _ = turn.tick() => false,
        };
        unsent.extend(refusals.take(clock));
        if unsent.len() > UNSENT {
            tracing::warn!("the ledger is full: some rejected identities are missing from the audit log");
            unsent.truncate(UNSENT);
        }
        if !unsent.is_empty() {
            unsent = ledgers.note(unsent).err().unwrap_or_default();
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_entries() {
        let refusals = Refusals::default();
        for _ in 0..1_000 {
            refusals.add(None, Some([192, 0, 2, 7].into()), "no certificate");
        }
        for host in 0..200 {
            refusals.add(None, Some([198, 51, 100, host].into()), "the certificate has expired");
        }
        refusals.add(Some("seller/x".into()), Some([192, 0, 2, 8].into()), "TOKEN_INVALID");
        let entries = refusals.take(Clock::SYSTEM);
        assert_eq!(entries.len(), 1 + KINDS + 1);
        assert_eq!(entries.iter().map(|entry| entry.count).sum::<u32>(), 1_201, "none is forgotten");
        assert!(
            entries.iter().any(|entry| entry.who == "seller/x"),
            "known kinds are still counted separately"
        );
        assert_eq!(entries.iter().map(|entry| entry.count).max(), Some(1_000));
        assert!(refusals.take(Clock::SYSTEM).is_empty());
    }
}
