-- A seller's withdrawn items, and its rides.
CREATE INDEX item_withdrawn ON item (seller, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX ride_by_seller ON ride (seller, id);
