//! What must hold of the rows of a store, whatever its back end.
//!
//! The numbers are those of the invariants in ARCHITECTURE.md. Invariants about behaviour (I2, I4, I7, I8, I12, I14) leave
//! no trace in the rows; I9 is verified by [`audit`](crate::audit).

/// A condition on the rows.
#[derive(Clone, Copy)]
pub(crate) struct Condition {
    /// The invariant that it belongs to, such as "I1".
    pub(crate) invariant: &'static str,
    /// The condition in words.
    pub(crate) holds: &'static str,
    /// Selects a column `violator`: the numbers or ids of the rows for which it does not hold. `{id:COLUMN}` is
    /// replaced by an expression for the text of a UUID column.
    pub(crate) violators: &'static str,
}

/// What a check has found about one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The invariant that it belongs to, or the name of another check.
    pub invariant: &'static str,
    /// The condition in words.
    pub holds: &'static str,
    /// The number of rows that violate it.
    pub violations: i64,
    /// One of these rows. Empty if there is none.
    pub example: String,
}

impl Condition {
    /// Returns the statement that counts the violators and names one of them.
    pub(crate) fn statement(&self, text_of_id: impl Fn(&str) -> String) -> String {
        let mut violators = String::new();
        let mut rest = self.violators;
        while let Some((before, after)) = rest.split_once("{id:") {
            let (column, behind) = after.split_once('}').unwrap_or((after, ""));
            violators.push_str(before);
            violators.push_str(&text_of_id(column));
            rest = behind;
        }
        violators.push_str(rest);
        format!("SELECT count(*), coalesce(CAST(min(violator) AS TEXT), '') FROM ({violators}) AS violators")
    }
}

/// The conditions that hold on every back end with SQL.
pub(crate) const CONDITIONS: &[Condition] = &[
    Condition {
        invariant: "I1",
        holds: "each item: supplied = sold + quantity + withdrawn, none negative",
        violators: "SELECT id AS violator FROM item WHERE supplied <> sold + quantity + withdrawn \
                    OR quantity < 0 OR sold < 0 OR withdrawn < 0",
    },
    Condition {
        invariant: "I1",
        holds: "each order: total = price * quantity, of an item that exists",
        violators: "SELECT orders.id AS violator FROM orders LEFT JOIN item ON item.id = orders.item \
                    WHERE item.id IS NULL OR orders.total_minor <> orders.amount_minor * orders.quantity \
                    OR orders.quantity <= 0",
    },
    Condition {
        invariant: "I1",
        holds: "each order has the times of its status",
        violators: "SELECT id AS violator FROM orders WHERE (status = 'cancelled') <> (cancelled_at IS NOT NULL) \
                    OR (status = 'delivered' AND delivered_at IS NULL) OR (status = 'placed' AND shipped_at IS NOT NULL)",
    },
    // A rating without a purchase is no violation: the seller can have cancelled the order, and in older stores, so can the
    // buyer.
    Condition {
        invariant: "I1",
        holds: "each item: its ratings are those that were given",
        violators: "SELECT item.id AS violator FROM item LEFT JOIN (SELECT item, count(*) AS given, sum(stars) AS stars \
                    FROM rating GROUP BY item) AS ratings ON ratings.item = item.id \
                    WHERE item.rating_count <> coalesce(ratings.given, 0) OR item.rating_stars <> coalesce(ratings.stars, 0)",
    },
    Condition {
        invariant: "I1",
        holds: "each item: the sums of its sales are those of its orders, present and archived",
        violators: "SELECT coalesce(placed.item, kept.item) AS violator FROM (SELECT item, sum(orders) AS orders, \
                    sum(units) AS units FROM (SELECT item, count(*) AS orders, sum(quantity) AS units FROM orders \
                    WHERE status <> 'cancelled' GROUP BY item UNION ALL SELECT item, orders, units FROM archived) AS parts \
                    GROUP BY item) AS placed \
                    FULL JOIN (SELECT item, sum(orders) AS orders, sum(units) AS units FROM sales GROUP BY item) AS kept \
                    ON kept.item = placed.item WHERE coalesce(placed.orders, 0) <> coalesce(kept.orders, 0) \
                    OR coalesce(placed.units, 0) <> coalesce(kept.units, 0)",
    },
    Condition {
        invariant: "I1",
        holds: "each item: its units sold are those of its sales",
        violators: "SELECT item.id AS violator FROM item LEFT JOIN (SELECT item, sum(units) AS units FROM sales \
                    GROUP BY item) AS kept ON kept.item = item.id WHERE item.sold <> coalesce(kept.units, 0)",
    },
    Condition {
        invariant: "I1",
        holds: "each archived order and purchase is of an item that exists",
        violators: "SELECT archived.item AS violator FROM archived LEFT JOIN item ON item.id = archived.item \
                    WHERE item.id IS NULL OR archived.orders < 0 OR archived.units < archived.orders \
                    OR archived.cancelled < 0 \
                    UNION ALL SELECT bought.item FROM bought LEFT JOIN archived ON archived.item = bought.item \
                    WHERE archived.item IS NULL",
    },
    Condition {
        invariant: "I5",
        holds: "each delivery has its event",
        violators: "SELECT delivery.sequence AS violator FROM delivery LEFT JOIN event ON event.seq = delivery.event \
                    WHERE delivery.event <> 0 AND event.seq IS NULL",
    },
    Condition {
        invariant: "I6",
        holds: "each party has one mailbox",
        violators: "SELECT {id:party.id} AS violator FROM party LEFT JOIN mailbox ON mailbox.party = party.id \
                    WHERE mailbox.party IS NULL",
    },
    Condition {
        invariant: "I10",
        holds: "each delivery lies in a mailbox that has assigned its sequence",
        violators: "SELECT delivery.sequence AS violator FROM delivery LEFT JOIN mailbox ON mailbox.party = delivery.recipient \
                    WHERE mailbox.party IS NULL OR delivery.sequence <= 0 OR delivery.sequence > mailbox.last_sequence",
    },
    Condition {
        invariant: "I10",
        holds: "no mailbox acknowledges more than it has assigned",
        violators: "SELECT {id:party} AS violator FROM mailbox WHERE acknowledged > last_sequence OR acknowledged < 0",
    },
    Condition {
        invariant: "I11",
        holds: "each till belongs to a seller",
        violators: "SELECT {id:till.id} AS violator FROM till LEFT JOIN party ON party.id = till.seller \
                    WHERE party.id IS NULL OR party.role <> 'seller'",
    },
    Condition {
        invariant: "I13",
        holds: "each item has a feed position of its own",
        violators: "SELECT max(id) AS violator FROM item GROUP BY feed_position HAVING count(*) > 1",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_shown_in_the_way_of_the_back_end() {
        let condition =
            Condition { invariant: "I0", holds: "", violators: "SELECT {id:a.b} AS violator FROM a" };
        assert_eq!(
            condition.statement(|column| format!("hex({column})")),
            "SELECT count(*), coalesce(CAST(min(violator) AS TEXT), '') FROM (SELECT hex(a.b) AS violator FROM a) AS violators"
        );
    }
}
