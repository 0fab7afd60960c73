-- Sums of sales, kept as orders happen, so that summaries need not read all orders.
--
-- They are kept by triggers, unlike everything else: a market of the version before, which runs beside this one during
-- an upgrade, knows nothing of them, and its orders must count too.

-- Orders that were not cancelled, by the day on which they were placed (days since 1970-01-01, UTC).
CREATE TABLE sales (
    seller       UUID NOT NULL,
    day          BIGINT NOT NULL,
    item         BIGINT NOT NULL,
    currency     TEXT NOT NULL,
    orders       BIGINT NOT NULL,
    units        BIGINT NOT NULL,
    -- A sum of amounts may exceed 64 bits.
    amount_minor NUMERIC NOT NULL,
    PRIMARY KEY (seller, day, item, currency)
) WITH (fillfactor = 70);

-- The item of each order is locked by the batch, and so nobody else changes its sums.
CREATE FUNCTION count_new_orders() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sales AS kept
    SELECT seller, placed_at / 86400000000, item, currency, count(*), sum(quantity), sum(total_minor)
    FROM new_orders WHERE status <> 'cancelled' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (seller, day, item, currency) DO UPDATE SET orders = kept.orders + excluded.orders,
        units = kept.units + excluded.units, amount_minor = kept.amount_minor + excluded.amount_minor;
    RETURN NULL;
END
$$;

CREATE FUNCTION count_changed_orders() RETURNS TRIGGER LANGUAGE plpgsql AS $$
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

-- Also keeps other markets from placing orders until the sums of the present ones are complete.
CREATE TRIGGER sales_of_new_orders AFTER INSERT ON orders REFERENCING NEW TABLE AS new_orders
    FOR EACH STATEMENT EXECUTE FUNCTION count_new_orders();
CREATE TRIGGER sales_of_changed_orders AFTER UPDATE ON orders
    REFERENCING NEW TABLE AS new_orders OLD TABLE AS old_orders
    FOR EACH STATEMENT EXECUTE FUNCTION count_changed_orders();

INSERT INTO sales
SELECT seller, placed_at / 86400000000, item, currency, count(*), sum(quantity), sum(total_minor)
FROM orders WHERE status <> 'cancelled' GROUP BY 1, 2, 3, 4;
