-- How much of an item was sold lately, and what follows from that and the ratings: its rank class among the items that match
-- a search equally well. The defaults are those of an item without sales and ratings; the first sweep finds the others.
ALTER TABLE item ADD COLUMN sales_level INTEGER NOT NULL DEFAULT 0;
ALTER TABLE item ADD COLUMN rank_class INTEGER NOT NULL DEFAULT 7;

-- The daily sweep that finds out what was sold lately, and how far it has come.
CREATE TABLE rank_sweep (
    is_only     INTEGER PRIMARY KEY CHECK (is_only = 1),
    -- The day of the sweep that is under way, or of the last one; NULL before the first.
    day         INTEGER,
    -- The last item that was swept.
    seller      BLOB NOT NULL,
    item        INTEGER NOT NULL,
    -- Steady time; NULL while a sweep is under way.
    finished_at INTEGER,
    lease_epoch INTEGER NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT;

INSERT INTO rank_sweep VALUES (1, NULL, x'00000000000000000000000000000000', 0, NULL, 0, 0);
