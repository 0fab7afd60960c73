//! A mailbox: its deliveries, its back-off, and the cursors of its consumers.

use std::collections::BTreeMap;

use souk_domain::{Callback, Event, Party, PartyId, Role, Sequence, Timestamp, Topic};

use super::{
    consumers::{Missing, Named, counted},
    rows::count,
};
use crate::{
    Claim, Delivery, Dropped, LeaseEpoch, LeaseOwner, ORDER_PATIENCE, Reliability, Retention,
    mailbox::OVERDUE_AFTER, reliability::TakenBy,
};

/// An event that waits in a mailbox.
pub(super) struct Waiting {
    pub(super) event: Event,
    /// The steady time from which its age counts.
    pub(super) since: Timestamp,
}

/// The mailbox of a party or a till.
pub(super) struct Mailbox {
    pub(super) waiting: BTreeMap<Sequence, Waiting>,
    /// The last sequence of each topic that updates coalesce by.
    topics: BTreeMap<Topic, Sequence>,
    pub(super) last_sequence: i64,
    pub(super) acknowledged: i64,
    /// The highest sequence that was handed out among those that could be merged.
    pub(super) handed_out: i64,
    /// The sequence of the last order event.
    pub(super) last_order: i64,
    pub(super) reliability: Reliability,
    pub(super) failures: u32,
    pub(super) last_failure: String,
    /// When to deliver; `None` if nothing is pending.
    pub(super) next_attempt: Option<Timestamp>,
    pub(super) lease_owner: Option<LeaseOwner>,
    pub(super) lease_epoch: i64,
    pub(super) lease_until: Timestamp,
    /// When the regular attempt is due that a probe has preceded.
    regular_attempt: Option<Timestamp>,
    /// Whether a probe was asked for while an attempt was under way.
    is_probed: bool,
    /// When to attempt at the latest, because an order has come since the last attempt began.
    latest_attempt: Option<Timestamp>,
    /// The end of the last lease of an unnamed stream; 0 if there was none.
    pub(super) stream_until: Timestamp,
    /// The named consumers.
    pub(super) consumers: Named,
    pub(super) refusals: u32,
    pub(super) refused_since: Option<Timestamp>,
    pub(super) dropped: Dropped,
    pub(super) last_dropped: Option<Timestamp>,
    /// What the unnamed consumer has missed.
    pub(super) missed: Missing,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            topics: BTreeMap::new(),
            last_sequence: 0,
            acknowledged: 0,
            handed_out: 0,
            last_order: 0,
            reliability: Reliability::Unproven,
            failures: 0,
            last_failure: String::new(),
            next_attempt: None,
            lease_owner: None,
            lease_epoch: 0,
            lease_until: Timestamp(0),
            regular_attempt: None,
            is_probed: false,
            latest_attempt: None,
            stream_until: Timestamp(0),
            consumers: Named::default(),
            refusals: 0,
            refused_since: None,
            dropped: Dropped::default(),
            last_dropped: None,
            missed: Missing::default(),
        }
    }
}

impl Mailbox {
    /// Adds an event, with which an older one on its topic is merged if nobody can have received that. The
    /// mailbox becomes due now, unless it is in back-off.
    pub(super) fn put(&mut self, mut event: Event, now: Timestamp) {
        self.last_sequence += 1;
        let sequence = Sequence(self.last_sequence);
        if let Some(topic) = event.kind.coalesces_by() {
            let received = self.received_through();
            let older = self.topics.insert(topic, sequence).filter(|older| *older > received);
            if let Some(older) = older.and_then(|older| self.waiting.remove(&older)) {
                event = event.merge(&older.event);
            }
        }
        let latest = now.plus(ORDER_PATIENCE);
        let is_order = event.kind.is_order();
        if is_order {
            self.last_order = self.last_sequence;
            self.latest_attempt = Some(latest);
        }
        // A new sequence: a recipient that has acknowledged the older one must get the result too.
        self.waiting.insert(sequence, Waiting { event, since: now });
        self.next_attempt = Some(match self.next_attempt {
            // A new event does not end the back-off, or a busy seller with a dead callback would be called for
            // each purchase. An order shortens it.
            Some(next) if self.failures > 0 => {
                if is_order {
                    next.min(latest)
                } else {
                    next
                }
            }
            Some(next) => next.min(now),
            None => now,
        });
    }

