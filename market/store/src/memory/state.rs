//! The state: every row, in maps by key.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
};

use souk_domain::{
    Callback, Event, Item, ItemId, Order, OrderId, Party, PartyId, Recorded, RequestId, Ride, RideId, Role,
    SalesChange, SalesKey, Sequence, Sku, Stars, Till, TillId, Timestamp, Topic, Wish,
};
use uuid::Uuid;

use crate::{
    Claim, Delivery, FeedPosition, LeaseEpoch, LeaseOwner, Reliability, TrackPoint,
    audit::{AuditRow, Head},
    mailbox::TakenBy,
};

/// All rows of the store.
#[derive(Default)]
pub(super) struct State {
    pub(super) parties: BTreeMap<PartyId, Party>,
    pub(super) items: BTreeMap<ItemId, Item>,
    /// Listed items, by seller and SKU.
    pub(super) skus: BTreeMap<(PartyId, Sku), ItemId>,
    pub(super) feed: BTreeMap<FeedPosition, ItemId>,
    pub(super) feed_positions: BTreeMap<ItemId, FeedPosition>,
    pub(super) orders: BTreeMap<OrderId, Order>,
    pub(super) rides: BTreeMap<RideId, Ride>,
    pub(super) tills: BTreeMap<TillId, Till>,
    pub(super) tracks: BTreeMap<RideId, Vec<TrackPoint>>,
    pub(super) wishes: BTreeMap<(PartyId, ItemId), Wish>,
    /// The same wishes by item.
    pub(super) wishers: BTreeSet<(ItemId, PartyId)>,
    pub(super) ratings: BTreeMap<(PartyId, ItemId), Stars>,
    pub(super) requests: BTreeMap<(PartyId, RequestId), (Recorded, Timestamp)>,
    pub(super) mailboxes: BTreeMap<PartyId, Mailbox>,
    /// The events for wishers that are to be expanded, in their order, by seller. None is empty.
    pub(super) fan_outs: BTreeMap<PartyId, VecDeque<FanOut>>,
    /// The seller whose events were expanded last.
    pub(super) expanded: Option<PartyId>,
    pub(super) audit: Vec<AuditRow>,
    pub(super) archived: Archived,
    pub(super) last_item: i64,
    pub(super) last_order: i64,
    pub(super) last_feed: i64,
}

/// What is kept of pruned orders and audit entries.
pub(super) struct Archived {
    /// The sums of the orders that were not cancelled.
    pub(super) sales: BTreeMap<SalesKey, SalesChange>,
    pub(super) cancelled: i64,
    /// The buyers of listed items.
    pub(super) bought: BTreeSet<(PartyId, ItemId)>,
    pub(super) audit_base: Head,
}

impl Default for Archived {
    fn default() -> Self {
        Self { sales: BTreeMap::new(), cancelled: 0, bought: BTreeSet::new(), audit_base: Head::START }
    }
}

/// An event for wishers, and how far it has been expanded.
pub(super) struct FanOut {
    pub(super) event: Event,
    pub(super) item: ItemId,
    pub(super) cursor: Option<PartyId>,
}

