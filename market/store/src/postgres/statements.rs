//! The SQL of the write path. All rows of one kind in a batch are one statement, with an array for each
//! column.
//!
//! Locks are always taken in the same order, so that batches can't deadlock: rides, tills, orders, items,
//! then (after deciding) mailboxes, and by key within each table. FOR NO KEY UPDATE is the weakest lock that
//! excludes other writers.

/// The columns that `convert::item` reads, from `item` joined with its seller in `party`.
macro_rules! item_columns {
    () => {
        "item.id, item.seller, party.display_name, item.name, item.description, item.category, item.amount_minor, \
         item.currency, item.quantity, item.supplied, item.sold, item.withdrawn, item.rating_count, \
         item.rating_stars, item.version, item.created_at, item.updated_at, item.deleted_at, item.sku, \
         item.sales_level, item.rank_class"
    };
}
pub(super) use item_columns;

/// The columns that `convert::order` reads, in its order.
macro_rules! order_columns {
    () => {
        "id, buyer, buyer_name, seller, seller_name, item, item_name, amount_minor, currency, quantity, total_minor, \
         status, placed_at, shipped_at, delivered_at, cancelled_at, cancelled_by, cancel_reason, ride"
    };
}
pub(super) use order_columns;

/// The columns that `convert::party` reads, in its order.
macro_rules! party_columns {
    () => {
        "id, role, display_name, callback_host, callback_port, registered_at, epoch, suspended_at, suspended_for, tills"
    };
}
pub(super) use party_columns;

pub(super) const LOAD_RIDES: &str =
    "SELECT id, body FROM ride WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";

pub(super) const LOAD_TILLS: &str =
    "SELECT id, body FROM till WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";

pub(super) const LOAD_ORDERS: &str =
    concat!("SELECT ", order_columns!(), " FROM orders WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE");

/// Finds candidates only: [`LOAD_ITEMS`] locks the items and reads them again. LIMIT 1 changes no result,
/// but makes the planner look up each SKU through the index; as a plain join, it would scan all items while
/// statistics say that there are few.
pub(super) const FIND_SKUS: &str = "SELECT found.id FROM unnest($1::UUID[], $2::TEXT[]) AS named (seller, sku) \
     CROSS JOIN LATERAL (SELECT item.id FROM item WHERE item.seller = named.seller AND item.sku = named.sku \
     AND item.deleted_at IS NULL LIMIT 1) AS found";

pub(super) const LOAD_ITEMS: &str = concat!(
    "SELECT ",
    item_columns!(),
    " FROM item JOIN party ON party.id = item.seller WHERE item.id = ANY($1) ORDER BY item.id FOR NO KEY UPDATE OF item"
);

/// The named parties and the sellers of the items. Not locked, because every purchase from a seller would
/// then wait for the others; the revision guards them instead.
pub(super) const LOAD_PARTIES: &str = concat!(
    "SELECT ",
    party_columns!(),
    ", revision FROM party WHERE party.id = ANY (ARRAY(SELECT unnest($1::UUID[]) \
     UNION SELECT item.seller FROM item WHERE item.id = ANY($2)))"
);

/// Who has the display names that are asked for. Not locked: the unique index guards them.
pub(super) const LOAD_NAMES: &str = "SELECT name_key, id FROM party WHERE name_key = ANY($1)";

pub(super) const LOAD_WISHES: &str = "SELECT buyer, item, added_at FROM wish \
     JOIN unnest($1::UUID[], $2::BIGINT[]) AS named (buyer, item) USING (buyer, item)";

pub(super) const LOAD_RATINGS: &str = "SELECT buyer, item, stars FROM rating \
     JOIN unnest($1::UUID[], $2::BIGINT[]) AS named (buyer, item) USING (buyer, item)";

/// Counts the orders that were not cancelled, of each buyer and item up to a number, because a buyer can have any number
/// of orders. Those that were pruned count as one.
pub(super) const LOAD_PURCHASES: &str = "SELECT named.buyer, named.item, \
     (SELECT count(*) FROM (SELECT 1 FROM orders WHERE orders.buyer = named.buyer AND orders.item = named.item \
     AND orders.status <> 'cancelled' LIMIT named.enough) AS standing) \
     + (SELECT count(*) FROM bought WHERE bought.buyer = named.buyer AND bought.item = named.item) \
     FROM unnest($1::UUID[], $2::BIGINT[], $3::BIGINT[]) AS named (buyer, item, enough)";

