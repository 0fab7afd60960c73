-- Time as the markets have seen it pass, in microseconds. The columns request.done_at, event.occurred_at,
-- delivery.occurred_at, mailbox.next_attempt, mailbox.lease_until and track.stored_at hold this steady time, by which
-- ages and due times are judged. It starts at the newest stamp so far, so that older stamps keep their meaning.

CREATE TABLE clock (
    is_only      BOOLEAN PRIMARY KEY DEFAULT true CHECK (is_only),
    steady       BIGINT,
    -- The latest wall time of any market; NULL until one has run.
    wall         BIGINT,
    -- The steady time at which a wall clock last disagreed; NULL while they agree.
    disagreed_at BIGINT,
    jump_seconds BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

INSERT INTO clock (steady)
SELECT greatest(
    (SELECT max(done_at) FROM request),
    (SELECT max(occurred_at) FROM delivery WHERE NOT is_order),
    (SELECT max(occurred_at) FROM delivery WHERE is_order),
    (SELECT max(occurred_at) FROM event WHERE is_done),
    (SELECT max(occurred_at) FROM event WHERE NOT is_done)
);

-- A position's own time is the courier's. NULL in rows of older versions, whose age counts from `at`.
ALTER TABLE track ADD COLUMN stored_at BIGINT;
DROP INDEX track_by_time;
CREATE INDEX track_by_age ON track (coalesce(stored_at, at));
