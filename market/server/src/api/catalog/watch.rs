//! WatchSearch: a search whose result is followed.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use futures::{Stream, stream};
use souk_domain::{Item, ItemId, Money};
use souk_proto::v1::{self, watch_search_response::Message};
use souk_search::{SearchOrder, SearchQuery, Searcher};
use souk_store::FeedPosition;
use tonic::Status;

use super::{Api, read};
use crate::{
    observe::Tallied,
    wire::{self, Fields},
};

/// Maximum number of items that a watched search may match.
const MAX_MATCHES: usize = SearchQuery::MAX_LIMIT;
/// Number of changed items that are read at a time.
const PAGE: usize = 256;
/// Number of matches that are read at a time at the beginning, each time after the client has taken those before.
const MATCHES_AT_ONCE: usize = 16;

/// The state of an item as last sent to the client.
struct Known {
    unit_price: Money,
    is_in_stock: bool,
    version: i64,
    /// Whether the item still matches. An item that no longer matches is kept, because it may match again.
    matches: bool,
}

impl Known {
    fn of(item: &Item) -> Self {
        Self {
            unit_price: item.unit_price,
            is_in_stock: item.quantity > 0,
            version: item.version,
            matches: true,
        }
    }
}

struct Watcher {
    api: Api,
    caller: Searcher,
    query: SearchQuery,
    /// The position in the item feed up to which changes have been sent.
    position: FeedPosition,
    known: HashMap<ItemId, Known>,
    /// The matches that are still to be sent before the changes; `None` before the search. Only their numbers are kept,
    /// because a client that does not read may hold many watches at their beginning.
    unsent: Option<VecDeque<ItemId>>,
    is_synced: bool,
    _open: Tallied,
}

/// Returns the stream of a watched search: the matches, the synced message, then the changes.
pub(super) fn follow(
    api: Api,
    caller: Searcher,
    query: SearchQuery,
) -> impl Stream<Item = Result<v1::WatchSearchResponse, Status>> + Send {
    let query = SearchQuery { order: SearchOrder::Newest, limit: MAX_MATCHES, is_exact: true, ..query };
    let (position, known) = (FeedPosition(0), HashMap::new());
    let open = api.parts.streams.searches.enter();
    let watcher =
        Watcher { api, caller, query, position, known, unsent: None, is_synced: false, _open: open };
    let steps = stream::try_unfold(watcher, |mut watcher| async move {
        let (api, caller) = (watcher.api.clone(), watcher.caller.party);
        let messages = api.unless_suspended(caller, watcher.step()).await?.into_iter();
        let messages =
            messages.map(|message| Ok::<_, Status>(v1::WatchSearchResponse { message: Some(message) }));
        Ok::<_, Status>(Some((stream::iter(messages), watcher)))
    });
    futures::TryStreamExt::try_flatten(steps)
}

