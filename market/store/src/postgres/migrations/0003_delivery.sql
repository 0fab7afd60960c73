-- The highest sequence that was handed to a delivery attempt or a stream among those that could be merged: somebody
-- may have received what lies up to it.
ALTER TABLE mailbox ADD COLUMN handed_out BIGINT NOT NULL DEFAULT 0;

-- No longer unique: what may have been received stays, and a later update of the item waits beside it.
DROP INDEX delivery_coalescing;
CREATE INDEX delivery_coalescing ON delivery (recipient, coalesces, sequence) WHERE coalesces IS NOT NULL;

-- Which of what waits had been handed out was not recorded.
UPDATE mailbox SET handed_out = last_sequence;

-- The item's seller, because sellers take turns. Markets of the version before leave it empty (the nil UUID); it is
-- filled in before their events are expanded.
ALTER TABLE event ADD COLUMN seller UUID NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
CREATE INDEX event_to_expand_by_seller ON event (seller, seq) WHERE NOT is_done;
