-- Orders refer to parties by their numbers, and leave out names that can be found elsewhere. The table is copied in
-- steps (`compact_orders.rs`).

-- Names that were replaced: the orders up to number `through` that leave the name out have this one. If there are
-- several, the first with `through` not below the order's number counts; if there is none, the present name does.
CREATE TABLE former_party_name (
    party   INTEGER NOT NULL,
    through INTEGER NOT NULL,
    name    TEXT NOT NULL,
    PRIMARY KEY (party, through)
) STRICT, WITHOUT ROWID;

CREATE TABLE former_item_name (
    item    INTEGER NOT NULL,
    through INTEGER NOT NULL,
    name    TEXT NOT NULL,
    PRIMARY KEY (item, through)
) STRICT, WITHOUT ROWID;

-- The counter still has the last order of the batch before: orders are counted after items and parties are saved. If no
-- order was placed since the name was replaced last, none has the name in between.
-- Nor has an order the name of an item of which nothing is sold: cancelled orders keep it themselves. (The trigger for
-- parties is created with the indexes that it needs.)
CREATE TRIGGER item_renamed AFTER UPDATE OF name ON item WHEN old.name <> new.name AND old.sold > 0 BEGIN
    INSERT INTO former_item_name SELECT old.id, value, old.name FROM counter WHERE counter.name = 'order'
        AND NOT EXISTS (SELECT 1 FROM former_item_name WHERE item = old.id AND through = value);
END;

CREATE TABLE orders_anew (
    id            INTEGER PRIMARY KEY,
    buyer         INTEGER NOT NULL,
    -- NULL, like the other names: what the party or item was called after the batch that saved the order. A cancelled
    -- order always has the item's name.
    buyer_name    TEXT,
    seller        INTEGER NOT NULL,
    seller_name   TEXT,
    item          INTEGER NOT NULL REFERENCES item (id),
    item_name     TEXT,
    amount_minor  INTEGER NOT NULL,
    currency      TEXT NOT NULL,
    quantity      INTEGER NOT NULL CHECK (quantity > 0),
    total_minor   INTEGER NOT NULL CHECK (total_minor = amount_minor * quantity),
    status        TEXT NOT NULL CHECK (status IN ('placed', 'shipped', 'delivered', 'cancelled')),
    placed_at     INTEGER NOT NULL,
    shipped_at    INTEGER,
    delivered_at  INTEGER,
    cancelled_at  INTEGER,
    cancelled_by  TEXT CHECK (cancelled_by IN ('seller', 'buyer')),
    cancel_reason TEXT,
    ride          BLOB
) STRICT;