/// The mailbox of a party or a till.
pub(super) struct Mailbox {
    pub(super) waiting: BTreeMap<Sequence, Event>,
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
                event = event.merge(&older);
            }
        }
        if event.kind.is_order() {
            self.last_order = self.last_sequence;
        }
        // A new sequence: a recipient that has acknowledged the older one must get the result too.
        self.waiting.insert(sequence, event);
        self.next_attempt = Some(match self.next_attempt {
            // A new event does not end the back-off, or a busy seller with a dead callback would be called for
            // each purchase.
            Some(next) if self.failures > 0 => next,
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

    /// Removes everything up to a sequence and resets the failures. A sequence that was never assigned has
    /// no effect.
    pub(super) fn take_out(&mut self, through: Sequence, by: TakenBy) {
        // A cursor of another market or of an earlier store would otherwise discard events that were never
        // delivered.
        if through.0 > self.last_sequence {
            return;
        }
        self.waiting = self.waiting.split_off(&Sequence(through.0.saturating_add(1)));
        // An acknowledgement may arrive late and name less than an earlier one.
        self.acknowledged = self.acknowledged.max(through.0);
        self.failures = 0;
        self.reliability = by.reliability(self.reliability);
        self.last_failure.clear();
        if self.waiting.is_empty() {
            self.topics.clear();
        }
        self.next_attempt = (!self.waiting.is_empty()).then_some(Timestamp(0));
    }

    /// Ends a lease. The mailbox stays due only if something is pending.
    pub(super) fn give_back(&mut self) {
        self.lease_owner = None;
        self.lease_until = Timestamp(0);
        self.next_attempt =
            if self.waiting.is_empty() { None } else { Some(self.next_attempt.unwrap_or_default()) };
    }

    /// Returns whether no order event is pending. Such mailboxes are served last.
    pub(super) fn is_quiet(&self) -> bool {
        self.last_order <= self.acknowledged
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
        Claim {
            recipient: of.mailbox,
            role: of.role,
            callback: of.callback.clone(),
            epoch: LeaseEpoch(self.lease_epoch),
            last_sequence: Sequence(self.last_sequence),
            failures: self.failures,
            reliability: self.reliability,
            deliveries: Vec::new(),
        }
    }

    pub(super) fn after(&self, after: Sequence, limit: usize) -> Vec<Delivery> {
        self.waiting
            .range(Sequence(after.0.saturating_add(1))..)
            .take(limit)
            .map(|(sequence, event)| Delivery { sequence: *sequence, event: event.clone() })
            .collect()
    }
}

/// The owner of a mailbox: a party, or a till, which has no callback.
pub(super) struct Holder {
    mailbox: PartyId,
    role: Role,
    pub(super) callback: Option<Callback>,
}

impl Holder {
    pub(super) fn of(party: &Party) -> Self {
        Self { mailbox: party.id, role: party.role, callback: party.open_callback().cloned() }
    }
}

impl State {
    /// Returns the owner of a mailbox. The mailbox of a removed till stays.
    pub(super) fn holder(&self, mailbox: PartyId) -> Option<Holder> {
        match self.parties.get(&mailbox) {
            Some(party) => Some(Holder::of(party)),
            None => self.mailboxes.contains_key(&mailbox).then_some(Holder {
                mailbox,
                role: Role::Seller,
                callback: None,
            }),
        }
    }

    /// Returns the buyers who wish for an item, starting after a party.
    pub(super) fn wishers(&self, item: ItemId, after: Option<PartyId>) -> impl Iterator<Item = PartyId> {
        let from = after
            .map_or(Bound::Included((item, PartyId(Uuid::nil()))), |after| Bound::Excluded((item, after)));
        let of_item = self.wishers.range((from, Bound::Unbounded));
        of_item.take_while(move |(of, _)| *of == item).map(|(_, buyer)| *buyer)
    }

    pub(super) fn put_wish(&mut self, key: (PartyId, ItemId), wish: Wish) {
        self.wishes.insert(key, wish);
        self.wishers.insert((key.1, key.0));
    }

    pub(super) fn remove_wish(&mut self, key: (PartyId, ItemId)) {
        self.wishes.remove(&key);
        self.wishers.remove(&(key.1, key.0));
    }

    /// Returns the end of the audit log.
    pub(super) fn audit_head(&self) -> Head {
        self.audit
            .last()
            .map_or(self.archived.audit_base, |last| Head { sequence: last.sequence, hash: last.hash })
    }

    /// Returns an item with its seller's current name.
    pub(super) fn item(&self, id: ItemId) -> Option<Item> {
        let mut item = self.items.get(&id)?.clone();
        if let Some(seller) = self.parties.get(&item.seller) {
            // Joined when read: a rename must not rewrite all items of a seller.
            item.seller_name = seller.display_name.clone();
        }
        Some(item)
    }

    /// Moves changed items to the end of the feed. Each item is in the feed once, at its latest change.
    pub(super) fn move_in_feed(&mut self, changed: &BTreeSet<ItemId>) -> Option<FeedPosition> {
        for item in changed {
            if let Some(before) = self.feed_positions.get(item) {
                self.feed.remove(before);
            }
            self.last_feed += 1;
            let position = FeedPosition(self.last_feed);
            self.feed.insert(position, *item);
            self.feed_positions.insert(*item, position);
        }
        (!changed.is_empty()).then_some(FeedPosition(self.last_feed))
    }
}
