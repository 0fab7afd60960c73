-- Creates the same numbers of sellers, items and units as the markets have.
INSERT INTO party (id, role, display_name, registered_at, epoch, revision)
SELECT lpad(to_hex(n), 32, '0')::UUID, 'seller', 'seller ' || n, 0, 0, 1 FROM generate_series(1, :sellers) AS n;
INSERT INTO mailbox (party, role) SELECT id, role FROM party;
INSERT INTO item (id, seller, name, category, amount_minor, currency, quantity, supplied, sold, withdrawn,
                  rating_count, rating_stars, version, created_at, updated_at, feed_position, description)
SELECT n, lpad(to_hex(1 + n % :sellers), 32, '0')::UUID, 'item ' || n, 'home', 1250, 'GBP', 1000000000, 1000000000, 0, 0,
       0, 0, 1, 0, 0, n, ''
FROM generate_series(1, :items) AS n;
ANALYZE;
