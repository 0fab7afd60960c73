-- Sellers may give items numbers of their own, and find them by these.

ALTER TABLE item ADD COLUMN sku TEXT;

CREATE UNIQUE INDEX item_by_sku ON item (seller, sku) WHERE sku IS NOT NULL AND deleted_at IS NULL;
