-- Order events that were dropped from mailboxes, kept for redelivery. All times are steady.
CREATE TABLE dead_letter (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recipient UUID NOT NULL,
    body      TEXT NOT NULL,
    reason    TEXT NOT NULL,
    died_at   BIGINT NOT NULL
);

CREATE INDEX dead_letter_by_recipient ON dead_letter (recipient, id);
CREATE INDEX dead_letter_by_time ON dead_letter (died_at);

-- What was dropped, and when last.
ALTER TABLE mailbox ADD COLUMN dropped_orders BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN dropped_updates BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN last_dropped BIGINT;
-- What the consumer has missed of that and not been told.
ALTER TABLE mailbox ADD COLUMN missed_orders BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN missed_updates BIGINT NOT NULL DEFAULT 0;
ALTER TABLE consumer ADD COLUMN missed_orders BIGINT NOT NULL DEFAULT 0;
ALTER TABLE consumer ADD COLUMN missed_updates BIGINT NOT NULL DEFAULT 0;
-- How many attempts the callback has answered with an error since the last success.
ALTER TABLE mailbox ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;
