-- The named consumers of mailboxes, each with a cursor and a lease of its own. The unnamed one is the mailbox itself.
-- All times are steady.

CREATE TABLE consumer (
    party        UUID NOT NULL,
    name         TEXT NOT NULL,
    acknowledged BIGINT NOT NULL DEFAULT 0,
    -- When a stream was last open under the name; the end of its lease while it is open.
    seen_at      BIGINT NOT NULL,
    -- The client that has the lease.
    holder       UUID NOT NULL,
    lease_epoch  BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL,
    PRIMARY KEY (party, name)
) WITH (fillfactor = 50);

CREATE INDEX consumer_by_age ON consumer (seen_at);

-- The end of the last lease of an unnamed stream; 0 if there was none.
ALTER TABLE mailbox ADD COLUMN stream_until BIGINT NOT NULL DEFAULT 0;
-- Without a callback, only a stream can have acknowledged anything. When it last did was not recorded.
UPDATE mailbox SET stream_until = coalesce((SELECT steady FROM clock), 0)
    WHERE acknowledged > 0 AND callback_port IS NULL;

-- Every consumer has the deliveries up to here, so that they can be removed.
ALTER TABLE mailbox ADD COLUMN released BIGINT NOT NULL DEFAULT 0;
UPDATE mailbox SET released = acknowledged;
DROP INDEX mailbox_to_empty;
CREATE INDEX mailbox_to_empty ON mailbox (party) WHERE removed < released;
