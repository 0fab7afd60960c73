//! Loads and locks the rows that a batch names, in one round trip, or in two if items have to be found by
//! orders or SKUs first.

use std::collections::{BTreeMap, BTreeSet};

use souk_domain::{
    IdRange, ItemId, Keys, NameKey, OrderId, Party, PartyId, RequestId, RideId, Sku, Stars, Till, TillId,
    Timestamp, Wish, WorkingSet,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    connection::{Connection, PATIENCE, params},
    convert::{self, get, unreadable},
    error::Failure,
    rows::pairs,
    statements as sql,
};
use crate::Standing;

/// The keys of rides, tills, orders and SKUs, as array columns for the statements.
struct Columns {
    rides: Vec<Uuid>,
    tills: Vec<Uuid>,
    orders: Vec<i64>,
    /// The sellers of `skus`, at the same positions.
    sellers: Vec<Uuid>,
    skus: Vec<String>,
}

impl Columns {
    fn of(keys: &Keys) -> Self {
        Self {
            rides: keys.rides.iter().map(|id| id.0).collect(),
            tills: keys.tills.iter().map(|id| id.0).collect(),
            orders: keys.orders.iter().map(|id| id.0).collect(),
            sellers: keys.skus.iter().map(|(seller, _)| seller.0).collect(),
            skus: keys.skus.iter().map(|(_, sku)| sku.as_str().to_owned()).collect(),
        }
    }
}

/// Returns the keys of the rows that other transactions have locked. An order counts as locked if its item
/// is.
pub(super) async fn held(connection: &mut Connection, keys: &Keys) -> Result<Keys, Failure> {
    let mut held = Keys::default();
    let Columns { rides, tills, orders, sellers, skus } = Columns::of(keys);
    for row in connection.query(sql::HELD_RIDES, params![rides]).await? {
        held.rides.insert(RideId(get(&row, 0)?));
    }
    for row in connection.query(sql::HELD_TILLS, params![tills]).await? {
        held.tills.insert(TillId(get(&row, 0)?));
    }
    for row in connection.query(sql::HELD_ORDERS, params![orders]).await? {
        held.orders.insert(OrderId(get(&row, 0)?));
    }
    let mut items: Vec<i64> = keys.items.iter().map(|id| id.0).collect();
    // The item of a SKU is what gets locked, so SKUs are looked up before the items.
    for row in connection.query(sql::FIND_SKUS, params![sellers, skus]).await? {
        items.push(get(&row, 0)?);
    }
    for row in connection.query(sql::HELD_ITEMS, params![items]).await? {
        held.items.insert(ItemId(get(&row, 0)?));
        if let Some(sku) = get::<Option<&str>>(&row, 2)? {
            held.skus.insert((convert::party_id(&row, 1)?, Sku::parse(sku).map_err(unreadable)?));
        }
    }
    Ok(held)
}

/// The loaded rows, with what only the lane needs to know about them.
pub(super) struct Loaded {
    pub(super) rows: WorkingSet,
    /// The parties that exist, as they were loaded.
    pub(super) parties: BTreeMap<PartyId, Before>,
}

/// What was true of a party when it was loaded, to check when it is saved.
pub(super) struct Before {
    /// The number of changes to the row. It is saved only if this still matches (optimistic locking).
    pub(super) revision: i64,
    standing: Standing,
    tills: Vec<TillId>,
}

impl Before {
    fn of(party: &Party, revision: i64) -> Self {
        Self { revision, standing: Standing::of(party), tills: party.tills.clone() }
    }

    /// Returns whether the change matters to concurrent batches: a suspension, a reinstatement, or other
    /// tills. Those that still show its former name do no harm.
    pub(super) fn weighs_otherwise_than(&self, now: &Party) -> bool {
        self.standing != Standing::of(now) || self.tills != now.tills
    }
}

/// How many new numbers to reserve, in addition to the lane's spare ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewNumbers {
    pub(super) items: usize,
    pub(super) orders: usize,
}

