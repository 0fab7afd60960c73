//! A store in memory with the goods and their trade, and the index of it.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, bail};
use souk_domain::{
    Action, Command, Context, DisplayName, EventId, Fingerprint, ItemId, Keys, OrderLine, OrderQuantity,
    Origin, Outcome, PartyId, RequestId, RequestKey, Role, Timestamp, action, decide,
};
use souk_search::{IndexHome, Languages, Search, SearchQuery, SearchText, StoreWriters, Synonyms, Wording};
use souk_store::{FeedPosition, Lane};
use uuid::Uuid;

use super::{
    answer::{Answer, DEPTH, Hit},
    goods::{Good, Goods},
    set::{self, Query},
};

/// The number of sellers, who list the goods in turn.
const SELLERS: u128 = 3;
/// The number of buyers. No item has more ratings.
const BUYERS: u128 = 12;
const FIRST_BUYER: u128 = 100;
/// The languages of a market by default (`search.languages`).
const LANGUAGES: [&str; 8] = ["ar", "de", "el", "en", "es", "fr", "hi", "ru"];
/// The time at which the trade begins.
const OPENING: Timestamp = Timestamp(1_750_000_000_000_000);

/// A catalogue that can be searched.
pub struct Shop {
    goods: Goods,
    items: Vec<Good>,
    places: HashMap<String, usize>,
    numbers: HashMap<ItemId, usize>,
    search: Search,
}

impl Shop {
    /// Lists the goods, carries out their trade and indexes them.
    ///
    /// # Errors
    ///
    /// Fails if the file of the goods is malformed, or if the market's rules refuse an item.
    pub async fn open(goods: Goods) -> anyhow::Result<Self> {
        let items = goods.read()?;
        let mut places = HashMap::new();
        for (place, item) in items.iter().enumerate() {
            if places.insert(item.key.clone(), place).is_some() {
                bail!("two items are called {}", item.key);
            }
        }
        let mut store = souk_store::memory::open();
        let mut trade = Trade { lane: store.lanes.remove(0), steps: 0, end: FeedPosition::default() };
        let numbers = trade.carry_out(&items).await?;
        let search = Search::open(IndexHome::Memory, wording()?, store.reads, StoreWriters::Several).await?;
        search.feed_moved(trade.end);
        search.wait_past(FeedPosition(trade.end.0 - 1)).await;
        Ok(Self { goods, items, places, numbers, search })
    }

    /// Returns the judged queries over the goods.
    ///
    /// # Errors
    ///
    /// Fails if a file of the set is malformed, or names an item that the shop does not have.
    pub fn queries(&self) -> anyhow::Result<Vec<Query>> {
        set::queries(self.goods, &self.places)
    }

    /// Searches, and grades what is found.
    ///
    /// # Errors
    ///
    /// Fails if the search does.
    pub async fn answer(&self, query: Query) -> anyhow::Result<Answer> {
        let asked = SearchQuery {
            text: SearchText::parse(&query.text)?,
            category: query.within.clone(),
            limit: DEPTH,
            ..SearchQuery::default()
        };
        let page = self.search.search(party(FIRST_BUYER), &asked).await?;
        let mut hits = Vec::new();
        for item in &page.items {
            let place = *self.numbers.get(&item.id).context("an item that was not listed")?;
            let grade = query.grades.get(&place).copied().unwrap_or(0);
            hits.push(Hit { good: self.items[place].clone(), grade });
        }
        let missed = query.grades.iter().map(|(place, grade)| (self.items[*place].clone(), *grade));
        let mut missed: Vec<_> =
            missed.filter(|(good, _)| !hits.iter().any(|hit| hit.good.key == good.key)).collect();
        missed.sort_by(|(a, grade_a), (b, grade_b)| (grade_b, &a.key).cmp(&(grade_a, &b.key)));
        Ok(Answer { goods: self.goods, query, hits, missed, total: page.total })
    }

    /// Stops the index.
    pub async fn close(self) {
        self.search.close().await;
    }
}

/// The commands by which goods get into the store.
struct Trade {
    lane: Box<dyn Lane>,
    steps: u128,
    end: FeedPosition,
}

impl Trade {
    /// Returns the places of the items in the catalogue by their numbers.
    async fn carry_out(&mut self, items: &[Good]) -> anyhow::Result<HashMap<ItemId, usize>> {
        for number in (1..=SELLERS).chain(FIRST_BUYER..FIRST_BUYER + BUYERS) {
            let role = if number < FIRST_BUYER { Role::Seller } else { Role::Buyer };
            let display_name = DisplayName::parse(&format!("party {number}"))?;
            self.act(number, action::Register { role, display_name, callback: None }).await?;
        }
        let mut numbers = HashMap::new();
        for (seller, (place, good)) in (1..=SELLERS).cycle().zip(items.iter().enumerate()) {
            let outcome = self.act(seller, action::Sell(good.listing.clone())).await;
            let Outcome::Item(item) = outcome.with_context(|| good.key.clone())? else {
                bail!("another outcome than the item");
            };
            numbers.insert(item.id, place);
            self.trade(item.id, good).await.with_context(|| good.key.clone())?;
        }
        Ok(numbers)
    }

    /// Sells what was sold of an item: one unit to each buyer who has rated it, and the rest to one buyer.
    async fn trade(&mut self, item: ItemId, good: &Good) -> anyhow::Result<()> {
        for (buyer, stars) in (FIRST_BUYER..FIRST_BUYER + BUYERS).zip(&good.stars) {
            self.buy(buyer, item, 1).await?;
            self.act(buyer, action::Rate { item, stars: *stars, update_existing: false }).await?;
        }
        let rest = good.sold - good.stars.len() as i64;
        if rest > 0 {
            self.buy(FIRST_BUYER, item, rest).await?;
        }
        Ok(())
    }

    async fn buy(&mut self, buyer: u128, item: ItemId, units: i64) -> anyhow::Result<()> {
        let quantity = OrderQuantity::parse(units)?;
        self.act(buyer, action::Buy(OrderLine { item, quantity, expected_unit_price: None })).await?;
        Ok(())
    }

    async fn act(&mut self, caller: u128, action: impl Into<Action>) -> anyhow::Result<Outcome> {
        self.steps += 1;
        let request =
            RequestKey { id: RequestId(Uuid::from_u128(self.steps)), fingerprint: Fingerprint([0; 16]) };
        let origin = Origin { role: "party", address: None };
        let command =
            Command { caller: party(caller), request, validate_only: false, action: action.into(), origin };
        let mut keys = Keys::default();
        command.add_keys(&mut keys);
        let mut rows = self.lane.load(&keys).await?;
        let now = OPENING.plus(Duration::from_millis(self.steps as u64));
        let mut events = self.steps << 32;
        let mut event_ids = || {
            events += 1;
            EventId(Uuid::from_u128(events))
        };
        let mut context = Context { now, steady_now: now, event_ids: &mut event_ids };
        let outcome = decide(&mut rows, &command, &mut context);
        let receipt = self.lane.save(&rows).await.context("saving")?;
        self.end = receipt.feed_position.unwrap_or(self.end);
        outcome.map_err(|refusal| anyhow::anyhow!("refused: {refusal:?}"))
    }
}

/// Returns the words as a market understands them by default.
fn wording() -> anyhow::Result<Wording> {
    Ok(Wording::new(Languages::parse(&LANGUAGES)?, Synonyms::default()))
}

fn party(number: u128) -> PartyId {
    PartyId(Uuid::from_u128(number))
}
