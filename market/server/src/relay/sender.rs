//! The delivery loop: claims due mailboxes, sends a batch to each recipient, and settles the results.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use souk_domain::{Sequence, Timestamp};
use souk_store::{ByReliability, Claim, DueQuery, Reliability, Settlement, StoreError, Verdict};
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};

use super::{
    BATCH_BYTES, BATCH_EVENTS, LEASE, Shared, backoff,
    dialer::{NO_ANSWER, SendFailure},
    slots::{self, SLOW_AFTER, Slot},
};
use crate::wire;

/// Polling interval for due mailboxes without a notification: those filled by other markets, or from before a
/// restart.
const POLL: Duration = Duration::from_secs(1);
/// Pause after a failed claim, before the store is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How often the mailboxes that are due are counted, for the metrics.
const COUNTING: Duration = Duration::from_secs(5);

/// The number of refusals in a row after which events are sent one at a time, to find the one that is refused.
const ALONE_AFTER: u32 = 3;
/// The number of refusals in a row after which the first event is given up. Those of probes do not count.
const DEAD_AFTER: u32 = 10;
/// The time since the first of these refusals after which the event is given up. Orders shorten the back-off, so the
/// number alone may be reached within minutes.
const DEAD_AFTER_TIME: Duration = Duration::from_secs(12 * 3_600);

/// Claims and sends until the relay shuts down, then waits for deliveries in progress. They end when every sender of
/// settlements has been dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let (settlements, settling) = mpsc::channel(slots::ALL);
    // Weak, because the settler ends with the last sender. Set once: a relay is started once.
    let _ = shared.settling.set(settlements.downgrade());
    // A task of its own, so that settlements of many deliveries share transactions while more are sent.
    let settler = tokio::spawn(settle(Arc::clone(&shared), settling));
    let mut counted = None;
    loop {
        if counted.is_none_or(|counted: Instant| counted.elapsed() >= COUNTING) {
            counted = Some(Instant::now());
            count_due(&shared).await;
        }
        let pause = match claim(&shared, &settlements).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "cannot claim due mailboxes; trying again");
                STORE_PAUSE
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => break,
            () = shared.due.notified() => {}
            () = time::sleep(pause) => {}
        }
    }
    // The settler ends when the last sender is gone, so ours goes first and those of deliveries follow.
    drop(settlements);
    if let Err(error) = settler.await {
        tracing::error!(%error, "the settling task failed");
    }
}

/// Counts the mailboxes that are due, for the metrics.
async fn count_due(shared: &Shared) {
    match shared.mailboxes.due(shared.clock.now()).await {
        Ok(due) => shared.due_mailboxes.store(Arc::new(due)),
        Err(error) => tracing::debug!(%error, "cannot count the mailboxes that are due"),
    }
}

/// Claims as many mailboxes as there are free slots, and starts their deliveries. Returns how long to wait before the
/// next claim. No more is claimed than can be sent at once, because the lease of a waiting claim would run out.
async fn claim(shared: &Arc<Shared>, settlements: &mpsc::Sender<Settlement>) -> Result<Duration, StoreError> {
    loop {
        let free = shared.slots.free();
        if free == Default::default() {
            // A finished delivery notifies `due`.
            return Ok(POLL);
        }
        let now = shared.clock.now();
        let query =
            DueQuery { owner: shared.owner, now, lease: LEASE, mailboxes: free, deliveries: BATCH_EVENTS };
        let claims = shared.mailboxes.claim_due(&query).await?;
        let is_rest = is_rest(&claims, free);
        for claim in claims {
            // Usually there is one: only this task takes slots, and it claims no more mailboxes than are free. But the
            // kind of a mailbox may change while it is claimed. It is released: otherwise its lease, and those of
            // all claims after it, would delay their deliveries until they expire.
            let Some(slot) = shared.slots.take(claim.reliability) else {
                let Claim { recipient, epoch, .. } = claim;
                let _ = settlements.send(Settlement { recipient, epoch, verdict: Verdict::Released }).await;
                continue;
            };
            tokio::spawn(deliver(Arc::clone(shared), claim, settlements.clone(), slot));
        }
        if is_rest {
            // Only of kinds with free slots: others are due, but have to wait for one.
            let next = shared.mailboxes.next_due(shared.slots.free(), now.plus(POLL)).await?;
            return Ok(next.map_or(POLL, |next| until(next, now).min(POLL)));
        }
    }
}

