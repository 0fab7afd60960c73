-- Parties are UUIDs, times are microseconds since 1970 (UTC), money is in minor units. There are no foreign keys:
-- the rules see the rows that a new one refers to, under lock, and a foreign key would tie shards together.

-- Numbers are never used again; those of a batch that came to nothing are gaps.
CREATE SEQUENCE item_number;
CREATE SEQUENCE order_number;

-- Where the numbers of transactions are counted from, in places: raised when the database was loaded into another
-- cluster, whose transactions count from a lower number.
CREATE TABLE place_base (
    is_only BOOLEAN PRIMARY KEY DEFAULT true CHECK (is_only),
    base    BIGINT NOT NULL
);
INSERT INTO place_base VALUES (true, 0);

-- The first place of the present transaction, in the feed and in the audit log. A transaction has 2^20 places, and
-- all of them lie after those of every transaction that had ended when it took its number.
CREATE VIEW own_places AS
    SELECT base + (pg_current_xact_id()::TEXT::BIGINT << 20) AS first FROM place_base;

-- Every place before `known` is of a transaction that has ended: nothing can be put there any more. Every place
-- that is visible now lies before `taken`.
CREATE VIEW place_horizon AS
    SELECT base + (pg_snapshot_xmin(pg_current_snapshot())::TEXT::BIGINT << 20) AS known,
           base + (pg_snapshot_xmax(pg_current_snapshot())::TEXT::BIGINT << 20) AS taken
    FROM place_base;