pub(super) const LOAD_REQUESTS: &str = "SELECT id, party, fingerprint, outcome FROM request \
     JOIN unnest($1::UUID[], $2::UUID[]) AS named (id, party) USING (id, party)";

pub(super) const TAKE_ITEM_NUMBERS: &str =
    "SELECT nextval('item_number') FROM generate_series(1, $1::BIGINT)";

pub(super) const TAKE_ORDER_NUMBERS: &str =
    "SELECT nextval('order_number') FROM generate_series(1, $1::BIGINT)";

/// Inserts parties that did not exist when the batch was decided. A unique violation means that another
/// market was faster.
pub(super) const ADD_PARTIES: &str = "INSERT INTO party (id, role, display_name, callback_host, callback_port, \
     registered_at, epoch, suspended_at, suspended_for, tills, name_key, revision) \
     SELECT *, 1 FROM unnest($1::UUID[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::INTEGER[], $6::BIGINT[], $7::BIGINT[], \
     $8::BIGINT[], $9::TEXT[], $10::TEXT[], $11::TEXT[])";

/// Updates parties if they still have the revision that the batch was decided on. `must_be` fails the
/// transaction otherwise, as a serialization failure.
pub(super) const CHANGE_PARTIES: &str = "WITH changed AS (UPDATE party SET display_name = new.display_name, \
     callback_host = new.callback_host, callback_port = new.callback_port, epoch = new.epoch, \
     suspended_at = new.suspended_at, suspended_for = new.suspended_for, tills = new.tills, \
     name_key = coalesce(new.name_key, party.name_key), revision = party.revision + 1 \
     FROM unnest($1::UUID[], $2::TEXT[], $3::TEXT[], $4::INTEGER[], $5::BIGINT[], $6::BIGINT[], $7::TEXT[], $8::TEXT[], \
     $9::TEXT[], $10::BIGINT[]) \
     AS new (id, display_name, callback_host, callback_port, epoch, suspended_at, suspended_for, tills, name_key, revision) \
     WHERE party.id = new.id AND party.revision = new.revision RETURNING 1) \
     SELECT must_be(count(*), cardinality($1)) FROM changed";

pub(super) const OPEN_MAILBOXES: &str = "INSERT INTO mailbox (party, role, callback_host, callback_port) \
     SELECT * FROM unnest($1::UUID[], $2::TEXT[], $3::TEXT[], $4::INTEGER[]) \
     ON CONFLICT (party) DO UPDATE SET callback_host = excluded.callback_host, callback_port = excluded.callback_port, \
     failures = 0, last_failure = '', refusals = 0, refused_since = NULL, regular_attempt = NULL, is_probed = false, \
     reliability = CASE WHEN mailbox.reliability = 0 AND mailbox.callback_host IS NOT DISTINCT FROM excluded.callback_host \
     AND mailbox.callback_port IS NOT DISTINCT FROM excluded.callback_port THEN 0 ELSE 1 END, \
     next_attempt = CASE WHEN mailbox.next_attempt IS NULL THEN NULL ELSE 0 END";

/// Inserts or updates items whose change affects search, and returns the last of their feed positions. If a
/// number belongs to another item, nothing is written and the batch fails.
///
/// A transaction gets its id, and so its places, with its first row lock. It may then wait for an item that a
/// transaction with a higher id has changed and moved further. `greatest` keeps the higher position, since an
/// item must never move back past readers. That is safe: no reader gets as far as this transaction's places
/// while it is open, so a reader of the item at its position sees the result of this transaction.
pub(super) const PUT_ITEMS: &str = "WITH put AS (INSERT INTO item (id, seller, name, category, amount_minor, currency, quantity, \
     supplied, sold, withdrawn, rating_count, rating_stars, version, created_at, updated_at, deleted_at, description, \
     sku, sales_level, rank_class, feed_position) \
     SELECT new.id, new.seller, new.name, new.category, new.amount_minor, new.currency, new.quantity, new.supplied, \
     new.sold, new.withdrawn, new.rating_count, new.rating_stars, new.version, new.created_at, new.updated_at, \
     new.deleted_at, new.description, new.sku, new.sales_level, new.rank_class, own_places.first + new.place \
     FROM unnest($1::BIGINT[], $2::UUID[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::TEXT[], $7::BIGINT[], $8::BIGINT[], \
     $9::BIGINT[], $10::BIGINT[], $11::BIGINT[], $12::BIGINT[], $13::BIGINT[], $14::BIGINT[], $15::BIGINT[], \
     $16::BIGINT[], $17::TEXT[], $18::TEXT[], $19::SMALLINT[], $20::SMALLINT[]) WITH ORDINALITY \
     AS new (id, seller, name, category, amount_minor, currency, quantity, supplied, sold, withdrawn, rating_count, \
     rating_stars, version, created_at, updated_at, deleted_at, description, sku, sales_level, rank_class, place) \
     CROSS JOIN own_places \
     ON CONFLICT (id) DO UPDATE SET sku = excluded.sku, name = excluded.name, category = excluded.category, \
     amount_minor = excluded.amount_minor, currency = excluded.currency, quantity = excluded.quantity, \
     supplied = excluded.supplied, sold = excluded.sold, withdrawn = excluded.withdrawn, \
     rating_count = excluded.rating_count, rating_stars = excluded.rating_stars, version = excluded.version, \
     updated_at = excluded.updated_at, deleted_at = excluded.deleted_at, description = excluded.description, \
     sales_level = excluded.sales_level, rank_class = excluded.rank_class, \
     feed_position = greatest(item.feed_position, excluded.feed_position) \
     WHERE item.seller = excluded.seller AND item.created_at = excluded.created_at RETURNING feed_position) \
     SELECT max(feed_position), must_be(count(*), cardinality($1)) FROM put";