    /// Returns the sequence up to which somebody may have received the deliveries. They stay as they are.
    fn received_through(&self) -> Sequence {
        Sequence(self.acknowledged.max(self.handed_out))
    }

    /// Returns the deliveries after a sequence, which are about to be sent.
    pub(super) fn hand_out(&mut self, after: Sequence, limit: usize) -> Vec<Delivery> {
        let handed = self.after(after, limit);
        if let Some(last) = Delivery::last_mergeable(&handed) {
            self.handed_out = self.handed_out.max(last.0);
        }
        handed
    }

    /// Moves the unnamed consumer's cursor to a sequence, removes what every consumer has, and resets the
    /// failures. A sequence that was never assigned has no effect.
    pub(super) fn take_out(&mut self, through: Sequence, by: TakenBy) {
        // A cursor of another market or of an earlier store would otherwise discard events that were never
        // delivered.
        if through.0 > self.last_sequence {
            return;
        }
        // An acknowledgement may arrive late and name less than an earlier one.
        self.acknowledged = self.acknowledged.max(through.0);
        self.remove_received(Some(self.acknowledged));
        self.reliability = by.reliability(self.reliability);
        self.end_back_off();
        self.next_attempt = self.has_pending().then_some(Timestamp(0));
    }

    /// Removes what every consumer has. `unnamed` is the cursor of the unnamed consumer, if it counts.
    pub(super) fn remove_received(&mut self, unnamed: Option<i64>) {
        let cursors = unnamed.into_iter().chain(self.consumers.cursors());
        if let Some(through) = cursors.min() {
            self.waiting = self.waiting.split_off(&Sequence(through.saturating_add(1)));
        }
        if self.waiting.is_empty() {
            self.topics.clear();
        }
    }

    /// Removes up to `limit` deliveries whose retention is over, and returns their events.
    pub(super) fn expire(
        &mut self,
        now: Timestamp,
        retention: Retention,
        limit: usize,
    ) -> Vec<(Sequence, Event)> {
        let is_over = |(_, waiting): &(&Sequence, &Waiting)| {
            let kept = if waiting.event.kind.is_order() { retention.orders } else { retention.updates };
            waiting.since < now.minus(kept)
        };
        let over: Vec<Sequence> =
            self.waiting.iter().filter(is_over).map(|(sequence, _)| *sequence).take(limit).collect();
        over.into_iter()
            .filter_map(|sequence| Some((sequence, self.waiting.remove(&sequence)?.event)))
            .collect()
    }

    /// Counts a delivery that is dropped for the unnamed consumer, unless that is past it. Returns whether it is not.
    pub(super) fn count_dropped(&mut self, sequence: Sequence, is_order: bool, now: Timestamp) -> bool {
        let is_lost = sequence.0 > self.acknowledged;
        if is_lost {
            self.dropped.add(is_order);
            self.last_dropped = Some(now);
            self.missed.add(is_order);
        }
        is_lost
    }

    /// Returns whether events wait for the unnamed consumer.
    fn has_pending(&self) -> bool {
        self.waiting.keys().next_back().is_some_and(|last| last.0 > self.acknowledged)
    }

    /// Returns the number of events that wait for the unnamed consumer.
    pub(super) fn pending_unnamed(&self) -> i64 {
        let pending = self.pending(self.acknowledged);
        let holds_back = self.waiting.keys().next().is_some_and(|first| first.0 <= self.acknowledged);
        if holds_back { counted(pending) } else { pending }
    }

    /// Returns the number of events after a cursor.
    pub(super) fn pending(&self, cursor: i64) -> i64 {
        let after = self.waiting.range(Sequence(cursor.saturating_add(1))..);
        count(after.count())
    }

