//! The menu of the buyer's shell.

use souk_cli::{
    Entry, Source,
    menu::{Empty, Field, Kind},
};
use souk_proto::v1::OrderStatus;

/// The maximum number of units in one order: the market's limit.
const ORDER_MAX: i64 = 1_000_000;

const ITEM: Field = Field::argument("which item", Kind::Choice(Source::Items));

const fn order(status: OrderStatus) -> Field {
    Field::argument("which order", Kind::Choice(Source::Orders(status)))
}

/// The entries, numbered from 1.
pub(super) const MENU: &[Entry] = &[
    Entry::asking("Register", &["register"], &[Field::argument("name to show to sellers", Kind::Line(100))]),
    Entry::asking(
        "Search items",
        &["search"],
        &[
            Field::argument("words", Kind::Words).if_empty(Empty::Omits),
            Field::flag("category", "--category", Kind::Category).if_empty(Empty::Omits),
        ],
    ),
    Entry::asking(
        "Buy an item",
        &["buy"],
        &[
            ITEM,
            Field::flag("how many", "--quantity", Kind::Number(ORDER_MAX)).if_empty(Empty::Means("1")),
            // At the price that was shown, or not at all.
            Field::seen("--expect-price", "--price"),
        ],
    ),
    Entry::asking("Add to my wishlist", &["wish", "add"], &[ITEM]),
    // With `--update`, so that an item can be rated again.
    Entry::asking(
        "Rate an item",
        &["rate", "--update"],
        &[
            Field::argument("which item", Kind::Choice(Source::Bought)),
            Field::argument("stars, 1 to 5", Kind::Number(5)),
        ],
    ),
    Entry::plain("Show my orders", &["orders"]),
    Entry::plain("Show my wishlist", &["wish", "list"]),
    Entry::asking("Cancel an order", &["cancel"], &[order(OrderStatus::Placed)]).confirmed(),
    Entry::asking(
        "Take an item off my wishlist",
        &["wish", "rm"],
        &[Field::argument("which item", Kind::Choice(Source::Wishes))],
    ),
    Entry::asking("Track an order on its way", &["track"], &[order(OrderStatus::Shipped)]),
];
