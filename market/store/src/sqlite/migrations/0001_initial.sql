-- Parties are BLOBs of 16 bytes (UUIDs), times are microseconds since 1970 (UTC), money is in minor units.

CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL CHECK (value >= 0)
) STRICT, WITHOUT ROWID;

-- The last number given out. Numbers are never used again.
INSERT INTO counter VALUES ('item', 0), ('order', 0), ('feed', 0);

CREATE TABLE party (
    id            BLOB PRIMARY KEY CHECK (length(id) = 16),
    role          TEXT NOT NULL CHECK (role IN ('seller', 'buyer')),
    display_name  TEXT NOT NULL,
    callback_host TEXT,
    callback_port INTEGER,
    registered_at INTEGER NOT NULL,
    epoch         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX party_with_raised_epoch ON party (epoch) WHERE epoch <> 0;

CREATE TABLE item (
    id            INTEGER PRIMARY KEY,
    seller        BLOB NOT NULL REFERENCES party (id),
    name          TEXT NOT NULL,
    category      TEXT NOT NULL,
    amount_minor  INTEGER NOT NULL CHECK (amount_minor >= 0),
    currency      TEXT NOT NULL,
    quantity      INTEGER NOT NULL CHECK (quantity >= 0),
    supplied      INTEGER NOT NULL,
    sold          INTEGER NOT NULL CHECK (sold >= 0),
    withdrawn     INTEGER NOT NULL CHECK (withdrawn >= 0),
    rating_count  INTEGER NOT NULL,
    rating_stars  INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    deleted_at    INTEGER,
    feed_position INTEGER NOT NULL,
    description   TEXT NOT NULL,
    CHECK (supplied = sold + quantity + withdrawn)
) STRICT;

CREATE INDEX item_by_seller ON item (seller, id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX item_by_feed_position ON item (feed_position);

CREATE TABLE orders (
    id           INTEGER PRIMARY KEY,
    buyer        BLOB NOT NULL,
    buyer_name   TEXT NOT NULL,
    seller       BLOB NOT NULL,
    seller_name  TEXT NOT NULL,
    item         INTEGER NOT NULL REFERENCES item (id),
    item_name    TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    currency     TEXT NOT NULL,
    quantity     INTEGER NOT NULL CHECK (quantity > 0),
    total_minor  INTEGER NOT NULL CHECK (total_minor = amount_minor * quantity),
    status       TEXT NOT NULL CHECK (status IN ('placed', 'cancelled')),
    placed_at    INTEGER NOT NULL,
    cancelled_at INTEGER
) STRICT;

CREATE INDEX order_by_buyer ON orders (buyer, id);
CREATE INDEX order_by_seller ON orders (seller, id);
-- May a buyer rate an item?
CREATE INDEX order_standing ON orders (buyer, item) WHERE status = 'placed';

CREATE TABLE wish (
    buyer    BLOB NOT NULL,
    item     INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (buyer, item)
) STRICT, WITHOUT ROWID;

CREATE INDEX wish_by_item ON wish (item, buyer);

CREATE TABLE rating (
    buyer BLOB NOT NULL,
    item  INTEGER NOT NULL,
    stars INTEGER NOT NULL CHECK (stars BETWEEN 1 AND 5),
    PRIMARY KEY (buyer, item)
) STRICT, WITHOUT ROWID;

-- Request ids are UUIDv7, which grow with time: with the id first, new rows go to the end of the tree and
-- a batch of orders dirties few pages.
CREATE TABLE request (
    id          BLOB NOT NULL,
    party       BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    outcome     TEXT NOT NULL,
    done_at     INTEGER NOT NULL,
    PRIMARY KEY (id, party)
) STRICT, WITHOUT ROWID;

CREATE INDEX request_by_time ON request (done_at);

CREATE TABLE event (
    seq         INTEGER PRIMARY KEY,
    id          BLOB NOT NULL,
    occurred_at INTEGER NOT NULL,
    body        TEXT NOT NULL,
    fans_out    INTEGER NOT NULL
) STRICT;

CREATE INDEX event_fanned_out_by_time ON event (occurred_at) WHERE fans_out = 1;

-- What waits for its recipient. A row is gone once it is delivered.
CREATE TABLE delivery (
    recipient   BLOB NOT NULL,
    sequence    INTEGER NOT NULL,
    event       INTEGER NOT NULL,
    -- The item whose update it tells of: of several, only the last has to be delivered.
    coalesces   INTEGER,
    is_order    INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    PRIMARY KEY (recipient, sequence)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX delivery_coalescing ON delivery (recipient, coalesces) WHERE coalesces IS NOT NULL;
CREATE INDEX delivery_by_age ON delivery (is_order, occurred_at);

CREATE TABLE mailbox (
    party         BLOB PRIMARY KEY,
    role          TEXT NOT NULL,
    callback_host TEXT,
    callback_port INTEGER,
    last_sequence INTEGER NOT NULL DEFAULT 0,
    acknowledged  INTEGER NOT NULL DEFAULT 0,
    failures      INTEGER NOT NULL DEFAULT 0,
    last_failure  TEXT NOT NULL DEFAULT '',
    -- When to deliver; NULL when nothing waits.
    next_attempt  INTEGER,
    lease_owner   BLOB,
    lease_epoch   INTEGER NOT NULL DEFAULT 0,
    lease_until   INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX mailbox_due ON mailbox (next_attempt, lease_until)
    WHERE next_attempt IS NOT NULL AND callback_port IS NOT NULL;

-- Events for wishers that are still to be turned into deliveries, and how far that has got.
CREATE TABLE fan_out (
    event     INTEGER PRIMARY KEY,
    item      INTEGER NOT NULL,
    withdraws INTEGER NOT NULL,
    cursor    BLOB NOT NULL DEFAULT x''
) STRICT;
