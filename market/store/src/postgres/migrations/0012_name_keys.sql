-- What display names that look alike have in common (`NameKey`): no two parties may have one. It is NULL for a party whose name
-- was another's already when this rule came, which keeps the name, and for one that an older market has registered.
ALTER TABLE party ADD COLUMN name_key TEXT;
CREATE UNIQUE INDEX party_by_name_key ON party (name_key);
