-- Since when and why a party is shut out; both NULL while it is not.
ALTER TABLE party ADD COLUMN suspended_at INTEGER;
ALTER TABLE party ADD COLUMN suspended_for TEXT;

CREATE INDEX party_suspended ON party (id) WHERE suspended_at IS NOT NULL;