/// Updates items whose change does not affect search. No indexed column changes, so that PostgreSQL updates
/// no index (a heap-only tuple).
pub(super) const PUT_STOCK: &str = "UPDATE item SET quantity = new.quantity, supplied = new.supplied, sold = new.sold, \
     withdrawn = new.withdrawn, version = new.version, updated_at = new.updated_at \
     FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[], $6::BIGINT[], $7::BIGINT[]) \
     AS new (id, quantity, supplied, sold, withdrawn, version, updated_at) WHERE item.id = new.id";

/// Inserts or updates orders. If a number belongs to another order, nothing is written and the batch fails.
pub(super) const PUT_ORDERS: &str = concat!(
    "WITH put AS (INSERT INTO orders (",
    order_columns!(),
    ") SELECT * FROM unnest($1::BIGINT[], $2::UUID[], $3::TEXT[], $4::UUID[], $5::TEXT[], $6::BIGINT[], $7::TEXT[], \
     $8::BIGINT[], $9::TEXT[], $10::BIGINT[], $11::BIGINT[], $12::TEXT[], $13::BIGINT[], $14::BIGINT[], $15::BIGINT[], \
     $16::BIGINT[], $17::TEXT[], $18::TEXT[], $19::UUID[]) \
     ON CONFLICT (id) DO UPDATE SET status = excluded.status, shipped_at = excluded.shipped_at, \
     delivered_at = excluded.delivered_at, cancelled_at = excluded.cancelled_at, \
     cancelled_by = excluded.cancelled_by, cancel_reason = excluded.cancel_reason, ride = excluded.ride \
     WHERE orders.buyer = excluded.buyer AND orders.item = excluded.item AND orders.placed_at = excluded.placed_at \
     RETURNING 1) SELECT must_be(count(*), cardinality($1)) FROM put"
);

pub(super) const PUT_RIDES: &str = "INSERT INTO ride (id, seller, body) \
     SELECT * FROM unnest($1::UUID[], $2::UUID[], $3::TEXT[]) ON CONFLICT (id) DO UPDATE SET body = excluded.body";

pub(super) const PUT_TILLS: &str = "INSERT INTO till (id, seller, body) \
     SELECT * FROM unnest($1::UUID[], $2::UUID[], $3::TEXT[]) ON CONFLICT (id) DO UPDATE SET body = excluded.body";

/// Deletes tills but not their mailboxes: a till that is opened again must not reuse sequences.
pub(super) const REMOVE_TILLS: &str = "DELETE FROM till WHERE id = ANY($1)";

/// Fences off the streams of removed tills at every market, by raising the epoch above their claims.
pub(super) const END_TILLS_LEASES: &str =
    "UPDATE mailbox SET lease_epoch = lease_epoch + 1 WHERE party = ANY($1)";

pub(super) const OPEN_TILLS_MAILBOXES: &str = "INSERT INTO mailbox (party, role) SELECT unnest($1::UUID[]), 'seller' \
     ON CONFLICT (party) DO NOTHING";

pub(super) const PUT_WISHES: &str = "INSERT INTO wish (buyer, item, added_at) \
     SELECT * FROM unnest($1::UUID[], $2::BIGINT[], $3::BIGINT[]) \
     ON CONFLICT (buyer, item) DO UPDATE SET added_at = excluded.added_at";

