-- The highest sequence that was handed to a delivery attempt or a stream among those that could be merged: somebody
-- may have received what lies up to it.
ALTER TABLE mailbox ADD COLUMN handed_out BIGINT NOT NULL DEFAULT 0;

-- No longer unique: what may have been received stays, and a later update of the item waits beside it.
DROP INDEX delivery_coalescing;
CREATE INDEX delivery_coalescing ON delivery (recipient, coalesces, sequence) WHERE coalesces IS NOT NULL;

-- How many of its deliveries there are, so that nobody has to count them. A market of the version before does not
-- keep it; it is right again when the mailbox has run empty.
ALTER TABLE mailbox ADD COLUMN pending BIGINT NOT NULL DEFAULT 0;
-- Up to where deliveries were removed. Less than what is acknowledged while a large part is being removed.
ALTER TABLE mailbox ADD COLUMN removed BIGINT NOT NULL DEFAULT 0;
CREATE INDEX mailbox_to_empty ON mailbox (party) WHERE removed < acknowledged;

-- How the callback has behaved: 0 proven, 1 unproven, 2 failing.
ALTER TABLE mailbox ADD COLUMN reliability INTEGER NOT NULL DEFAULT 1;
-- The sequence of the last order event, and whether none is pending.
ALTER TABLE mailbox ADD COLUMN last_order BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN quiet BOOLEAN NOT NULL DEFAULT true;

DROP INDEX mailbox_due;
CREATE INDEX mailbox_due ON mailbox (reliability, quiet, next_attempt, lease_until)
    WHERE next_attempt IS NOT NULL AND callback_port IS NOT NULL;

-- Which of what waits had been handed out was not recorded, nor whether a callback ever answered.
UPDATE mailbox SET handed_out = last_sequence, removed = acknowledged,
    pending = (SELECT count(*) FROM delivery WHERE recipient = party),
    reliability = CASE WHEN failures > 0 THEN 2 WHEN acknowledged > 0 THEN 0 ELSE 1 END,
    last_order = coalesce((SELECT max(sequence) FROM delivery WHERE recipient = party AND is_order), 0);
UPDATE mailbox SET quiet = last_order <= acknowledged;

-- The item's seller, because sellers take turns. Markets of the version before leave it empty (the nil UUID); it is
-- filled in before their events are expanded.
ALTER TABLE event ADD COLUMN seller UUID NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
CREATE INDEX event_to_expand_by_seller ON event (seller, seq) WHERE NOT is_done;
