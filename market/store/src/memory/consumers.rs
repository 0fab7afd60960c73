//! The named consumers of mailboxes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use souk_domain::{ConsumerName, PartyId, Sequence, Timestamp};
use uuid::Uuid;

use super::{
    Memory,
    rows::{Deletion, count},
};
use crate::{
    ConsumerOpening, ConsumerRemoval, ConsumerState, ConsumerStream, Consumers, Dropped, LeaseEpoch,
    MAX_CONSUMERS, MAX_COUNTED, Missed, StoreError, consumer::unnamed_since,
};

/// The named consumers of one mailbox.
#[derive(Default)]
pub(super) struct Named(BTreeMap<ConsumerName, Consumer>);

#[derive(Default)]
struct Consumer {
    acknowledged: i64,
    seen_at: Timestamp,
    holder: Uuid,
    lease_epoch: i64,
    lease_until: Timestamp,
    missed: Missing,
}

/// What a consumer has missed.
#[derive(Clone, Copy, Default)]
pub(super) struct Missing {
    total: Dropped,
    confirmed: Dropped,
}

impl Missing {
    pub(super) fn add(&mut self, is_order: bool) {
        self.total.add(is_order);
    }

    pub(super) fn report(self) -> Missed {
        Missed::since(self.confirmed, self.total)
    }

    pub(super) fn confirm(&mut self, total: Dropped) {
        if total.orders <= self.total.orders && total.updates <= self.total.updates {
            self.confirmed.orders = self.confirmed.orders.max(total.orders);
            self.confirmed.updates = self.confirmed.updates.max(total.updates);
        }
    }
}

impl Named {
    /// Returns the cursors of all consumers.
    pub(super) fn cursors(&self) -> impl Iterator<Item = i64> {
        self.0.values().map(|consumer| consumer.acknowledged)
    }

    /// Counts a dropped delivery for the consumers that miss it.
    pub(super) fn miss(&mut self, sequence: Sequence, is_order: bool) {
        for consumer in self.0.values_mut().filter(|consumer| consumer.acknowledged < sequence.0) {
            consumer.missed.add(is_order);
        }
    }

    /// Returns what a consumer has missed; `None` if the name is unknown.
    pub(super) fn missing(&mut self, name: &ConsumerName) -> Option<&mut Missing> {
        self.0.get_mut(name).map(|consumer| &mut consumer.missed)
    }

    fn held(&mut self, stream: &ConsumerStream, epoch: LeaseEpoch) -> Option<&mut Consumer> {
        self.0.get_mut(&stream.name).filter(|consumer| consumer.lease_epoch == epoch.0)
    }
}

#[async_trait]
impl Consumers for Memory {
    async fn open_consumer(
        &self,
        stream: &ConsumerStream,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<ConsumerOpening, StoreError> {
        let mut state = self.state();
        let Some(mailbox) = state.mailboxes.get_mut(&stream.recipient) else {
            return Ok(ConsumerOpening::NoMailbox);
        };
        let last_sequence = Sequence(mailbox.last_sequence);
        let named = &mut mailbox.consumers.0;
        if !named.contains_key(&stream.name) && named.len() + 1 >= MAX_CONSUMERS {
            return Ok(ConsumerOpening::Full(named.keys().cloned().collect()));
        }
        let consumer = named.entry(stream.name.clone()).or_default();
        if consumer.lease_until > now && consumer.holder != stream.holder {
            return Ok(ConsumerOpening::Guest { last_sequence });
        }
        consumer.holder = stream.holder;
        consumer.lease_epoch += 1;
        (consumer.lease_until, consumer.seen_at) = (until, until);
        let (epoch, acknowledged) = (LeaseEpoch(consumer.lease_epoch), Sequence(consumer.acknowledged));
        Ok(ConsumerOpening::Held { epoch, acknowledged, last_sequence })
    }

    async fn renew_consumer(
        &self,
        stream: &ConsumerStream,
        epoch: LeaseEpoch,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut state = self.state();
        let mailbox = state.mailboxes.get_mut(&stream.recipient);
        let held = mailbox.and_then(|mailbox| mailbox.consumers.held(stream, epoch));
        Ok(held.map(|consumer| (consumer.lease_until, consumer.seen_at) = (until, until)).is_some())
    }

    async fn release_consumer(&self, stream: &ConsumerStream, epoch: LeaseEpoch) -> Result<(), StoreError> {
        let mut state = self.state();
        let mailbox = state.mailboxes.get_mut(&stream.recipient);
        if let Some(consumer) = mailbox.and_then(|mailbox| mailbox.consumers.held(stream, epoch)) {
            consumer.lease_until = Timestamp(0);
        }
        Ok(())
    }

    async fn acknowledge_consumer(
        &self,
        recipient: PartyId,
        name: &ConsumerName,
        through: Sequence,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        let mut state = self.state();
        let has_callback = state.parties.get(&recipient).is_some_and(|party| party.open_callback().is_some());
        let Some(mailbox) = state.mailboxes.get_mut(&recipient) else { return Ok(None) };
        let last = mailbox.last_sequence;
        let Some(consumer) = mailbox.consumers.0.get_mut(name) else { return Ok(None) };
        consumer.seen_at = consumer.seen_at.max(now);
        if through.0 <= last {
            consumer.acknowledged = consumer.acknowledged.max(through.0);
        }
        let cursor = consumer.acknowledged;
        // What a consumer has received must not be merged any more.
        mailbox.handed_out = mailbox.handed_out.max(cursor);
        let counts = has_callback || mailbox.stream_until > unnamed_since(now);
        mailbox.remove_received(counts.then_some(mailbox.acknowledged));
        Ok(Some(counted(mailbox.pending(cursor))))
    }

    async fn remove_consumer(
        &self,
        recipient: PartyId,
        name: &ConsumerName,
        now: Timestamp,
    ) -> Result<ConsumerRemoval, StoreError> {
        let mut state = self.state();
        let has_callback = state.parties.get(&recipient).is_some_and(|party| party.open_callback().is_some());
        let Some(mailbox) = state.mailboxes.get_mut(&recipient) else { return Ok(ConsumerRemoval::Unknown) };
        match mailbox.consumers.0.get(name) {
            None => return Ok(ConsumerRemoval::Unknown),
            Some(consumer) if consumer.lease_until > now => return Ok(ConsumerRemoval::Connected),
            Some(_) => mailbox.consumers.0.remove(name),
        };
        let counts = has_callback || mailbox.stream_until > unnamed_since(now);
        mailbox.remove_received(counts.then_some(mailbox.acknowledged));
        Ok(ConsumerRemoval::Removed)
    }

    async fn consumers(&self, recipient: PartyId) -> Result<Vec<ConsumerState>, StoreError> {
        let state = self.state();
        let Some(mailbox) = state.mailboxes.get(&recipient) else { return Ok(Vec::new()) };
        let named = mailbox.consumers.0.iter();
        Ok(named
            .map(|(name, consumer)| ConsumerState {
                name: name.clone(),
                acknowledged: consumer.acknowledged,
                seen_at: consumer.seen_at,
                lease_until: consumer.lease_until,
                pending: counted(mailbox.pending(consumer.acknowledged)),
            })
            .collect())
    }

    async fn drop_consumers(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut deletion = Deletion::of_at_most(limit);
        for mailbox in self.state().mailboxes.values_mut() {
            mailbox.consumers.0.retain(|_, consumer| deletion.keeps(consumer.seen_at < before));
        }
        Ok(deletion.deleted())
    }
}

pub(super) fn counted(pending: i64) -> i64 {
    pending.min(count(MAX_COUNTED))
}
