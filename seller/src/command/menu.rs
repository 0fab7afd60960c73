//! The menu of the seller's shell.

use souk_cli::{
    Entry, Source,
    menu::{Empty, Field, Kind},
};
use souk_proto::v1::OrderStatus;

/// The maximum number of units in stock: the market's limit.
const STOCK_MAX: i64 = 1_000_000_000;

const ITEM: Field = Field::argument("which item", Kind::Choice(Source::Items));

const fn order(status: OrderStatus) -> Field {
    Field::argument("which order", Kind::Choice(Source::Orders(status)))
}

/// The entries, numbered from 1.
pub(super) const MENU: &[Entry] = &[
    Entry::asking("Register", &["register"], &[Field::argument("name to show to buyers", Kind::Line(100))]),
    Entry::asking(
        "Sell an item",
        &["sell"],
        &[
            Field::flag("name", "--name", Kind::Line(200)),
            Field::flag("category", "--category", Kind::Category),
            Field::flag("price, such as 12.50 GBP", "--price", Kind::Price),
            Field::flag("units for sale", "--quantity", Kind::Number(STOCK_MAX)),
            Field::flag("description", "--description", Kind::Prose(4_000)).if_empty(Empty::Omits),
        ],
    ),
    Entry::asking(
        "Update an item",
        &["update"],
        &[
            ITEM,
            Field::flag("name", "--name", Kind::Line(200)).if_empty(Empty::Keeps),
            Field::flag("category", "--category", Kind::Category).if_empty(Empty::Keeps),
            Field::flag("price", "--price", Kind::Price).if_empty(Empty::Keeps),
            Field::flag("stock: 5, or +3 or -2", "--quantity", Kind::Stock).if_empty(Empty::Keeps),
            Field::flag("description", "--description", Kind::Prose(4_000)).if_empty(Empty::Keeps),
        ],
    ),
    Entry::asking("Delete an item", &["delete"], &[ITEM]).confirmed(),
    Entry::plain("Display my items", &["items"]),
    Entry::plain("Show my sales", &["sales"]),
    Entry::asking("Ship an order", &["ship"], &[order(OrderStatus::Placed)]),
    Entry::asking("Mark an order as delivered", &["deliver"], &[order(OrderStatus::Shipped)]),
    Entry::asking(
        "Cancel an order",
        &["cancel"],
        &[order(OrderStatus::Placed), Field::flag("why, for the buyer", "--reason", Kind::Line(200))],
    )
    .confirmed(),
];
