-- When the regular attempt is due that a probe has preceded; NULL if there is none. A probe's failure leaves it as it is.
ALTER TABLE mailbox ADD COLUMN regular_attempt BIGINT;
-- Whether a probe was asked for while an attempt was under way.
ALTER TABLE mailbox ADD COLUMN is_probed BOOLEAN NOT NULL DEFAULT false;
-- When to attempt at the latest, because an order has come since the last attempt began; NULL if none has.
ALTER TABLE mailbox ADD COLUMN latest_attempt BIGINT;
