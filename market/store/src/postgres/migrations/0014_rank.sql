-- How much of an item was sold lately, and what follows from that and the ratings: its rank class among the items that match
-- a search equally well. The defaults are those of an item without sales and ratings; the first sweep finds the others, and
-- what a market of an older version leaves as it was.
ALTER TABLE item ADD COLUMN sales_level SMALLINT NOT NULL DEFAULT 0, ADD COLUMN rank_class SMALLINT NOT NULL DEFAULT 7;

-- The daily sweep that finds out what was sold lately, and how far it has come.
CREATE TABLE rank_sweep (
    is_only     BOOLEAN PRIMARY KEY DEFAULT true CHECK (is_only),
    -- The day of the sweep that is under way, or of the last one; NULL before the first.
    day         BIGINT,
    -- The last item that was swept.
    seller      UUID NOT NULL,
    item        BIGINT NOT NULL,
    -- Steady time; NULL while a sweep is under way.
    finished_at BIGINT,
    lease_epoch BIGINT NOT NULL,
    lease_until BIGINT NOT NULL
);

INSERT INTO rank_sweep VALUES (true, NULL, '00000000-0000-0000-0000-000000000000', 0, NULL, 0, 0);