impl Watcher {
    async fn step(&mut self) -> Result<Vec<Message>, Status> {
        if !self.is_synced {
            return self.begin().await;
        }
        loop {
            // Waits for the index rather than for the feed: a change that is not indexed yet could not be
            // matched.
            self.api.parts.search.wait_past(self.position).await;
            let changes = self.changes().await?;
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    /// Returns the next matches, and in the end that these were all.
    async fn begin(&mut self) -> Result<Vec<Message>, Status> {
        if self.unsent.is_none() {
            self.search().await?;
        }
        let unsent = self.unsent.get_or_insert_default();
        let ids: Vec<_> = unsent.drain(..unsent.len().min(MATCHES_AT_ONCE)).collect();
        self.is_synced = unsent.is_empty();
        let mut items: HashMap<_, _> = HashMap::new();
        if !ids.is_empty() {
            let found = read(self.api.reads().items(&ids).await)?;
            items.extend(found.into_iter().filter(Item::is_listed).map(|item| (item.id, item)));
        }
        let mut messages = Vec::with_capacity(ids.len() + 1);
        for id in &ids {
            // One that was deleted meanwhile was never sent, so nothing is to be said about it.
            let Some(item) = items.remove(id) else {
                self.known.remove(id);
                continue;
            };
            self.known.insert(*id, Known::of(&item));
            messages.push(Message::Match(wire::item(&item)));
        }
        messages.extend(self.is_synced.then_some(Message::Synced(v1::SearchSynced {})));
        Ok(messages)
    }

    async fn search(&mut self) -> Result<(), Status> {
        // Read the position before searching. A change in between is then examined again, which is harmless because
        // it is compared with what was sent; the other way round it would be missed.
        self.position = self.api.parts.search.load().indexed;
        self.query.hidden_sellers = self.api.parts.suspended.all();
        let search = &self.api.parts.search;
        let page = search.search(self.caller, &self.query).await;
        let page = page.map_err(|error| wire::search_error(&error))?;
        // An incomplete list would report the items beyond it as new as soon as they change.
        if page.total > MAX_MATCHES as u64 {
            let mut fields = Fields::new();
            fields.wrong("query", format!("finds {} items; narrow it to {MAX_MATCHES} at most", page.total));
            return fields.finish(None);
        }
        self.known = page.items.iter().map(|item| (item.id, Known::of(item))).collect();
        self.unsent = Some(page.items.iter().map(|item| item.id).collect());
        Ok(())
    }

    /// Reads the next part of the feed and returns the changes to what was sent.
    async fn changes(&mut self) -> Result<Vec<Message>, Status> {
        let indexed = self.api.parts.search.load().indexed;
        let mut entries = read(self.api.reads().item_feed(self.position, PAGE).await)?;
        // Stop where the index ends: later entries would be compared with a stale index.
        let is_all = entries.len() < PAGE;
        entries.retain(|entry| entry.position <= indexed);
        // If the whole rest of the feed was read, skip to what is indexed even if no entry is that far.
        let last = entries.last().map_or(self.position, |entry| entry.position);
        self.position = if is_all { last.max(indexed) } else { last };
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let among: Arc<[ItemId]> = entries.iter().map(|entry| entry.item.id).collect();
        let query = SearchQuery {
            among: Some(among),
            hidden_sellers: self.api.parts.suspended.all(),
            ..self.query.clone()
        };
        let found = self.api.parts.search.search(self.caller.party, &query).await;
        let found = found.map_err(|error| wire::search_error(&error))?.items;
        let mut found: HashMap<_, _> = found.into_iter().map(|item| (item.id, item)).collect();
        let mut messages = Vec::new();
        for entry in entries {
            let change = match found.remove(&entry.item.id) {
                Some(item) => self.came(item)?,
                None => self.went(&entry.item),
            };
            messages.extend(change.map(Message::Change));
        }
        Ok(messages)
    }

    fn came(&mut self, item: Item) -> Result<Option<v1::SearchChange>, Status> {
        use v1::SearchChangeKind::{BackInStock, Changed, New, PriceDown};
        let now = Known::of(&item);
        let before = self.known.insert(item.id, now);
        let kind = match &before {
            // An entry that was examined before, or one that the first search had already included.
            Some(before) if before.version >= item.version && before.matches => return Ok(None),
            Some(before) if !before.is_in_stock && item.quantity > 0 => BackInStock,
            Some(before) if before.unit_price.is_above(item.unit_price) => PriceDown,
            Some(before) if before.matches => Changed,
            _ => New,
        };
        if self.known.len() > MAX_MATCHES * 2 {
            // Items that no longer match are dropped to keep memory bounded.
            self.known.retain(|_, known| known.matches);
            if self.known.len() > MAX_MATCHES * 2 {
                let mut fields = Fields::new();
                fields.wrong("query", "finds ever more items; narrow it, and watch again");
                return fields.finish(None);
            }
        }
        let previous = before.filter(|_| kind == PriceDown).map(|before| wire::money(before.unit_price));
        Ok(Some(v1::SearchChange {
            kind: kind.into(),
            item: Some(wire::item(&item)),
            previous_unit_price: previous,
        }))
    }

    fn went(&mut self, item: &Item) -> Option<v1::SearchChange> {
        // Reported only if it was a match that the client has seen. Most changes in the feed concern other
        // items.
        let known = self.known.get_mut(&item.id).filter(|known| known.matches)?;
        known.matches = false;
        known.is_in_stock = item.quantity > 0;
        let kind = v1::SearchChangeKind::Gone.into();
        Some(v1::SearchChange { kind, item: Some(wire::item(item)), previous_unit_price: None })
    }
}