pub(super) const REMOVE_WISHES: &str = "DELETE FROM wish USING unnest($1::UUID[], $2::BIGINT[]) AS gone (buyer, item) \
     WHERE wish.buyer = gone.buyer AND wish.item = gone.item";

pub(super) const PUT_RATINGS: &str = "INSERT INTO rating (buyer, item, stars) \
     SELECT * FROM unnest($1::UUID[], $2::BIGINT[], $3::INTEGER[]) \
     ON CONFLICT (buyer, item) DO UPDATE SET stars = excluded.stars";

pub(super) const REMOVE_RATINGS: &str = "DELETE FROM rating USING unnest($1::UUID[], $2::BIGINT[]) AS gone (buyer, item) \
     WHERE rating.buyer = gone.buyer AND rating.item = gone.item";

/// Inserts idempotency records. If another market has carried out the same request in the meantime, this is
/// a unique violation: the batch is loaded and decided again, and then finds the record.
pub(super) const ADD_REQUESTS: &str = "INSERT INTO request (id, party, fingerprint, outcome, done_at) \
     SELECT id, party, fingerprint, outcome, $5 \
     FROM unnest($1::UUID[], $2::UUID[], $3::BYTEA[], $4::TEXT[]) AS new (id, party, fingerprint, outcome)";

/// Adds audit lines at the transaction's places. Their places are counted apart from those of the feed.
pub(super) const ADD_AUDIT_LINES: &str = "INSERT INTO audit_line (place, line) \
     SELECT own_places.first + new.place, new.line \
     FROM unnest($1::TEXT[]) WITH ORDINALITY AS new (line, place) CROSS JOIN own_places";

/// Locks mailboxes, and returns which have a callback. Sent as late as possible, because many batches may want a popular
/// seller's mailbox.
pub(super) const LOCK_MAILBOXES: &str = "SELECT party, callback_port IS NOT NULL FROM mailbox WHERE party = ANY($1) \
     ORDER BY party FOR NO KEY UPDATE";

/// Assigns sequences under the mailbox's lock, so that a lower one is never committed after a higher one.
/// The mailbox becomes due now, unless it is in back-off, which an order shortens to `$6`. `order_behind` counts the
/// last order event back from the new last sequence; NULL if there is none.
pub(super) const FILL_MAILBOXES: &str = "WITH filled AS (UPDATE mailbox SET last_sequence = last_sequence + new.count, \
     pending = pending + new.added, quiet = quiet AND new.order_behind IS NULL, \
     last_order = coalesce(last_sequence + new.count - new.order_behind, last_order), \
     next_attempt = CASE WHEN next_attempt IS NULL THEN $3 WHEN failures = 0 THEN least(next_attempt, $3) \
     WHEN new.order_behind IS NULL THEN next_attempt ELSE least(next_attempt, $6) END, \
     latest_attempt = CASE WHEN new.order_behind IS NULL THEN latest_attempt ELSE $6 END \
     FROM unnest($1::UUID[], $2::BIGINT[], $4::BIGINT[], $5::BIGINT[]) AS new (party, count, added, order_behind) \
     WHERE mailbox.party = new.party \
     RETURNING 1) SELECT must_be(count(*), cardinality($1)) FROM filled";

/// The sequence up to which somebody may have received a mailbox's deliveries. They stay as they are; later
/// ones may still be merged.
macro_rules! received_through {
    ($mailbox:literal) => {
        concat!(
            "(SELECT greatest(mailbox.acknowledged, mailbox.handed_out) FROM mailbox WHERE mailbox.party = ",
            $mailbox,
            ")"
        )
    };
}
pub(super) use received_through;

/// Coalesces: of several events on one topic that nobody can have received, only the last is kept, with the
/// others merged into it. It has a new sequence: an older one may be acknowledged meanwhile, which must not
/// remove the new one with it.
pub(super) const REMOVE_OLDER_DELIVERIES: &str = concat!(
    "WITH gone AS (DELETE FROM delivery USING unnest($1::UUID[], $2::BIGINT[]) AS new (recipient, coalesces) \
     WHERE delivery.recipient = new.recipient AND delivery.coalesces = new.coalesces AND delivery.sequence > ",
    received_through!("new.recipient"),
    " RETURNING delivery.recipient), \
     counted AS (SELECT recipient, count(*) AS count FROM gone GROUP BY recipient) \
     UPDATE mailbox SET pending = pending - counted.count FROM counted WHERE mailbox.party = counted.recipient"
);

