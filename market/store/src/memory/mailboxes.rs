//! Mailboxes: claims, leases and pending deliveries.

use async_trait::async_trait;
use souk_domain::{PartyId, Sequence, Timestamp};

use super::{
    Memory, dead_letters, expand,
    mailbox::{Holder, Mailbox},
    rows::Deletion,
    state::State,
};
use crate::{
    ByReliability, Claim, Delivery, DueQuery, Expansion, LeaseEpoch, LeaseOwner, MailboxState, Mailboxes,
    Reliability, Retention, Settlement, StoreError, Verdict, reliability::TakenBy,
};

#[async_trait]
impl Mailboxes for Memory {
    async fn claim_due(&self, query: &DueQuery) -> Result<Vec<Claim>, StoreError> {
        let mut state = self.state();
        let State { parties, mailboxes, .. } = &mut *state;
        let mut due: Vec<_> = mailboxes
            .iter()
            .filter(|(id, mailbox)| parties.get(id).is_some_and(|party| mailbox.is_due(party, query.now)))
            .map(|(id, mailbox)| (mailbox.reliability, mailbox.is_last(query.now), mailbox.next_attempt, *id))
            .collect();
        // Orders and the long overdue first, then the longest overdue; otherwise a small batch size would starve
        // mailboxes with high ids.
        due.sort_unstable();
        let until = query.now.plus(query.lease);
        let mut claims = Vec::new();
        let of_kind = |kind| due.iter().filter(move |(of, ..)| *of == kind).take(query.mailboxes.of(kind));
        for (.., id) in Reliability::ALL.into_iter().flat_map(of_kind) {
            let (Some(party), Some(mailbox)) = (parties.get(id), mailboxes.get_mut(id)) else { continue };
            let mut claim = mailbox.claim(&Holder::of(party), query.owner, until);
            claim.deliveries = mailbox.hand_out(claim.acknowledged, query.deliveries);
            if claim.deliveries.is_empty() {
                // What was pending has expired; without this the mailbox would stay due and be claimed again
                // and again.
                mailbox.give_back();
            } else {
                claims.push(claim);
            }
        }
        Ok(claims)
    }

    async fn next_due(
        &self,
        slots: ByReliability,
        before: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let state = self.state();
        let waiting = state
            .mailboxes
            .iter()
            .filter(|(id, _)| state.parties.get(id).is_some_and(|party| party.open_callback().is_some()))
            .filter(|(_, mailbox)| slots.of(mailbox.reliability) > 0);
        let next = waiting.filter_map(|(_, m)| m.next_attempt.map(|next| (next, m.lease_until)));
        Ok(next.filter(|(next, _)| *next <= before).map(|(next, lease)| next.max(lease)).min())
    }

    async fn due(&self, now: Timestamp) -> Result<ByReliability, StoreError> {
        let state = self.state();
        let mut due = ByReliability::default();
        for (id, mailbox) in &state.mailboxes {
            if state.parties.get(id).is_some_and(|party| mailbox.is_due(party, now)) {
                due.set(mailbox.reliability, due.of(mailbox.reliability) + 1);
            }
        }
        Ok(due)
    }

    async fn take_over(
        &self,
        recipient: PartyId,
        owner: LeaseOwner,
        until: Timestamp,
    ) -> Result<Option<Claim>, StoreError> {
        let mut state = self.state();
        let found = state.holder(recipient).zip(state.mailboxes.get_mut(&recipient));
        Ok(found.map(|(holder, mailbox)| {
            mailbox.stream_until = until;
            mailbox.claim(&holder, owner, until)
        }))
    }

    async fn renew(
        &self,
        recipient: PartyId,
        epoch: LeaseEpoch,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut state = self.state();
        let held = held(&mut state, recipient, epoch);
        let renewed = held.map(|mailbox| (mailbox.lease_until, mailbox.stream_until) = (until, until));
        Ok(renewed.is_some())
    }

    async fn pending(
        &self,
        recipient: PartyId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let state = self.state();
        Ok(state.mailboxes.get(&recipient).map_or_else(Vec::new, |mailbox| mailbox.after(after, limit)))
    }

