//! Claims mailboxes that are due, sends each its batch, and settles.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use souk_domain::{Sequence, Timestamp};
use souk_store::{Claim, DueQuery, Settlement, StoreError, Verdict};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time,
};

use super::{BATCH_BYTES, BATCH_EVENTS, LEASE, SENDING, Shared, backoff};
use crate::wire;

/// How often to look for due mailboxes when nobody has called: another market's, or after a restart.
const POLL: Duration = Duration::from_secs(1);
/// How long to leave a store alone that does not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Claims and sends until the relay shuts down; then waits for what is being sent.
pub(super) async fn run(shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(SENDING));
    let (settlements, settling) = mpsc::channel(SENDING);
    let settler = tokio::spawn(settle(Arc::clone(&shared), settling));
    loop {
        let pause = match claim(&shared, &slots, &settlements).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "due mailboxes could not be claimed");
                STORE_PAUSE
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => break,
            () = shared.due.notified() => {}
            () = time::sleep(pause) => {}
        }
    }
    drop(settlements);
    if let Err(error) = settler.await {
        tracing::error!(%error, "the settler failed");
    }
}

/// Claims as many mailboxes as there are free slots. Answers when to look again.
async fn claim(
    shared: &Arc<Shared>,
    slots: &Arc<Semaphore>,
    settlements: &mpsc::Sender<Settlement>,
) -> Result<Duration, StoreError> {
    loop {
        let free = slots.available_permits();
        if free == 0 {
            // Whoever finishes calls.
            return Ok(POLL);
        }
        let now = shared.clock.now();
        let query =
            DueQuery { owner: shared.owner, now, lease: LEASE, mailboxes: free, deliveries: BATCH_EVENTS };
        let claims = shared.mailboxes.claim_due(&query).await?;
        if claims.is_empty() {
            let next = shared.mailboxes.next_due().await?;
            return Ok(next.map_or(POLL, |next| until(next, now).min(POLL)));
        }
        for claim in claims {
            let Ok(slot) = Arc::clone(slots).acquire_owned().await else { return Ok(POLL) };
            tokio::spawn(deliver(Arc::clone(shared), claim, settlements.clone(), slot));
        }
    }
}

/// Never zero: what is due now has just been claimed, or is leased by somebody else.
fn until(next: Timestamp, now: Timestamp) -> Duration {
    const LEAST: Duration = Duration::from_millis(10);
    u64::try_from(next.0 - now.0).map_or(LEAST, |micros| Duration::from_micros(micros).max(LEAST))
}

async fn deliver(
    shared: Arc<Shared>,
    claim: Claim,
    settlements: mpsc::Sender<Settlement>,
    slot: OwnedSemaphorePermit,
) {
    let verdict = send(&shared, &claim).await;
    // The receiver outlives all senders.
    let _ = settlements.send(Settlement { recipient: claim.recipient, epoch: claim.epoch, verdict }).await;
    drop(slot);
}

/// One batch; no transaction is open meanwhile.
async fn send(shared: &Shared, claim: &Claim) -> Verdict {
    let Some(callback) = &claim.callback else { return Verdict::Released };
    let (events, last) = batch(claim);
    let Some(last) = last else { return Verdict::Released };
    let count = events.len();
    let sent = shared.dialer.send(callback, claim.role, claim.recipient, events).await;
    let first = claim.deliveries.first().map_or(Sequence(0), |delivery| delivery.sequence);
    match sent {
        Ok(taken) if taken >= first => {
            tracing::debug!(recipient = %claim.recipient, count, "delivered");
            Verdict::Delivered(taken.min(last))
        }
        Ok(_) => failed(shared, claim, "the callback answered but took nothing".to_owned()),
        Err(reason) => failed(shared, claim, reason),
    }
}

fn failed(shared: &Shared, claim: &Claim, reason: String) -> Verdict {
    let delay = backoff::delay(claim.failures, shared.random.unit());
    tracing::debug!(recipient = %claim.recipient, %reason, ?delay, "not delivered");
    Verdict::Failed { retry_at: shared.clock.now().plus(delay), reason }
}

/// As many events as fit, and the sequence of the last of them. A first event that is too large goes alone.
fn batch(claim: &Claim) -> (Vec<souk_proto::v1::Event>, Option<Sequence>) {
    let (mut events, mut last, mut bytes) = (Vec::with_capacity(claim.deliveries.len()), None, 0);
    for delivery in &claim.deliveries {
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

/// Settles whatever has come in together, in one transaction.
async fn settle(shared: Arc<Shared>, mut settling: mpsc::Receiver<Settlement>) {
    let mut batch = Vec::with_capacity(SENDING);
    while settling.recv_many(&mut batch, SENDING).await > 0 {
        match shared.mailboxes.settle(&batch).await {
            Ok(held) => {
                let void = held.iter().filter(|held| !**held).count();
                if void > 0 {
                    tracing::debug!(void, "some claims were taken over meanwhile");
                }
            }
            // The leases run out, and what was sent is sent again.
            Err(error) => tracing::warn!(%error, "deliveries could not be settled"),
        }
        batch.clear();
        // More may wait in the same mailboxes, and slots are free again.
        shared.due.notify_one();
    }
}
