-- A purchase as one would write it by hand, with everything that a market writes for one: the stock, the order, the
-- request for replays, the delivery to the seller under the next sequence of its mailbox, and the line of the audit log.
\set item random(1, :items)
\set seller 1 + :item % :sellers
BEGIN;
SELECT quantity, amount_minor, seller, name FROM item WHERE id = :item FOR UPDATE;
SELECT display_name, suspended_at FROM party WHERE id = lpad(to_hex(:seller), 32, '0')::UUID;
UPDATE item SET quantity = quantity - 1, sold = sold + 1, version = version + 1 WHERE id = :item;
INSERT INTO orders (id, buyer, buyer_name, seller, seller_name, item, item_name, amount_minor, currency, quantity, total_minor,
                    status, placed_at)
VALUES (nextval('order_number'), lpad(to_hex(:client_id), 32, '0')::UUID, 'buyer', lpad(to_hex(:seller), 32, '0')::UUID,
        'seller', :item, 'item', 1250, 'GBP', 1, 1250, 'placed', (extract(EPOCH FROM now()) * 1000000)::BIGINT);
INSERT INTO request (id, party, fingerprint, outcome, done_at)
VALUES ((lpad(to_hex((extract(EPOCH FROM clock_timestamp()) * 1000)::BIGINT), 12, '0')
         || substr(replace(gen_random_uuid()::TEXT, '-', ''), 13))::UUID,
        lpad(to_hex(:client_id), 32, '0')::UUID, '\x00112233445566778899aabbccddeeff', repeat('x', 600), 0);
UPDATE mailbox SET last_sequence = last_sequence + 1, next_attempt = least(next_attempt, 0)
WHERE party = lpad(to_hex(:seller), 32, '0')::UUID RETURNING last_sequence AS sequence \gset
INSERT INTO delivery (recipient, sequence, body, is_order, occurred_at)
VALUES (lpad(to_hex(:seller), 32, '0')::UUID, :sequence, repeat('x', 700), true, 0);
INSERT INTO audit_line (place, line) SELECT first + 1, repeat('x', 200) FROM own_places;
COMMIT;
