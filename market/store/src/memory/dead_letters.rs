//! Dead letters, and the counts of what mailboxes have dropped.

use std::ops::Bound;

use async_trait::async_trait;
use souk_domain::{ConsumerName, DeadLetter, DeadLetterId, Event, PartyId, Sequence, Timestamp};

use super::{
    Memory,
    consumers::Missing,
    rows::{self, Deletion},
    state::State,
};
use crate::{
    DeadLetterQuery, DeadLetters, Dropped, MAX_DEAD_LETTERS, MailboxRecord, Mailboxes, Missed, Retention,
    StoreError, dead_letter::EXPIRED, reliability::TakenBy,
};

#[async_trait]
impl DeadLetters for Memory {
    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let from = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        let found = state.dead_letters.range((from, Bound::Unbounded)).map(|(_, letter)| letter);
        let found = found.filter(|letter| query.recipient.is_none_or(|of| letter.recipient == of));
        Ok(found.take(query.limit).cloned().collect())
    }

    async fn dead_letters_by_id(&self, ids: &[DeadLetterId]) -> Result<Vec<DeadLetter>, StoreError> {
        let state = self.state();
        Ok(state.dead_letters.values().filter(|letter| ids.contains(&letter.id)).cloned().collect())
    }

    async fn forget_dead_letters(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut deletion = Deletion::of_at_most(limit);
        self.state().dead_letters.retain(|_, letter| deletion.keeps(letter.died_at < before));
        Ok(deletion.deleted())
    }

    async fn missed(
        &self,
        recipient: PartyId,
        consumer: Option<&ConsumerName>,
    ) -> Result<Missed, StoreError> {
        let mut state = self.state();
        Ok(missing(&mut state, recipient, consumer).map(|missing| missing.report()).unwrap_or_default())
    }

    async fn confirm_missed(
        &self,
        recipient: PartyId,
        consumer: Option<&ConsumerName>,
        total: Dropped,
    ) -> Result<(), StoreError> {
        if let Some(missing) = missing(&mut self.state(), recipient, consumer) {
            missing.confirm(total);
        }
        Ok(())
    }

    async fn mailboxes(
        &self,
        after: Option<PartyId>,
        with_backlog: bool,
        limit: usize,
    ) -> Result<Vec<MailboxRecord>, StoreError> {
        let owners: Vec<_> = {
            let state = self.state();
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let found = state.mailboxes.range((from, Bound::Unbounded));
            let found = found.filter(|(_, mailbox)| !with_backlog || !mailbox.waiting.is_empty());
            found.filter_map(|(owner, _)| Some((*owner, state.holder(*owner)?.role))).take(limit).collect()
        };
        let mut records = Vec::with_capacity(owners.len());
        for (owner, role) in owners {
            if let Some(state) = Mailboxes::state(self, owner).await? {
                records.push(MailboxRecord { owner, role, state });
            }
        }
        Ok(records)
    }
}

fn missing<'a>(
    state: &'a mut State,
    recipient: PartyId,
    consumer: Option<&ConsumerName>,
) -> Option<&'a mut Missing> {
    let mailbox = state.mailboxes.get_mut(&recipient)?;
    match consumer {
        Some(name) => mailbox.consumers.missing(name),
        None => Some(&mut mailbox.missed),
    }
}

/// Drops deliveries whose retention is over, and returns how many.
pub(super) fn expire(state: &mut State, now: Timestamp, retention: Retention, limit: usize) -> usize {
    let (mut left, mut dead) = (limit, Vec::new());
    for (owner, mailbox) in &mut state.mailboxes {
        for (sequence, event) in mailbox.expire(now, retention, left) {
            left -= 1;
            mailbox.consumers.miss(sequence, event.kind.is_order());
            if mailbox.count_dropped(sequence, event.kind.is_order(), now) {
                dead.push((*owner, event));
            }
        }
    }
    for (owner, event) in dead {
        bury(state, owner, event, EXPIRED, now);
    }
    limit - left
}

/// Drops one delivery, which the callback has refused too often, for the unnamed consumer.
pub(super) fn bury_one(
    state: &mut State,
    recipient: PartyId,
    sequence: Sequence,
    reason: &str,
    now: Timestamp,
) {
    let Some(mailbox) = state.mailboxes.get_mut(&recipient) else { return };
    let event = mailbox.waiting.get(&sequence).map(|waiting| waiting.event.clone());
    let event = event.filter(|event| mailbox.count_dropped(sequence, event.kind.is_order(), now));
    mailbox.take_out(sequence, TakenBy::Acknowledgement);
    if let Some(event) = event {
        bury(state, recipient, event, reason, now);
    }
}

/// Keeps an order event as a dead letter.
fn bury(state: &mut State, recipient: PartyId, event: Event, reason: &str, died_at: Timestamp) {
    if !event.kind.is_order() {
        return;
    }
    state.last_dead_letter += 1;
    let id = DeadLetterId(state.last_dead_letter);
    let letter = DeadLetter { id, recipient, event, reason: reason.to_owned(), died_at };
    state.dead_letters.insert(id, letter);
    let own = state.dead_letters.values().filter(|letter| letter.recipient == recipient);
    let ids: Vec<_> = own.map(|letter| letter.id).collect();
    for old in ids.iter().take(ids.len().saturating_sub(MAX_DEAD_LETTERS)) {
        state.dead_letters.remove(old);
    }
}

/// Returns the number of a mailbox's dead letters.
pub(super) fn count(state: &State, recipient: PartyId) -> i64 {
    let own = state.dead_letters.values().filter(|letter| letter.recipient == recipient);
    rows::count(own.count())
}