    async fn hand_out(
        &self,
        recipient: PartyId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut state = self.state();
        let mailbox = state.mailboxes.get_mut(&recipient);
        Ok(mailbox.map_or_else(Vec::new, |mailbox| mailbox.hand_out(after, limit)))
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, StoreError> {
        let mut state = self.state();
        Ok(settlements.iter().map(|settlement| settle(&mut state, settlement)).collect())
    }

    async fn acknowledge(&self, recipient: PartyId, through: Sequence) -> Result<i64, StoreError> {
        let mut state = self.state();
        let Some(mailbox) = state.mailboxes.get_mut(&recipient) else { return Ok(0) };
        mailbox.take_out(through, TakenBy::Acknowledgement);
        Ok(mailbox.pending_unnamed())
    }

    async fn state(&self, recipient: PartyId) -> Result<Option<MailboxState>, StoreError> {
        let state = Memory::state(self);
        let found = state.holder(recipient).zip(state.mailboxes.get(&recipient));
        Ok(found.map(|(holder, mailbox)| MailboxState {
            pending: mailbox.pending_unnamed(),
            oldest: mailbox.oldest(),
            acknowledged: mailbox.acknowledged,
            last_sequence: mailbox.last_sequence,
            callback: holder.callback,
            failures: mailbox.failures,
            next_attempt: mailbox.next_attempt,
            last_failure: mailbox.last_failure.clone(),
            dropped: mailbox.dropped,
            last_dropped: mailbox.last_dropped,
            dead_letters: dead_letters::count(&state, recipient),
        }))
    }

    async fn probe(&self, recipient: PartyId, now: Timestamp) -> Result<bool, StoreError> {
        let mut state = self.state();
        let Some(mailbox) = state.mailboxes.get_mut(&recipient) else { return Ok(false) };
        // Only what is pending becomes due. A mailbox without deliveries would be claimed for nothing.
        Ok(mailbox.probe(now))
    }

    async fn expand(&self, limit: usize) -> Result<Expansion, StoreError> {
        Ok(expand::expand(&mut self.state(), limit))
    }

    async fn expire(&self, now: Timestamp, retention: Retention, limit: usize) -> Result<usize, StoreError> {
        Ok(dead_letters::expire(&mut self.state(), now, retention, limit))
    }

    async fn forget_events(&self, _: Timestamp, _: usize) -> Result<usize, StoreError> {
        // Each delivery holds its event, and an expanded one is gone.
        Ok(0)
    }

    async fn remove_acknowledged(&self, _: usize) -> Result<usize, StoreError> {
        // Removed at once.
        Ok(0)
    }

    async fn forget_requests(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut deletion = Deletion::of_at_most(limit);
        self.state().requests.retain(|_, (_, done_at)| deletion.keeps(*done_at < before));
        Ok(deletion.deleted())
    }
}

/// Returns the mailbox if the claim is still the latest; this is the fence.
fn held(state: &mut State, recipient: PartyId, epoch: LeaseEpoch) -> Option<&mut Mailbox> {
    state.mailboxes.get_mut(&recipient).filter(|mailbox| mailbox.lease_epoch == epoch.0)
}

fn settle(state: &mut State, settlement: &Settlement) -> bool {
    let Some(mailbox) = held(state, settlement.recipient, settlement.epoch) else { return false };
    mailbox.lease_owner = None;
    mailbox.lease_until = Timestamp(0);
    match &settlement.verdict {
        Verdict::Delivered(through) => mailbox.take_out(*through, TakenBy::Callback),
        Verdict::Failed { retry_at, reason } => mailbox.fail(*retry_at, reason, None),
        Verdict::Refused { retry_at, reason, at } => mailbox.fail(*retry_at, reason, Some(*at)),
        Verdict::Dead { sequence, reason, at } => {
            let (recipient, sequence, at) = (settlement.recipient, *sequence, *at);
            dead_letters::bury_one(state, recipient, sequence, reason, at);
        }
        Verdict::Released => mailbox.give_back(),
    }
    true
}
