-- Time as the market has seen it pass, in microseconds. The columns request.done_at, event.occurred_at,
-- delivery.occurred_at, mailbox.next_attempt, mailbox.lease_until and track.stored_at hold this steady time, by which
-- ages and due times are judged. It starts at the newest stamp so far, so that older stamps keep their meaning.

CREATE TABLE clock (
    is_only      INTEGER PRIMARY KEY CHECK (is_only = 1),
    steady       INTEGER,
    -- The latest wall time; NULL until a market has run.
    wall         INTEGER,
    -- The steady time at which the wall clock last disagreed; NULL while it agrees.
    disagreed_at INTEGER,
    jump_seconds INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO clock (is_only, steady)
SELECT 1, max(stamp) FROM (
    SELECT max(done_at) AS stamp FROM request
    UNION ALL SELECT max(occurred_at) FROM delivery WHERE is_order = 0
    UNION ALL SELECT max(occurred_at) FROM delivery WHERE is_order = 1
    UNION ALL SELECT max(occurred_at) FROM event WHERE fans_out = 1
);

-- A position's own time is the courier's. NULL in rows of older versions, whose age counts from `at`.
ALTER TABLE track ADD COLUMN stored_at INTEGER;
DROP INDEX track_by_time;
CREATE INDEX track_by_age ON track (coalesce(stored_at, at));
