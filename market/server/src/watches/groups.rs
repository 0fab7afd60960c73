//! The results of watched searches, one for each distinct query.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use souk_domain::{Item, ItemId, PartyId};
use souk_search::{Conditions, ItemTerms, SearchQuery, StandingQueries};
use tokio::sync::watch;

/// Maximum number of watched searches.
pub const MAX_WATCHES: usize = 8_192;
/// Maximum number of watched searches of one party; fewer if as many are not left.
pub const MAX_WATCHES_OF_PARTY: usize = 128;
/// Maximum number of items in a result. A watch begins with at most half as many.
pub(super) const MAX_RESULT: usize = 2 * SearchQuery::MAX_LIMIT;

/// The number of a group.
pub(super) type GroupId = u64;

/// All results, and who watches them.
#[derive(Default)]
pub(super) struct Groups {
    queries: StandingQueries<GroupId>,
    groups: HashMap<GroupId, Group>,
    /// The groups that can be joined.
    by_conditions: HashMap<Conditions, GroupId>,
    /// The groups whose result contains an item. Items in no result have no entry.
    by_item: BTreeMap<ItemId, Vec<GroupId>>,
    by_party: HashMap<PartyId, usize>,
    watchers: usize,
    last_group: GroupId,
    /// The number of the latest change. Changes are numbered so that each watcher can continue where it was.
    last_change: u64,
}

/// The watchers of one query, and its result.
struct Group {
    conditions: Conditions,
    result: HashMap<ItemId, Matched>,
    /// Notified when the result has changed.
    news: watch::Sender<()>,
    watchers: usize,
    end: Option<End>,
}

/// An item in a result.
#[derive(Clone, Copy)]
struct Matched {
    /// The item's version when it was compared last.
    version: i64,
    /// The number of the change.
    change: u64,
}

/// Why no watch of a group can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// More items match than a result can hold.
    TooManyMatches,
    /// The store has lost changes that were reported.
    SetBack,
}

/// What has changed in a result since a watcher looked last.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Items that are in the result and have changed, oldest change first.
    pub changed: Vec<ItemId>,
    /// Known items that are no longer in the result.
    pub gone: Vec<ItemId>,
    /// The number of the last change in `changed`, to continue from.
    pub change: u64,
    /// Whether there are more changes.
    pub more: bool,
}

impl Groups {
    /// Adds a watcher. `None` if the maximum number of watchers, in total or of the party, is reached.
    pub(super) fn join(
        &mut self,
        party: PartyId,
        conditions: Conditions,
    ) -> Option<(GroupId, watch::Receiver<()>)> {
        let watching = self.by_party.get(&party).copied().unwrap_or_default();
        let free = MAX_WATCHES.saturating_sub(self.watchers);
        // No more than are left for others (Choudhury and Hahne, 1998).
        if watching >= free.min(MAX_WATCHES_OF_PARTY) {
            return None;
        }
        *self.by_party.entry(party).or_default() += 1;
        self.watchers += 1;
        let id = match self.by_conditions.get(&conditions) {
            Some(id) => *id,
            None => self.add(conditions),
        };
        let group = self.groups.get_mut(&id)?;
        group.watchers += 1;
        Some((id, group.news.subscribe()))
    }

    fn add(&mut self, conditions: Conditions) -> GroupId {
        self.last_group += 1;
        self.queries.insert(self.last_group, conditions.clone());
        self.by_conditions.insert(conditions.clone(), self.last_group);
        let (result, news) = (HashMap::new(), watch::Sender::new(()));
        self.groups.insert(self.last_group, Group { conditions, result, news, watchers: 0, end: None });
        self.last_group
    }

    /// Removes a watcher, and the group with its last one.
    pub(super) fn leave(&mut self, party: PartyId, id: GroupId) {
        if let Some(count) = self.by_party.get_mut(&party) {
            *count -= 1;
            self.watchers -= 1;
            if *count == 0 {
                self.by_party.remove(&party);
            }
        }
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.watchers -= 1;
        if group.watchers == 0 {
            self.end(id, End::SetBack);
            self.groups.remove(&id);
        }
    }

