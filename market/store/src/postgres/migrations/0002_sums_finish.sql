-- All orders are added: from now on every change counts.
-- The item of each order is locked by the batch, and so nobody else changes its sums.
CREATE OR REPLACE FUNCTION count_new_orders() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sales AS kept
    SELECT seller, placed_at / 86400000000, item, currency, count(*), sum(quantity), sum(total_minor)
    FROM new_orders WHERE status <> 'cancelled' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (seller, day, item, currency) DO UPDATE SET orders = kept.orders + excluded.orders,
        units = kept.units + excluded.units, amount_minor = kept.amount_minor + excluded.amount_minor;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION count_changed_orders() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sales AS kept
    SELECT seller, placed_at / 86400000000, item, currency, sum(sign), sum(sign * quantity), sum(sign * total_minor)
    FROM (SELECT 1 AS sign, * FROM new_orders UNION ALL SELECT -1, * FROM old_orders) AS changed
    WHERE status <> 'cancelled' GROUP BY 1, 2, 3, 4 HAVING sum(sign) <> 0 ORDER BY 1, 2, 3, 4
    ON CONFLICT (seller, day, item, currency) DO UPDATE SET orders = kept.orders + excluded.orders,
        units = kept.units + excluded.units, amount_minor = kept.amount_minor + excluded.amount_minor;
    RETURN NULL;
END
$$;

DROP FUNCTION add_sums;