/// Returns whether nothing else was due: of each kind, fewer were claimed than were asked for.
fn is_rest(claims: &[Claim], asked: ByReliability) -> bool {
    let claimed = |kind| claims.iter().filter(|claim| claim.reliability == kind).count();
    Reliability::ALL.into_iter().all(|kind| asked.of(kind) == 0 || claimed(kind) < asked.of(kind))
}

/// Returns the time until `next`, at least 10 ms: a mailbox that is due now has just been claimed or is leased by
/// another market, so claiming again at once would spin.
fn until(next: Timestamp, now: Timestamp) -> Duration {
    const LEAST: Duration = Duration::from_millis(10);
    u64::try_from(next.0 - now.0).map_or(LEAST, |micros| Duration::from_micros(micros).max(LEAST))
}

async fn deliver(shared: Arc<Shared>, claim: Claim, settlements: mpsc::Sender<Settlement>, mut slot: Slot) {
    let mut sending = std::pin::pin!(send(&shared, &claim));
    let verdict = match time::timeout(SLOW_AFTER, &mut sending).await {
        Ok(verdict) => verdict,
        Err(_) => tokio::select! {
            verdict = &mut sending => verdict,
            () = shared.slots.move_aside(&mut slot) => {
                shared.due.notify_one();
                tokio::select! {
                    verdict = sending => verdict,
                    () = shared.slots.given_up(claim.reliability) => {
                        failed(&shared, &claim, SendFailure::without_refusal(NO_ANSWER))
                    }
                }
            }
        },
    };
    // The receiver outlives all senders, so this can't fail.
    let _ = settlements.send(Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict }).await;
    // Held until the settlement is queued: if the store is slow, the full queue thereby slows the claiming
    // too.
    drop(slot);
}

/// Sends one batch and returns what to settle. No transaction is open meanwhile: the lease and its epoch protect the
/// mailbox.
async fn send(shared: &Shared, claim: &Claim) -> Verdict {
    let Some(callback) = &claim.callback else { return Verdict::Released };
    let (events, last) = batch(claim);
    let Some(last) = last else { return Verdict::Released };
    let count = events.len();
    let sent = shared.dialer.send(callback, claim.role, claim.recipient, events).await;
    let failure = match sent {
        // A recipient may acknowledge a part of the batch. Nothing at all counts as a failure, or the same
        // batch would be sent again at once, forever.
        Ok(taken) if taken >= first(claim) => {
            tracing::debug!(recipient = %claim.recipient, count, "delivered");
            // Capped at what was sent: an acknowledgement beyond it would remove events that the recipient
            // never got.
            return Verdict::Delivered(taken.min(last));
        }
        Ok(_) => SendFailure::without_refusal("the callback answered but took nothing"),
        Err(failure) => failure,
    };
    failed(shared, claim, failure)
}

/// Returns whether the first event of a batch is given up if it is refused once more.
fn is_dead(claim: &Claim, now: Timestamp) -> bool {
    let is_long = claim.refused_since.is_some_and(|since| since <= now.minus(DEAD_AFTER_TIME));
    is_long && !claim.is_probe && claim.refusals + 1 >= DEAD_AFTER
}

/// Returns the number of events that were given up, by the results of their settlements.
fn given_up(settlements: &[Settlement], held: &[bool]) -> usize {
    let ended = settlements.iter().zip(held);
    ended.filter(|(ended, held)| **held && matches!(ended.verdict, Verdict::Dead { .. })).count()
}

/// Returns the verdict on a batch that was not received.
fn failed(shared: &Shared, claim: &Claim, SendFailure { reason, is_refusal }: SendFailure) -> Verdict {
    let now = shared.clock.now();
    if is_refusal && is_dead(claim, now) {
        tracing::info!(recipient = %claim.recipient, %reason, "gave up an event that was refused repeatedly");
        return Verdict::Dead { sequence: first(claim), reason, at: now };
    }
    let delay = backoff::delay(claim.failures, shared.random.unit());
    tracing::debug!(recipient = %claim.recipient, %reason, ?delay, "not delivered");
    let retry_at = now.plus(delay);
    if is_refusal {
        Verdict::Refused { retry_at, reason, at: now }
    } else {
        Verdict::Failed { retry_at, reason }
    }
}

/// Returns the sequence of a batch's first delivery.
fn first(claim: &Claim) -> Sequence {
    claim.deliveries.first().map_or(Sequence(0), |delivery| delivery.sequence)
}

