-- What is kept of orders and audit entries that were archived and pruned.

-- Orders by item, so that sums and totals can still be verified. `orders` and `units` leave cancelled ones out.
CREATE TABLE archived (
    item      INTEGER PRIMARY KEY,
    orders    INTEGER NOT NULL,
    units     INTEGER NOT NULL,
    cancelled INTEGER NOT NULL
) STRICT;

-- Who has bought an item in an order that was pruned, and so may rate it.
CREATE TABLE bought (
    buyer BLOB NOT NULL,
    item  INTEGER NOT NULL,
    PRIMARY KEY (buyer, item)
) STRICT, WITHOUT ROWID;

-- The last entry of the audit log that was pruned. No row: none was.
CREATE TABLE audit_base (
    is_only  INTEGER PRIMARY KEY CHECK (is_only = 1),
    sequence INTEGER NOT NULL,
    hash     BLOB NOT NULL
) STRICT;
