-- What requests and deliveries say about a new order follows from the order's row, and they refer to it (`placed.rs`).

-- The delivery of an order that was placed has its number here instead of an event, whose number is then 0, and what does
-- not follow from the order's row: the event's id, and what the item was afterwards.
ALTER TABLE delivery ADD COLUMN placed INTEGER;
ALTER TABLE delivery ADD COLUMN event_id BLOB;
ALTER TABLE delivery ADD COLUMN remaining INTEGER;
ALTER TABLE delivery ADD COLUMN item_version INTEGER;
ALTER TABLE delivery ADD COLUMN sku TEXT;

-- The requests that a batch recorded, in the order in which they expire. Filled in steps (`references.rs`).
CREATE TABLE request_batch (
    sequence    INTEGER PRIMARY KEY,
    done_at     INTEGER NOT NULL,
    -- The lowest number of an order that this or a later batch can refer to.
    first_order INTEGER NOT NULL,
    -- The ids of the requests, each with that of its party.
    keys        BLOB NOT NULL
) STRICT;

-- The orders of each buyer and item that were not cancelled, up to an order of the buyer's.
CREATE TABLE purchase (
    buyer  INTEGER NOT NULL,
    item   INTEGER NOT NULL,
    orders INTEGER NOT NULL CHECK (orders >= 0),
    PRIMARY KEY (buyer, item)
) STRICT, WITHOUT ROWID;

CREATE TABLE purchase_through (
    buyer   INTEGER PRIMARY KEY,
    through INTEGER NOT NULL
) STRICT;