/// Begins a transaction and loads the rows.
pub(super) async fn load(
    connection: &Connection,
    keys: &Keys,
    numbers: NewNumbers,
) -> Result<Loaded, Failure> {
    let mut rows = WorkingSet::default();
    let mut items: BTreeSet<ItemId> = keys.items.clone();
    // In a fixed order of tables: rides, tills, orders, then items. Two batches that lock in different orders
    // would deadlock.
    let has_begun = find(connection, keys, &mut rows, &mut items).await?;
    let rated = rows.rated(keys);
    let answers = ask(connection, keys, &items, &rated, numbers, !has_begun).await?;
    for row in &answers.items {
        let item = convert::item(row)?;
        // Checked on the locked row: between finding it and locking it, the item may have been deleted.
        if let Some(sku) = &item.sku
            && item.is_listed()
            && keys.skus.contains(&(item.seller, sku.clone()))
        {
            rows.skus.insert((item.seller, sku.clone()), item.id);
        }
        rows.items.load(item.id, item);
    }
    let mut parties = BTreeMap::new();
    for row in &answers.parties {
        let party = convert::party(row)?;
        // The revision is compared when the party is saved. A row lock would make every purchase from one
        // seller wait for the others already while loading.
        parties.insert(party.id, Before::of(&party, get(row, convert::AFTER_PARTY)?));
        rows.parties.load(party.id, party);
    }
    take_over_rest(&answers, &mut rows)?;
    Ok(Loaded { rows, parties })
}

/// Loads rides, tills and orders, and finds the items of the orders and SKUs. Returns whether it began the
/// transaction; most batches have nothing to find, and then the extra round trip is saved.
async fn find(
    connection: &Connection,
    keys: &Keys,
    rows: &mut WorkingSet,
    items: &mut BTreeSet<ItemId>,
) -> Result<bool, Failure> {
    if keys.rides.is_empty() && keys.tills.is_empty() && keys.orders.is_empty() && keys.skus.is_empty() {
        return Ok(false);
    }
    let mut pipeline = connection.pipeline();
    pipeline.add_command("BEGIN");
    let Columns { rides, tills, orders, sellers, skus } = Columns::of(keys);
    let rides = pipeline.add(sql::LOAD_RIDES, params![rides]);
    let tills = pipeline.add(sql::LOAD_TILLS, params![tills]);
    let orders = pipeline.add(sql::LOAD_ORDERS, params![orders]);
    let numbered = pipeline.add(sql::FIND_SKUS, params![sellers, skus]);
    let answers = pipeline.run_all(PATIENCE).await?;
    for row in &answers[rides] {
        let ride = convert::ride(row)?;
        rows.rides.load(ride.id, ride);
    }
    for row in &answers[tills] {
        let till: Till = convert::json(row, 1)?;
        rows.tills.load(till.id, till);
    }
    for row in &answers[orders] {
        let order = convert::order(row)?;
        // Cancelling returns units to the item, so its row has to be locked as well.
        items.insert(order.item);
        rows.orders.load(order.id, order);
    }
    for row in &answers[numbered] {
        items.insert(ItemId(get(row, 0)?));
    }
    Ok(true)
}

/// The server's replies by table, empty for those that were not queried.
#[derive(Default)]
struct Answers {
    items: Vec<Row>,
    parties: Vec<Row>,
    names: Vec<Row>,
    wishes: Vec<Row>,
    ratings: Vec<Row>,
    purchases: Vec<Row>,
    requests: Vec<Row>,
    item_numbers: Vec<Row>,
    order_numbers: Vec<Row>,
}

