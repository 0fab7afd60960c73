-- The highest sequence that was handed to a delivery attempt or a stream among those that could be merged: somebody
-- may have received what lies up to it.
ALTER TABLE mailbox ADD COLUMN handed_out INTEGER NOT NULL DEFAULT 0;

-- No longer unique: what may have been received stays, and a later update of the item waits beside it.
DROP INDEX delivery_coalescing;
CREATE INDEX delivery_coalescing ON delivery (recipient, coalesces, sequence) WHERE coalesces IS NOT NULL;

-- Which of what waits had been handed out was not recorded.
UPDATE mailbox SET handed_out = last_sequence;

-- By seller, because sellers take turns.
ALTER TABLE fan_out ADD COLUMN seller BLOB NOT NULL DEFAULT x'';
UPDATE fan_out SET seller = (SELECT seller FROM item WHERE item.id = fan_out.item);
CREATE INDEX fan_out_by_seller ON fan_out (seller, event);
