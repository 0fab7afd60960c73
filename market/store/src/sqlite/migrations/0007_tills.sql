-- A seller's tills: each has a mailbox of its own, and counts its lines.

CREATE TABLE till (
    id     BLOB PRIMARY KEY CHECK (length(id) = 16),
    seller BLOB NOT NULL,
    body   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX till_by_seller ON till (seller);

-- The ids of a party's tills, a JSON array; NULL: none.
ALTER TABLE party ADD COLUMN tills TEXT;
