-- What a consumer has missed is counted since it exists, and what of that it has confirmed is recorded beside it: an
-- answer that reports it may be lost.
ALTER TABLE mailbox ADD COLUMN told_orders INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN told_updates INTEGER NOT NULL DEFAULT 0;
ALTER TABLE consumer ADD COLUMN told_orders INTEGER NOT NULL DEFAULT 0;
ALTER TABLE consumer ADD COLUMN told_updates INTEGER NOT NULL DEFAULT 0;
