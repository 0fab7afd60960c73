//! Counts refusals until they are written to the log, so that a flood writes a few lines instead of millions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use souk_certs::acceptor::source_of;
use souk_enrolment::code::InvitationId;

use super::limits::REFUSALS;
use crate::log::{Did, Entry};

/// What happened since the last write.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counted: Mutex<Counted>,
}

/// Refusals by their cause, and the invitations that were locked.
#[derive(Debug, Default)]
pub(super) struct Counted {
    by_cause: HashMap<(Did, &'static str, Option<IpAddr>), u64>,
    locks: Vec<InvitationId>,
}

impl Refusals {
    /// Counts a refused call of an address. Beyond [`REFUSALS`] different ones, addresses are not distinguished.
    pub(super) fn add(&self, did: Did, why: &'static str, address: IpAddr) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cause = (did, why, Some(source_of(address)));
        if counted.by_cause.len() >= REFUSALS && !counted.by_cause.contains_key(&cause) {
            cause.2 = None;
        }
        let count = counted.by_cause.entry(cause).or_default();
        *count = count.saturating_add(1);
    }

    /// Notes that an invitation was locked. There are no more of them than invitations.
    pub(super) fn add_lock(&self, id: InvitationId) {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).locks.push(id);
    }

    /// Returns and forgets what was counted.
    pub(super) fn take(&self) -> Counted {
        std::mem::take(&mut *self.counted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds what could not be written, for the next time.
    pub(super) fn put_back(&self, unwritten: Counted) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for (cause, count) in unwritten.by_cause {
            let sum = counted.by_cause.entry(cause).or_default();
            *sum = sum.saturating_add(count);
        }
        counted.locks.extend(unwritten.locks);
    }
}

impl Counted {
    /// Returns whether nothing was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.by_cause.is_empty() && self.locks.is_empty()
    }

    /// Returns the invitations that were locked.
    pub(super) fn locks(&self) -> &[InvitationId] {
        &self.locks
    }

    /// Returns the entries for the log.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = self
            .by_cause
            .iter()
            .map(|((did, why, from), count)| Entry {
                why: Some(why),
                from: *from,
                count: *count,
                ..Entry::new(*did)
            })
            .collect();
        entries.sort_by(|one, other| (one.why, one.from).cmp(&(other.why, other.from)));
        let locks = self.locks.iter();
        entries.extend(locks.map(|id| Entry { invitation: Some(id.to_string()), ..Entry::new(Did::Lock) }));
        entries
    }
}
