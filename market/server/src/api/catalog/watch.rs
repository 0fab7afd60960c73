//! WatchSearch: a search whose result is followed.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use futures::{Stream, stream};
use souk_domain::{Item, ItemId, Money};
use souk_proto::{
    Reason,
    v1::{self, watch_search_response::Message},
};
use souk_search::{Conditions, SearchError, SearchOrder, SearchQuery, Searcher};
use souk_store::StoreError;
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic_types::FieldViolation;

use super::{Api, read};
use crate::{
    observe::Tallied,
    watches::{Difference, End, MAX_WATCHES_OF_PARTY, Watch},
    wire,
};

/// Maximum number of items that a watched search may match.
const MAX_MATCHES: usize = SearchQuery::MAX_LIMIT;
/// Number of items that are read at a time. The next ones are read only after the client has taken these, which bounds
/// what the market buffers for a client that does not read.
const PAGE: usize = 32;
/// How long a watch tries to begin while the market is busy.
const BEGIN_PATIENCE: Duration = Duration::from_secs(10);
/// Delay before another attempt while the market is busy.
const BUSY_DELAY: Duration = Duration::from_millis(100);
/// Retry delay suggested to a party that has reached the maximum number of watched searches.
const FULL_RETRY_DELAY: Duration = Duration::from_secs(10);

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
    watch: Watch,
    /// The last change of the result that was sent.
    change: u64,
    known: HashMap<ItemId, Known>,
    /// The first matches that are not sent yet; `None` before the first search.
    unsent: Option<VecDeque<ItemId>>,
    _open: Tallied,
}

/// Returns the stream of a watched search: the matches, the synced message, then the changes.
pub(super) fn follow(
    api: Api,
    caller: Searcher,
    query: SearchQuery,
) -> Result<impl Stream<Item = Result<v1::WatchSearchResponse, Status>> + Send, Status> {
    let query = SearchQuery { order: SearchOrder::Newest, limit: MAX_MATCHES, is_exact: true, ..query };
    let conditions = Conditions::of(&query, &api.parts.search.wording());
    let watch = api.parts.watches.join(caller.party, conditions).ok_or_else(|| {
        let message = format!(
            "you watch as many searches as you may, at most {MAX_WATCHES_OF_PARTY}; end one of them first"
        );
        wire::try_again(Reason::Overloaded, message, FULL_RETRY_DELAY)
    })?;
    let open = api.parts.streams.searches.enter();
    let (change, known) = (0, HashMap::new());
    let watcher = Watcher { api, caller, query, watch, change, known, unsent: None, _open: open };
    let steps = stream::try_unfold(watcher, |mut watcher| async move {
        let (api, caller) = (watcher.api.clone(), watcher.caller.party);
        let messages = api.unless_suspended(caller, watcher.step()).await?.into_iter();
        let messages =
            messages.map(|message| Ok::<_, Status>(v1::WatchSearchResponse { message: Some(message) }));
        Ok::<_, Status>(Some((stream::iter(messages), watcher)))
    });
    Ok(futures::TryStreamExt::try_flatten(steps))
}

impl Watcher {
    async fn step(&mut self) -> Result<Vec<Message>, Status> {
        if !self.is_synced() {
            return self.begin().await;
        }
        loop {
            let Difference { changed, gone, change, more } = self.difference(PAGE)?;
            let mut messages = Vec::new();
            for item in self.load(&gone).await? {
                messages.extend(self.went(&item));
            }
            for item in self.load(&changed).await? {
                messages.extend(self.came(item)?);
            }
            self.change = change;
            if !messages.is_empty() {
                return Ok(messages.into_iter().map(Message::Change).collect());
            }
            if !more {
                self.watch.changed().await;
            }
        }
    }

    /// Returns whether all of the first matches have been sent.
    fn is_synced(&self) -> bool {
        self.unsent.as_ref().is_some_and(VecDeque::is_empty)
    }

    /// Returns the next of the first matches, and after the last ones the synced message.
    async fn begin(&mut self) -> Result<Vec<Message>, Status> {
        let mut unsent = match self.unsent.take() {
            Some(unsent) => unsent,
            None => self.first_matches().await?,
        };
        let ids: Vec<_> = unsent.drain(..unsent.len().min(PAGE)).collect();
        self.unsent = Some(unsent);
        let mut messages = Vec::with_capacity(ids.len() + 1);
        for item in self.load(&ids).await? {
            // What has changed since it was compared is reported as a change, as soon as it is compared again.
            if item.is_listed() {
                self.known.insert(item.id, Known::of(&item));
                messages.push(Message::Match(wire::item(&item)));
            }
        }
        messages.extend(self.is_synced().then_some(Message::Synced(v1::SearchSynced {})));
        Ok(messages)
    }

