-- Sums that are kept as orders happen, so that summaries and totals need not read all rows.

-- Orders that were not cancelled, by the day on which they were placed (days since 1970-01-01, UTC). The amount is in
-- two halves, since a sum of amounts may exceed 64 bits: amount_high * 2^32 + amount_low.
CREATE TABLE sales (
    seller      BLOB NOT NULL,
    day         INTEGER NOT NULL,
    item        INTEGER NOT NULL,
    currency    TEXT NOT NULL,
    orders      INTEGER NOT NULL,
    units       INTEGER NOT NULL,
    amount_high INTEGER NOT NULL,
    amount_low  INTEGER NOT NULL,
    PRIMARY KEY (seller, day, item, currency)
) STRICT, WITHOUT ROWID;

INSERT INTO sales
SELECT seller, placed_at / 86400000000, item, currency, count(*), sum(quantity), sum(total_minor >> 32),
       sum(total_minor & 4294967295)
FROM orders WHERE status <> 'cancelled' GROUP BY 1, 2, 3, 4;

CREATE TABLE total (
    is_only   INTEGER PRIMARY KEY CHECK (is_only = 1),
    parties   INTEGER NOT NULL,
    items     INTEGER NOT NULL,
    orders    INTEGER NOT NULL,
    supplied  INTEGER NOT NULL,
    sold      INTEGER NOT NULL,
    ordered   INTEGER NOT NULL,
    remaining INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL
) STRICT;

INSERT INTO total
SELECT 1, (SELECT count(*) FROM party), count(*), (SELECT count(*) FROM orders), coalesce(sum(supplied), 0),
       coalesce(sum(sold), 0), (SELECT coalesce(sum(quantity), 0) FROM orders WHERE status <> 'cancelled'),
       coalesce(sum(quantity), 0), coalesce(sum(withdrawn), 0)
FROM item;
