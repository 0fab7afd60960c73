//! Identities that were turned away, gathered so that a flood of them stays small.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, domain::AuditEntry, ledger::Ledgers};

/// How often what was gathered is written.
const PERIOD: Duration = Duration::from_secs(1);

/// Different refusals (by party, address and reason) that are told apart in one period; all others are one
/// entry together. So refusals write 33 entries a second at the most.
const KINDS: usize = 32;

/// Takes refusals in. Cheap to clone; never blocks for long.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    gathered: Mutex<Gathered>,
    total: AtomicU64,
}

#[derive(Debug, Default)]
struct Gathered {
    kinds: HashMap<Kind, u32>,
    others: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    who: String,
    from: Option<IpAddr>,
    why: String,
}

impl Refusals {
    /// Somebody was turned away: `who` by its certificate as `role/UUID`, when there was a good one.
    pub fn add(&self, who: Option<String>, from: Option<IpAddr>, why: &str) {
        let kind = Kind { who: who.unwrap_or_else(|| "unknown".into()), from, why: why.to_owned() };
        self.0.total.fetch_add(1, Ordering::Relaxed);
        let mut gathered = self.lock();
        if let Some(count) = gathered.kinds.get_mut(&kind) {
            *count = count.saturating_add(1);
        } else if gathered.kinds.len() < KINDS {
            gathered.kinds.insert(kind, 1);
        } else {
            gathered.others = gathered.others.saturating_add(1);
        }
    }

    /// How many there were since the market was opened.
    pub fn total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    fn take(&self, clock: Clock) -> Vec<AuditEntry> {
        let Gathered { kinds, others } = std::mem::take(&mut *self.lock());
        let entry = |Kind { who, from, why }, count| AuditEntry {
            at: clock.now(),
            who,
            from,
            did: "Refused",
            what: why,
            count,
            request: None,
        };
        let rest = Kind { who: "various".into(), from: None, why: "too many kinds to tell apart".into() };
        let mut entries: Vec<_> = kinds.into_iter().map(|(kind, count)| entry(kind, count)).collect();
        entries.extend((others > 0).then(|| entry(rest, others)));
        entries
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Gathered> {
        self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what was gathered, until the market closes; then once more.
pub async fn keep(refusals: Refusals, ledgers: Ledgers, clock: Clock, closing: CancellationToken) {
    let mut turn = interval(PERIOD);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_last = tokio::select! {
            () = closing.cancelled() => true,
            _ = turn.tick() => false,
        };
        let entries = refusals.take(clock);
        if !entries.is_empty() && !ledgers.note(entries) {
            tracing::warn!("the ledger is full: refused identities are missing from the audit log");
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
            refusals.add(Some("seller/x".into()), Some([198, 51, 100, host].into()), "TOKEN_INVALID");
        }
        let entries = refusals.take(Clock::SYSTEM);
        assert_eq!(entries.len(), KINDS + 1);
        assert_eq!(entries.iter().map(|entry| entry.count).sum::<u32>(), 1_200, "none is forgotten");
        assert_eq!(entries.iter().map(|entry| entry.count).max(), Some(1_000));
        assert!(refusals.take(Clock::SYSTEM).is_empty());
    }
}
