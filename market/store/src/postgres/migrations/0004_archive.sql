-- What is kept of orders and audit entries that were archived and pruned. Only a market of this version prunes.

-- Orders by item, so that sums and totals can still be verified. `orders` and `units` leave cancelled ones out.
CREATE TABLE archived (
    item      BIGINT PRIMARY KEY,
    orders    BIGINT NOT NULL,
    units     BIGINT NOT NULL,
    cancelled BIGINT NOT NULL
);

-- Who has bought an item in an order that was pruned, and so may rate it.
CREATE TABLE bought (
    buyer UUID NOT NULL,
    item  BIGINT NOT NULL,
    PRIMARY KEY (buyer, item)
);

-- The last entry of the audit log that was pruned. No row: none was.
CREATE TABLE audit_base (
    is_only  BOOLEAN PRIMARY KEY DEFAULT true CHECK (is_only),
    sequence BIGINT NOT NULL,
    hash     BYTEA NOT NULL
);
