//! Expands events for wishers into deliveries, in rotation between sellers.

use std::ops::Bound;

use souk_domain::{EventKind, PartyId};

use super::state::State;
use crate::{Expansion, mailbox::SELLERS_A_STEP};

pub(super) fn expand(state: &mut State, limit: usize) -> Expansion {
    let mut recipients = Vec::new();
    let sellers = next_sellers(state);
    let (count, mut left) = (sellers.len(), limit);
    for (served, seller) in sellers.into_iter().enumerate() {
        if left == 0 {
            break;
        }
        // What a seller does not use goes to those after it.
        let share = left.div_ceil(count - served);
        left -= expand_some(state, seller, share, &mut recipients);
        state.expanded = Some(seller);
    }
    Expansion { recipients, more: !state.fan_outs.is_empty() }
}

/// Returns the sellers whose turn is next.
fn next_sellers(state: &State) -> Vec<PartyId> {
    let Some(last) = state.expanded else {
        return state.fan_outs.keys().take(SELLERS_A_STEP).copied().collect();
    };
    let after = state.fan_outs.range((Bound::Excluded(last), Bound::Unbounded));
    after.chain(state.fan_outs.range(..=last)).take(SELLERS_A_STEP).map(|(seller, _)| *seller).collect()
}

/// Expands a seller's events into up to `share` deliveries. Returns how much of its share was used; an event
/// that nobody wishes for any more costs one as well.
fn expand_some(state: &mut State, seller: PartyId, share: usize, recipients: &mut Vec<PartyId>) -> usize {
    let mut used = 0;
    while used < share {
        let Some(fan_out) = state.fan_outs.get_mut(&seller).and_then(|queued| queued.pop_front()) else {
            break;
        };
        let withdraws = matches!(fan_out.event.kind, EventKind::ItemWithdrawn { .. });
        if withdraws && state.items.get(&fan_out.item).is_some_and(|item| item.is_listed()) {
            // The seller has put it back on the market. Buyers who were not notified yet keep their wishes.
            used += 1;
            continue;
        }
        let wishers: Vec<_> = state.wishers(fan_out.item, fan_out.cursor).take(share - used).collect();
        for recipient in &wishers {
            if withdraws {
                state.remove_wish((*recipient, fan_out.item));
            }
            let mailbox = state.mailboxes.entry(*recipient).or_default();
            mailbox.put(fan_out.event.clone(), fan_out.since);
        }
        let is_full = wishers.len() >= share - used;
        used += wishers.len().max(1);
        if let (true, Some(last)) = (is_full, wishers.last()) {
            // There may be more buyers. An event is removed only at its end, so that the steps of one are
            // never mixed with those of a later event of the same item.
            let rest = super::state::FanOut { cursor: Some(*last), ..fan_out };
            state.fan_outs.entry(seller).or_default().push_front(rest);
        }
        recipients.extend(wishers);
    }
    if state.fan_outs.get(&seller).is_some_and(|queued| queued.is_empty()) {
        state.fan_outs.remove(&seller);
    }
    used
}