async fn ask(
    connection: &Connection,
    keys: &Keys,
    items: &BTreeSet<ItemId>,
    rated: &BTreeMap<(PartyId, ItemId), i64>,
    numbers: NewNumbers,
    begins: bool,
) -> Result<Answers, Failure> {
    let mut pipeline = connection.pipeline();
    let mut answers = Answers::default();
    let mut asked: Vec<(usize, &mut Vec<Row>)> = Vec::new();
    if begins {
        pipeline.add_command("BEGIN");
    }
    let items: Vec<i64> = items.iter().map(|id| id.0).collect();
    if !items.is_empty() {
        // Before the parties. This may wait for row locks, and the next statement sees what was committed until
        // then (READ COMMITTED), such as the suspension of a seller.
        asked.push((pipeline.add(sql::LOAD_ITEMS, params![items.clone()]), &mut answers.items));
    }
    let parties: Vec<Uuid> = keys.parties.iter().map(|id| id.0).collect();
    // Always asked, even without parties among the keys: the sellers of the items are parties too.
    asked.push((pipeline.add(sql::LOAD_PARTIES, params![parties, items]), &mut answers.parties));
    if !keys.names.is_empty() {
        let names: Vec<String> = keys.names.iter().map(|name| name.as_str().to_owned()).collect();
        asked.push((pipeline.add(sql::LOAD_NAMES, params![names]), &mut answers.names));
    }
    if !keys.wishes.is_empty() {
        let (buyers, items) = pairs(keys.wishes.iter().copied());
        asked.push((pipeline.add(sql::LOAD_WISHES, params![buyers, items]), &mut answers.wishes));
    }
    if !rated.is_empty() {
        // After the items, whose locks keep other markets from changing what is read here.
        let (buyers, items) = pairs(rated.keys().copied());
        let load = params![buyers.clone(), items.clone()];
        asked.push((pipeline.add(sql::LOAD_RATINGS, load), &mut answers.ratings));
        let enough: Vec<i64> = rated.values().copied().collect();
        let count = params![buyers, items, enough];
        asked.push((pipeline.add(sql::LOAD_PURCHASES, count), &mut answers.purchases));
    }
    if !keys.requests.is_empty() {
        let (parties, ids): (Vec<Uuid>, Vec<Uuid>) =
            keys.requests.iter().map(|(party, id)| (party.0, id.0)).unzip();
        asked.push((pipeline.add(sql::LOAD_REQUESTS, params![ids, parties]), &mut answers.requests));
    }
    let taken = [
        // From a sequence: it is not part of the transaction, so no batch waits for the numbers of another.
        (sql::TAKE_ITEM_NUMBERS, numbers.items, &mut answers.item_numbers),
        (sql::TAKE_ORDER_NUMBERS, numbers.orders, &mut answers.order_numbers),
    ];
    for (sql, count, answer) in taken {
        if count > 0 {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            asked.push((pipeline.add(sql, params![count]), answer));
        }
    }
    let mut answered = pipeline.run_all(PATIENCE).await?;
    for (place, answer) in asked {
        *answer = std::mem::take(&mut answered[place]);
    }
    Ok(answers)
}

fn take_over_rest(answers: &Answers, rows: &mut WorkingSet) -> Result<(), Failure> {
    let pair = |row: &Row| Ok::<_, Failure>((convert::party_id(row, 0)?, ItemId(get(row, 1)?)));
    for row in &answers.names {
        rows.names.insert(NameKey::trusted(get(row, 0)?), convert::party_id(row, 1)?);
    }
    for row in &answers.wishes {
        let (buyer, item) = pair(row)?;
        rows.wishes.load((buyer, item), Wish { buyer, item, added_at: Timestamp(get(row, 2)?) });
    }
    for row in &answers.ratings {
        rows.ratings.load(pair(row)?, Stars::parse(get(row, 2)?).map_err(unreadable)?);
    }
    for row in &answers.purchases {
        rows.purchases.insert(pair(row)?, get(row, 2)?);
    }
    for row in &answers.requests {
        let key = (convert::party_id(row, 1)?, RequestId(get(row, 0)?));
        rows.requests.load(key, convert::recorded(row, 2)?);
    }
    rows.item_ids = numbers(&answers.item_numbers)?;
    rows.order_ids = numbers(&answers.order_numbers)?;
    Ok(())
}

fn numbers(rows: &[Row]) -> Result<IdRange, Failure> {
    Ok(IdRange::of(rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?))
}