    /// Ends a group, and forgets its result.
    fn end(&mut self, id: GroupId, end: End) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        self.queries.remove(id);
        // A group that ended earlier may have a successor.
        if self.by_conditions.get(&group.conditions) == Some(&id) {
            self.by_conditions.remove(&group.conditions);
        }
        for item in group.result.drain().map(|(item, _)| item) {
            if let Some(groups) = self.by_item.get_mut(&item) {
                groups.retain(|of| *of != id);
                if groups.is_empty() {
                    self.by_item.remove(&item);
                }
            }
        }
        group.end = Some(end);
        group.news.send_replace(());
    }

    /// Ends all groups.
    pub(super) fn end_all(&mut self, end: End) {
        for id in self.groups.keys().copied().collect::<Vec<_>>() {
            self.end(id, end);
        }
    }

    /// Compares the current state of an item with the queries that it may match. `terms` are the item's; `None` means that
    /// no search finds it, because its seller is suspended.
    pub(super) fn evaluate(&mut self, item: &Item, terms: Option<&ItemTerms>) {
        let matching = terms.map_or_else(Vec::new, |terms| self.queries.matching(item, terms));
        let before = self.by_item.remove(&item.id).unwrap_or_default();
        self.last_change += 1;
        for id in before.iter().filter(|id| matching.binary_search(id).is_err()) {
            if let Some(group) = self.groups.get_mut(id) {
                group.result.remove(&item.id);
                group.news.send_replace(());
            }
        }
        if matching.is_empty() {
            return;
        }
        let mut full = Vec::new();
        for id in &matching {
            let Some(group) = self.groups.get_mut(id) else { continue };
            let matched = Matched { version: item.version, change: self.last_change };
            match group.result.get(&item.id) {
                // Compared before, for example for another watcher.
                Some(known) if known.version == item.version => continue,
                None if group.result.len() >= MAX_RESULT => full.push(*id),
                _ => {}
            }
            group.result.insert(item.id, matched);
            group.news.send_replace(());
        }
        self.by_item.insert(item.id, matching);
        for id in full {
            self.end(id, End::TooManyMatches);
        }
    }

    /// Returns what has changed in a group's result after a change, at most `limit` items, and which of the known
    /// items are gone.
    pub(super) fn difference(
        &self,
        id: GroupId,
        after: u64,
        known: impl Iterator<Item = ItemId>,
        limit: usize,
    ) -> Result<Difference, End> {
        let group = self.groups.get(&id).ok_or(End::SetBack)?;
        if let Some(end) = group.end {
            return Err(end);
        }
        let mut changed: Vec<_> = group
            .result
            .iter()
            .filter(|(_, matched)| matched.change > after)
            .map(|(item, matched)| (matched.change, *item))
            .collect();
        changed.sort_unstable();
        let more = changed.len() > limit;
        changed.truncate(limit);
        let change = changed.last().map_or(after, |(change, _)| *change);
        let gone = known.filter(|item| !group.result.contains_key(item)).collect();
        Ok(Difference { changed: changed.into_iter().map(|(_, item)| item).collect(), gone, change, more })
    }

    /// Returns whether an item is in a result.
    pub(super) fn contains(&self, item: ItemId) -> bool {
        self.by_item.contains_key(&item)
    }

    /// Returns up to `limit` items that are in any result, in ascending order, beginning after one and continuing from
    /// the first.
    pub(super) fn items_after(&self, after: ItemId, limit: usize) -> Vec<ItemId> {
        let rest = self.by_item.range((Bound::Excluded(after), Bound::Unbounded));
        let items = rest.chain(self.by_item.range(..=after)).map(|(item, _)| *item);
        items.take(limit).collect()
    }

    /// Returns whether there are no watchers.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Returns the number of distinct queries.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Returns how many times a query was compared with an item.
    pub(super) fn compared(&self) -> u64 {
        self.queries.compared()
    }
}