    /// Returns the time of the first event that waits for the unnamed consumer.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let mut after = self.waiting.range(Sequence(self.acknowledged.saturating_add(1))..);
        after.next().map(|(_, waiting)| waiting.since)
    }

    /// Forgets the failures, because the recipient has responded or has another address.
    pub(super) fn end_back_off(&mut self) {
        self.failures = 0;
        self.refusals = 0;
        self.refused_since = None;
        self.last_failure.clear();
        self.regular_attempt = None;
        self.is_probed = false;
    }

    /// Makes the mailbox due now. A probe whose attempt fails leaves the back-off as it is.
    pub(super) fn probe(&mut self, now: Timestamp) -> bool {
        let Some(next) = self.next_attempt else { return false };
        if self.lease_until > now {
            self.is_probed = true;
        } else if self.failures > 0 && next > now {
            self.regular_attempt.get_or_insert(next);
        }
        self.next_attempt = Some(now);
        self.reliability = self.reliability.min(Reliability::Unproven);
        true
    }

    /// Records a failed attempt, with the current time if the recipient answered with an error.
    pub(super) fn fail(&mut self, retry_at: Timestamp, reason: &str, refused_at: Option<Timestamp>) {
        let mut regular = match self.regular_attempt.take() {
            Some(regular) => regular,
            None => {
                self.failures += 1;
                if refused_at.is_some() {
                    self.refusals += 1;
                    self.refused_since = self.refused_since.or(refused_at);
                }
                retry_at
            }
        };
        if let Some(latest) = self.latest_attempt.take() {
            regular = regular.min(latest);
        }
        self.reliability = Reliability::Failing;
        reason.clone_into(&mut self.last_failure);
        let is_probed = std::mem::take(&mut self.is_probed);
        // Nothing is pending any more if the recipient has acknowledged everything meanwhile; then there is no
        // retry.
        self.next_attempt = self.next_attempt.map(|_| if is_probed { Timestamp(0) } else { regular });
        self.regular_attempt = is_probed.then_some(regular);
    }

    /// Ends a lease. The mailbox stays due only if something is pending.
    pub(super) fn give_back(&mut self) {
        self.lease_owner = None;
        self.lease_until = Timestamp(0);
        self.next_attempt = self.has_pending().then(|| self.next_attempt.unwrap_or_default());
    }

    /// Returns whether the mailbox is served after others: no order event is pending, and it is not long overdue.
    pub(super) fn is_last(&self, now: Timestamp) -> bool {
        let is_quiet = self.last_order <= self.acknowledged;
        // The time 0 stands for at once, whenever that was.
        let is_overdue = self.next_attempt.is_some_and(|next| next.0 > 0 && next < now.minus(OVERDUE_AFTER));
        is_quiet && !is_overdue
    }

    pub(super) fn is_due(&self, party: &Party, now: Timestamp) -> bool {
        party.open_callback().is_some()
            && self.next_attempt.is_some_and(|next| next <= now)
            && self.lease_until <= now
    }

    pub(super) fn claim(&mut self, of: &Holder, owner: LeaseOwner, until: Timestamp) -> Claim {
        self.lease_owner = Some(owner);
        self.lease_epoch += 1;
        self.lease_until = until;
        // The attempt under this claim takes in what has come until now.
        self.latest_attempt = None;
        self.is_probed = false;
        Claim {
            recipient: of.mailbox,
            role: of.role,
            callback: of.callback.clone(),
            epoch: LeaseEpoch(self.lease_epoch),
            acknowledged: Sequence(self.acknowledged),
            last_sequence: Sequence(self.last_sequence),
            failures: self.failures,
            refusals: self.refusals,
            refused_since: self.refused_since,
            is_probe: self.regular_attempt.is_some(),
            reliability: self.reliability,
            deliveries: Vec::new(),
        }
    }

    pub(super) fn after(&self, after: Sequence, limit: usize) -> Vec<Delivery> {
        self.waiting
            .range(Sequence(after.0.saturating_add(1))..)
            .take(limit)
            .map(|(sequence, waiting)| Delivery { sequence: *sequence, event: waiting.event.clone() })
            .collect()
    }
}

/// The owner of a mailbox: a party, or a till, which has no callback.
pub(super) struct Holder {
    pub(super) mailbox: PartyId,
    pub(super) role: Role,
    pub(super) callback: Option<Callback>,
}

impl Holder {
    pub(super) fn of(party: &Party) -> Self {
        Self { mailbox: party.id, role: party.role, callback: party.open_callback().cloned() }
    }
}