    async fn first_matches(&mut self) -> Result<VecDeque<ItemId>, Status> {
        let found = self.search().await?;
        self.watch.compare(found.into_iter()).await;
        let mut now = self.difference(MAX_MATCHES)?;
        if now.more {
            return too_many("more");
        }
        now.changed.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
        self.change = now.change;
        Ok(now.changed.into())
    }

    /// Searches once, for what matches already. While the market is busy, tries again.
    async fn search(&mut self) -> Result<Vec<ItemId>, Status> {
        let deadline = Instant::now() + BEGIN_PATIENCE;
        loop {
            self.query.hidden_sellers = self.api.parts.suspended.all();
            match self.api.parts.search.search(self.caller, &self.query).await {
                // An incomplete list would report the items beyond it as new as soon as they change.
                Ok(page) if page.total > MAX_MATCHES as u64 => return too_many(&page.total.to_string()),
                Ok(page) => return Ok(page.items.into_iter().map(|item| item.id).collect()),
                Err(
                    SearchError::Overloaded
                    | SearchError::Behind
                    | SearchError::Store(StoreError::Overloaded),
                ) if Instant::now() < deadline => {
                    sleep(BUSY_DELAY).await;
                }
                Err(error) => return Err(wire::search_error(&error)),
            }
        }
    }

    fn difference(&mut self, limit: usize) -> Result<Difference, Status> {
        let known = self.known.iter().filter(|(_, known)| known.matches).map(|(id, _)| *id);
        self.watch.difference(self.change, known, limit).map_err(|end| match end {
            End::TooManyMatches => wrong_query("finds ever more items; narrow it, and watch again"),
            End::SetBack => {
                let message = "the store has lost changes; watch again";
                wire::try_again(Reason::Unavailable, message, BUSY_DELAY)
            }
        })
    }

    /// Loads the current states of items, in the given order. While the store is busy, tries again.
    async fn load(&self, ids: &[ItemId]) -> Result<Vec<Item>, Status> {
        let mut loaded = HashMap::with_capacity(ids.len());
        for page in ids.chunks(PAGE) {
            let items = loop {
                match self.api.reads().items(page).await {
                    // Overload must not end the stream: changes may be sent later.
                    Err(StoreError::Overloaded) => sleep(BUSY_DELAY).await,
                    items => break read(items)?,
                }
            };
            loaded.extend(items.into_iter().map(|item| (item.id, item)));
        }
        Ok(ids.iter().filter_map(|id| loaded.remove(id)).collect())
    }

    fn came(&mut self, item: Item) -> Result<Option<v1::SearchChange>, Status> {
        use v1::SearchChangeKind::{BackInStock, Changed, New, PriceDown};
        // It was withdrawn after it was compared, and will be compared again.
        if !item.is_listed() {
            return Ok(None);
        }
        let now = Known::of(&item);
        let before = self.known.insert(item.id, now);
        let kind = match &before {
            // A later change was already sent.
            Some(before) if before.version >= item.version && before.matches => return Ok(None),
            Some(before) if !before.is_in_stock && item.quantity > 0 => BackInStock,
            Some(before) if before.unit_price.is_above(item.unit_price) => PriceDown,
            Some(before) if before.matches => Changed,
            _ => New,
        };
        if self.known.len() > MAX_MATCHES * 2 {
            // Items that no longer match are dropped to keep memory bounded.
            self.known.retain(|_, known| known.matches);
        }
        let previous = before.filter(|_| kind == PriceDown).map(|before| wire::money(before.unit_price));
        Ok(Some(v1::SearchChange {
            kind: kind.into(),
            item: Some(wire::item(&item)),
            previous_unit_price: previous,
        }))
    }

    fn went(&mut self, item: &Item) -> Option<v1::SearchChange> {
        let known = self.known.get_mut(&item.id).filter(|known| known.matches)?;
        known.matches = false;
        known.is_in_stock = item.quantity > 0;
        let kind = v1::SearchChangeKind::Gone.into();
        Some(v1::SearchChange { kind, item: Some(wire::item(item)), previous_unit_price: None })
    }
}

fn too_many<T>(total: &str) -> Result<T, Status> {
    Err(wrong_query(&format!("finds {total} items; narrow it to {MAX_MATCHES} at most")))
}

fn wrong_query(problem: &str) -> Status {
    wire::invalid_fields(vec![FieldViolation::new("query", problem)])
}
