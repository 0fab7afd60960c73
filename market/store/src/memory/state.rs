//! The state: every row, in maps by key.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
};

use souk_domain::{
    DeadLetter, DeadLetterId, Event, Item, ItemId, NameKey, Party, PartyId, Recorded, RequestId, Ride,
    RideId, Role, SalesChange, SalesKey, Sku, Stars, Tally, Till, TillId, Timestamp, Wish,
};
use uuid::Uuid;

use super::{
    mailbox::{Holder, Mailbox},
    orders::Orders,
};
use crate::{
    ClockMark, FeedPosition, PublishedKey, SweepMark, TrackPoint,
    audit::{AuditRow, Head},
};

/// All rows of the store.
#[derive(Default)]
pub(super) struct State {
    pub(super) parties: BTreeMap<PartyId, Party>,
    pub(super) items: BTreeMap<ItemId, Item>,
    /// Who has a display name, or one that looks like it.
    pub(super) names: BTreeMap<NameKey, PartyId>,
    /// Listed items, by seller and SKU.
    pub(super) skus: BTreeMap<(PartyId, Sku), ItemId>,
    pub(super) feed: BTreeMap<FeedPosition, ItemId>,
    pub(super) feed_positions: BTreeMap<ItemId, FeedPosition>,
    pub(super) orders: Orders,
    pub(super) rides: BTreeMap<RideId, Ride>,
    pub(super) tills: BTreeMap<TillId, Till>,
    /// The points of each ride, with the steady time at which they were stored.
    pub(super) tracks: BTreeMap<RideId, Vec<(TrackPoint, Timestamp)>>,
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
    pub(super) dead_letters: BTreeMap<DeadLetterId, DeadLetter>,
    pub(super) last_dead_letter: i64,
    pub(super) audit: Vec<AuditRow>,
    pub(super) clock: Option<ClockMark>,
    /// The public keys of markets, by id.
    pub(super) market_keys: BTreeMap<String, PublishedKey>,
    /// The units sold by item and day, in orders that were not cancelled.
    pub(super) sold: BTreeMap<(ItemId, i64), i64>,
    pub(super) sweep: SweepMark,
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
    /// The buyers of items that are listed, or that they have rated.
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
    /// The steady time of the event.
    pub(super) since: Timestamp,
    pub(super) item: ItemId,
    pub(super) cursor: Option<PartyId>,
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

    /// Adds what a batch has sold.
    pub(super) fn count_sold(&mut self, tally: &Tally) {
        for (key, change) in &tally.sales {
            *self.sold.entry((key.item, key.day)).or_default() += change.units;
        }
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