/// Returns the events that fit into one batch, and the sequence of the last one. An event that exceeds the limit by
/// itself is sent alone, so that it can't block the mailbox.
fn batch(claim: &Claim) -> (Vec<souk_proto::v1::Event>, Option<Sequence>) {
    let (mut events, mut last, mut bytes) = (Vec::with_capacity(claim.deliveries.len()), None, 0);
    let most = if claim.refusals >= ALONE_AFTER { 1 } else { claim.deliveries.len() };
    for delivery in claim.deliveries.iter().take(most) {
        let event = wire::event(claim.recipient, delivery);
        bytes += event.encoded_len();
        if bytes > BATCH_BYTES && !events.is_empty() {
            break;
        }
        last = Some(delivery.sequence);
        events.push(event);
    }
    (events, last)
}

/// Settles finished deliveries in groups, each in one transaction.
async fn settle(shared: Arc<Shared>, mut settling: mpsc::Receiver<Settlement>) {
    let mut batch = Vec::with_capacity(slots::ALL);
    while settling.recv_many(&mut batch, slots::ALL).await > 0 {
        match shared.mailboxes.settle(&batch).await {
            Ok(held) => {
                shared.note_dropped(given_up(&batch, &held));
                let void = held.iter().filter(|held| !**held).count();
                if void > 0 {
                    tracing::debug!(void, "some leases had been taken over by others");
                }
            }
            // The leases expire and the events are sent again, which recipients recognise by their ids.
            Err(error) => tracing::warn!(%error, "cannot settle deliveries; they will be sent again"),
        }
        batch.clear();
        // The same mailboxes may contain more events, and slots have become free.
        shared.due.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use souk_domain::{Event, EventId, EventKind, PartyId, Role};
    use souk_store::{Delivery, LeaseEpoch, Reliability};
    use uuid::Uuid;

    use super::*;

    fn claim(refusals: u32) -> Claim {
        let delivery = |number: i64| {
            let kind = EventKind::Test { text: "hello".into() };
            let event = Event { id: EventId(Uuid::from_u128(1)), occurred_at: Timestamp(0), kind };
            Delivery { sequence: Sequence(number), event }
        };
        Claim {
            recipient: PartyId(Uuid::from_u128(1)),
            role: Role::Seller,
            callback: None,
            epoch: LeaseEpoch(1),
            acknowledged: Sequence(0),
            last_sequence: Sequence(3),
            failures: refusals,
            refusals,
            refused_since: (refusals > 0).then_some(Timestamp(0)),
            is_probe: false,
            reliability: Reliability::Unproven,
            deliveries: (1..=3).map(delivery).collect(),
        }
    }

    #[test]
    fn event_is_given_up_after_ten_refusals_and_twelve_hours() {
        let (later, sooner) = (Timestamp(0).plus(DEAD_AFTER_TIME), Timestamp(0).plus(DEAD_AFTER_TIME / 2));
        assert!(is_dead(&claim(DEAD_AFTER - 1), later));
        assert!(!is_dead(&claim(DEAD_AFTER - 2), later));
        assert!(!is_dead(&claim(DEAD_AFTER * 9), sooner), "orders shorten the waits in between");
        assert!(!is_dead(&Claim { is_probe: true, ..claim(DEAD_AFTER - 1) }, later));
        assert!(!is_dead(&Claim { refused_since: None, ..claim(DEAD_AFTER) }, later));
    }

    #[test]
    fn event_counts_as_given_up_only_if_its_settlement_had_an_effect() {
        let settlement = |verdict| {
            let Claim { recipient, epoch, .. } = claim(0);
            Settlement { recipient, epoch, verdict }
        };
        let dead =
            || settlement(Verdict::Dead { sequence: Sequence(1), reason: String::new(), at: Timestamp(0) });
        let settlements = [dead(), dead(), settlement(Verdict::Released)];
        assert_eq!(given_up(&settlements, &[true, false, true]), 1);
    }

    #[test]
    fn events_are_sent_alone_after_repeated_refusals() {
        let sent = |refusals| batch(&claim(refusals)).1;
        assert_eq!((sent(0), sent(ALONE_AFTER - 1)), (Some(Sequence(3)), Some(Sequence(3))));
        assert_eq!((sent(ALONE_AFTER), sent(DEAD_AFTER)), (Some(Sequence(1)), Some(Sequence(1))));
    }

    #[test]
    fn more_may_be_due_if_as_many_were_claimed_as_asked_for() {
        let claims = [claim(0), claim(0)];
        assert!(is_rest(&claims, ByReliability::each(3)));
        assert!(!is_rest(&claims, ByReliability::each(2)));
        assert!(is_rest(&claims, ByReliability { proven: 1, unproven: 3, failing: 0 }));
        assert!(is_rest(&[], ByReliability::each(1)));
    }
}