/// Adds deliveries. `behind` counts back from the mailbox's last sequence, which has been raised before.
pub(super) const ADD_DELIVERIES: &str = "INSERT INTO delivery (recipient, sequence, event, body, coalesces, is_order, \
     occurred_at) \
     SELECT new.recipient, mailbox.last_sequence - new.behind, new.event, new.body, new.coalesces, new.is_order, \
     new.occurred_at \
     FROM unnest($1::UUID[], $2::BIGINT[], $3::BIGINT[], $4::TEXT[], $5::BIGINT[], $6::BOOLEAN[], $7::BIGINT[]) \
     AS new (recipient, behind, event, body, coalesces, is_order, occurred_at) \
     JOIN mailbox ON mailbox.party = new.recipient";

/// Queues events for expansion, except those of items that nobody wishes for. Returns a row for each queued
/// one. A subquery with LIMIT 1 rather than EXISTS, for which the planner would scan all wishes as long as
/// statistics say that there are few.
pub(super) const ADD_EVENTS: &str = "INSERT INTO event (occurred_at, body, item, withdraws, seller) \
     SELECT occurred_at, body, item, withdraws, seller \
     FROM unnest($1::BIGINT[], $2::TEXT[], $3::BIGINT[], $4::BOOLEAN[], $5::UUID[]) WITH ORDINALITY \
     AS new (occurred_at, body, item, withdraws, seller, place) \
     WHERE (SELECT true FROM wish WHERE wish.item = new.item LIMIT 1) ORDER BY place RETURNING 1";

pub(super) const EXHUME: &str = "DELETE FROM dead_letter WHERE id = ANY($1)";

pub(super) const COUNT_REPLAYS: &str = "INSERT INTO replay (lane, answers) VALUES ($1, $2) \
     ON CONFLICT (lane) DO UPDATE SET answers = replay.answers + excluded.answers";

/// Finds the rows of a table that other transactions have locked. The free ones are locked until the end of
/// this transaction, which the caller rolls back.
macro_rules! held {
    ($table:literal, $columns:literal) => {
        held!($table, $columns, concat!("id FROM ", $table, " WHERE id = ANY($1)"))
    };
    ($table:literal, $columns:literal, $lockable:expr) => {
        concat!(
            "WITH free AS (SELECT ",
            $lockable,
            " FOR NO KEY UPDATE SKIP LOCKED) SELECT ",
            $columns,
            " FROM ",
            $table,
            " WHERE id = ANY($1) AND id NOT IN (SELECT id FROM free)"
        )
    };
}

pub(super) const HELD_RIDES: &str = held!("ride", "id");
pub(super) const HELD_TILLS: &str = held!("till", "id");
/// Locked orders, and orders whose items are locked.
pub(super) const HELD_ORDERS: &str = held!(
    "orders",
    "id",
    "orders.id FROM orders JOIN item ON item.id = orders.item WHERE orders.id = ANY($1)"
);
/// Locked items, with their sellers and SKUs.
pub(super) const HELD_ITEMS: &str = held!("item", "id, seller, sku");

/// All statements of a lane, which its session prepares when it opens.
pub(super) const LANE: &[&str] = &[
    LOAD_RIDES,
    LOAD_TILLS,
    LOAD_ORDERS,
    FIND_SKUS,
    LOAD_ITEMS,
    LOAD_PARTIES,
    LOAD_NAMES,
    LOAD_WISHES,
    LOAD_RATINGS,
    LOAD_PURCHASES,
    LOAD_REQUESTS,
    TAKE_ITEM_NUMBERS,
    TAKE_ORDER_NUMBERS,
    ADD_PARTIES,
    CHANGE_PARTIES,
    OPEN_MAILBOXES,
    PUT_ITEMS,
    PUT_STOCK,
    PUT_ORDERS,
    PUT_RIDES,
    PUT_TILLS,
    REMOVE_TILLS,
    END_TILLS_LEASES,
    OPEN_TILLS_MAILBOXES,
    PUT_WISHES,
    REMOVE_WISHES,
    PUT_RATINGS,
    REMOVE_RATINGS,
    ADD_REQUESTS,
    ADD_AUDIT_LINES,
    LOCK_MAILBOXES,
    FILL_MAILBOXES,
    REMOVE_OLDER_DELIVERIES,
    ADD_DELIVERIES,
    ADD_EVENTS,
    EXHUME,
    COUNT_REPLAYS,
    super::chain::HORIZON,
];