-- Ends a transaction that found other rows than it was decided on.
CREATE FUNCTION must_be(actual BIGINT, expected BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    IF actual <> expected THEN
        RAISE EXCEPTION 'found % rows of %', actual, expected USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;

-- A later claim's epoch is above every earlier one's, also when a server that has restarted, or a standby that took
-- over, has forgotten the last of them: claims are not flushed.
CREATE FUNCTION next_epoch(epoch BIGINT) RETURNS BIGINT LANGUAGE sql VOLATILE AS $$
    SELECT greatest(epoch + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT)
$$;

CREATE TABLE party (
    id            UUID PRIMARY KEY,
    role          TEXT NOT NULL CHECK (role IN ('seller', 'buyer')),
    display_name  TEXT NOT NULL,
    callback_host TEXT,
    callback_port INTEGER,
    registered_at BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    -- Both NULL while it is not shut out.
    suspended_at  BIGINT,
    suspended_for TEXT,
    -- The ids of its tills, a JSON array; NULL: none.
    tills         TEXT,
    -- Counts the changes of the row: parties are read without a lock, and written only as they were read.
    revision      BIGINT NOT NULL
);

CREATE INDEX party_with_raised_epoch ON party (epoch) WHERE epoch <> 0;
CREATE INDEX party_suspended ON party (id) WHERE suspended_at IS NOT NULL;

-- With room in each page, so that a change of the stock touches no index.
CREATE TABLE item (
    id            BIGINT PRIMARY KEY,
    seller        UUID NOT NULL,
    name          TEXT NOT NULL,
    category      TEXT NOT NULL,
    amount_minor  BIGINT NOT NULL CHECK (amount_minor >= 0),
    currency      TEXT NOT NULL,
    quantity      BIGINT NOT NULL CHECK (quantity >= 0),
    supplied      BIGINT NOT NULL,
    sold          BIGINT NOT NULL CHECK (sold >= 0),
    withdrawn     BIGINT NOT NULL CHECK (withdrawn >= 0),
    rating_count  BIGINT NOT NULL,
    rating_stars  BIGINT NOT NULL,
    version       BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    deleted_at    BIGINT,
    feed_position BIGINT NOT NULL,
    description   TEXT NOT NULL,
    sku           TEXT,
    CHECK (supplied = sold + quantity + withdrawn)
) WITH (fillfactor = 70);

CREATE INDEX item_by_seller ON item (seller, id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX item_by_sku ON item (seller, sku) WHERE sku IS NOT NULL AND deleted_at IS NULL;
CREATE UNIQUE INDEX item_by_feed_position ON item (feed_position);

CREATE TABLE orders (
    id            BIGINT PRIMARY KEY,
    buyer         UUID NOT NULL,
    buyer_name    TEXT NOT NULL,
    seller        UUID NOT NULL,
    seller_name   TEXT NOT NULL,
    item          BIGINT NOT NULL,
    item_name     TEXT NOT NULL,
    amount_minor  BIGINT NOT NULL,
    currency      TEXT NOT NULL,
    quantity      BIGINT NOT NULL CHECK (quantity > 0),
    total_minor   BIGINT NOT NULL CHECK (total_minor = amount_minor * quantity),
    status        TEXT NOT NULL CHECK (status IN ('placed', 'shipped', 'delivered', 'cancelled')),
    placed_at     BIGINT NOT NULL,
    shipped_at    BIGINT,
    delivered_at  BIGINT,
    cancelled_at  BIGINT,
    cancelled_by  TEXT CHECK (cancelled_by IN ('seller', 'buyer')),
    cancel_reason TEXT,
    ride          UUID
);

CREATE INDEX order_by_buyer ON orders (buyer, id);
CREATE INDEX order_by_seller ON orders (seller, id);
-- May a buyer rate an item?
CREATE INDEX order_standing ON orders (buyer, item) WHERE status <> 'cancelled';

CREATE TABLE ride (
    id     UUID PRIMARY KEY,
    seller UUID NOT NULL,
    body   TEXT NOT NULL
);

-- A seller's tills: each has a mailbox of its own, and counts its lines.
CREATE TABLE till (
    id     UUID PRIMARY KEY,
    seller UUID NOT NULL,
    body   TEXT NOT NULL
);

CREATE INDEX till_by_seller ON till (seller);

-- Places are in ten-millionths of a degree.
CREATE TABLE track (
    ride      UUID NOT NULL,
    sequence  BIGINT NOT NULL,
    latitude  BIGINT NOT NULL,
    longitude BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    meters    DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (ride, sequence)
);

CREATE INDEX track_by_time ON track (at);

CREATE TABLE wish (
    buyer    UUID NOT NULL,
    item     BIGINT NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (buyer, item)
);

CREATE INDEX wish_by_item ON wish (item, buyer);

CREATE TABLE rating (
    buyer UUID NOT NULL,
    item  BIGINT NOT NULL,
    stars INTEGER NOT NULL CHECK (stars BETWEEN 1 AND 5),
    PRIMARY KEY (buyer, item)
);

-- Request ids are UUIDv7, which grow with time: with the id first, new rows go to the end of the tree.
CREATE TABLE request (
    id          UUID NOT NULL,
    party       UUID NOT NULL,
    fingerprint BYTEA NOT NULL,
    outcome     TEXT NOT NULL,
    done_at     BIGINT NOT NULL,
    PRIMARY KEY (id, party)
);

CREATE INDEX request_by_time ON request (done_at);

-- Counts the answers that were given from the record. What is written here has to wait for the same standbys as a
-- purchase, and so has the answer.
CREATE TABLE replay (
    lane    UUID PRIMARY KEY,
    answers BIGINT NOT NULL
) WITH (fillfactor = 50);

-- Events for the wishers of an item, and how far they have been turned into deliveries.
CREATE TABLE event (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_at BIGINT NOT NULL,
    body        TEXT NOT NULL,
    item        BIGINT NOT NULL,
    withdraws   BOOLEAN NOT NULL,
    -- The last wisher who was told.
    cursor      UUID,
    is_done     BOOLEAN NOT NULL DEFAULT false
);

CREATE INDEX event_to_expand ON event (seq) WHERE NOT is_done;
CREATE INDEX event_by_time ON event (occurred_at) WHERE is_done;

-- What waits for its recipient. A row is gone once it is delivered. It holds its event, or points at one for many.
CREATE TABLE delivery (
    recipient   UUID NOT NULL,
    sequence    BIGINT NOT NULL,
    event       BIGINT,
    body        TEXT,
    -- The item whose update it tells of: of several, only the last has to be delivered.
    coalesces   BIGINT,
    is_order    BOOLEAN NOT NULL,
    occurred_at BIGINT NOT NULL,
    PRIMARY KEY (recipient, sequence),
    CHECK ((event IS NULL) <> (body IS NULL))
);

CREATE UNIQUE INDEX delivery_coalescing ON delivery (recipient, coalesces) WHERE coalesces IS NOT NULL;
CREATE INDEX delivery_by_age ON delivery (is_order, occurred_at);

CREATE TABLE mailbox (
    party         UUID PRIMARY KEY,
    role          TEXT NOT NULL,
    callback_host TEXT,
    callback_port INTEGER,
    last_sequence BIGINT NOT NULL DEFAULT 0,
    acknowledged  BIGINT NOT NULL DEFAULT 0,
    failures      INTEGER NOT NULL DEFAULT 0,
    last_failure  TEXT NOT NULL DEFAULT '',
    -- When to deliver; NULL when nothing waits.
    next_attempt  BIGINT,
    lease_owner   UUID,
    lease_epoch   BIGINT NOT NULL DEFAULT 0,
    lease_until   BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE INDEX mailbox_due ON mailbox (next_attempt, lease_until)
    WHERE next_attempt IS NOT NULL AND callback_port IS NOT NULL;

-- Who changed what: one JSON object a line, in the places of the transactions that they tell of. Written once.
CREATE TABLE audit_line (
    place BIGINT PRIMARY KEY,
    line  TEXT NOT NULL
);

-- The lines in one chain, each tied to the one before it by a hash. Linked after the fact, up to the horizon.
CREATE TABLE audit (
    sequence BIGINT PRIMARY KEY,
    place    BIGINT NOT NULL,
    hash     BYTEA NOT NULL
);
