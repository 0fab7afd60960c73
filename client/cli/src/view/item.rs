//! Views of items, wishes, categories and ratings.

use serde::Serialize;
use souk_proto::v1;

use super::MoneyView;
use crate::{
    fields::DataField,
    money::format_money,
    output::Shown,
    plain, prose,
    table::{Cell, Column, Tone},
    when::When,
};

/// An item, as a row, a card or a JSON object.
#[derive(Clone, Debug, Serialize)]
pub struct ItemView {
    item_id: i64,
    name: String,
    category: String,
    unit_price: Option<MoneyView>,
    quantity: i64,
    rating: Option<RatingView>,
    seller_name: String,
    seller_id: String,
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    sku: String,
    version: i64,
    create_time: Option<When>,
    update_time: Option<When>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdraw_time: Option<When>,
    #[serde(skip)]
    price: String,
}

impl From<&v1::Item> for ItemView {
    fn from(item: &v1::Item) -> Self {
        Self {
            item_id: item.item_id,
            name: plain(&item.name),
            category: plain(&item.category),
            unit_price: MoneyView::new(item.unit_price.as_ref()),
            quantity: item.quantity,
            rating: item.rating.as_ref().map(RatingView::from),
            seller_name: plain(&item.seller_name),
            seller_id: plain(&item.seller_id),
            description: item.description.lines().map(prose).collect::<Vec<_>>().join("\n"),
            sku: plain(&item.sku),
            version: item.version,
            create_time: When::of(item.create_time.as_ref()),
            update_time: When::of(item.update_time.as_ref()),
            withdraw_time: When::of(item.withdraw_time.as_ref()),
            price: format_money(item.unit_price.as_ref()),
        }
    }
}

/// The fields of an item, also in CSV files.
const FIELDS: &[DataField] = &[
    DataField::value("item_id"),
    DataField::value("sku"),
    DataField::value("name"),
    DataField::value("category"),
    DataField::money("unit_price"),
    DataField::value("quantity"),
    DataField::value("rating_mean").at("rating.mean"),
    DataField::value("rating_count").at("rating.count"),
    DataField::value("seller_name"),
    DataField::value("seller_id"),
    DataField::value("description"),
    DataField::value("version"),
    DataField::value("create_time"),
    DataField::value("update_time"),
    DataField::value("withdraw_time"),
];

impl Shown for ItemView {
    const LIST: &'static str = "items";
    const COLUMNS: &'static [Column] = &[
        Column::number("ID"),
        Column::text("NAME"),
        Column::text("CATEGORY").rank(3),
        Column::number("PRICE"),
        Column::number("STOCK"),
        Column::word("RATING").rank(2),
        Column::text("SELLER").rank(1).names_user_of("seller"),
    ];
    const CARD: &'static [Column] = &[
        Column::number("id"),
        Column::prose("name"),
        Column::word("category"),
        Column::number("price"),
        Column::number("stock"),
        Column::word("rating"),
        Column::prose("seller").names_user_of("seller"),
        Column::word("seller id").names_user_of("seller"),
        Column::word("listed"),
        Column::word("changed"),
        Column::word("withdrawn"),
        Column::word("sku"),
        Column::number("version"),
        Column::prose("description"),
    ];
    const FIELDS: &'static [DataField] = FIELDS;

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.item_id.into(),
            Cell::from(&self.name),
            Cell::from(&self.category),
            Cell::from(&self.price),
            self.stock(),
            self.rating.as_ref().map_or_else(|| "unrated".to_owned(), RatingView::stars).into(),
            Cell::from(&self.seller_name),
        ]
    }

    fn card_cells(&self) -> Vec<Cell> {
        let mut cells = self.cells();
        cells.extend([
            Cell::from(&self.seller_id),
            Cell::time(self.create_time),
            Cell::time(self.update_time),
            Cell::time(self.withdraw_time),
            Cell::or_dash(Some(self.sku.as_str())),
            self.version.into(),
            Cell::or_dash(Some(self.description.as_str())),
        ]);
        cells
    }
}

impl ItemView {
    fn stock(&self) -> Cell {
        match self.quantity {
            0 => Cell::from("sold out").tone(Tone::Bad),
            units => units.into(),
        }
    }
}

/// An item with the units of it that were sold lately.
#[derive(Clone, Debug, Serialize)]
pub struct SoldItemView {
    #[serde(flatten)]
    item: ItemView,
    units_sold: i64,
}

impl SoldItemView {
    /// Creates the row of an item of which so many units were sold.
    pub fn new(item: &v1::Item, units_sold: i64) -> Self {
        Self { item: ItemView::from(item), units_sold }
    }
}

/// The fields of an item, and the units that were sold.
const SOLD_FIELDS: [DataField; FIELDS.len() + 1] = {
    let mut fields = [DataField::value("units_sold"); FIELDS.len() + 1];
    let (items, _) = fields.split_at_mut(FIELDS.len());
    items.copy_from_slice(FIELDS);
    fields
};

impl Shown for SoldItemView {
    const LIST: &'static str = ItemView::LIST;
    const COLUMNS: &'static [Column] = &[
        ItemView::COLUMNS[0],
        ItemView::COLUMNS[1],
        ItemView::COLUMNS[2],
        ItemView::COLUMNS[3],
        ItemView::COLUMNS[4],
        Column::number("SOLD"),
    ];
    const FIELDS: &'static [DataField] = &SOLD_FIELDS;

    fn cells(&self) -> Vec<Cell> {
        let mut cells = self.item.cells();
        // The rating and the seller give way.
        cells.truncate(Self::COLUMNS.len() - 1);
        cells.push(self.units_sold.into());
        cells
    }
}

/// The number of ratings of an item, and their mean in stars.
#[derive(Clone, Debug, Serialize)]
pub struct RatingView {
    count: i64,
    mean: f64,
}

impl RatingView {
    fn stars(&self) -> String {
        format!("{:.1} ({})", self.mean, self.count)
    }
}

impl From<&v1::RatingSummary> for RatingView {
    fn from(rating: &v1::RatingSummary) -> Self {
        Self { count: rating.count, mean: rating.mean }
    }
}

impl Shown for RatingView {
    const LIST: &'static str = "ratings";
    const COLUMNS: &'static [Column] = &[Column::number("MEAN"), Column::number("RATINGS")];
    const FIELDS: &'static [DataField] = &[DataField::value("mean"), DataField::value("count")];

    fn cells(&self) -> Vec<Cell> {
        vec![format!("{:.1}", self.mean).into(), self.count.into()]
    }
}

/// An item on a wishlist, as it is now, and since when it has been there.
#[derive(Clone, Debug, Serialize)]
pub struct WishView {
    item: Option<ItemView>,
    add_time: Option<When>,
}

impl From<&v1::Wish> for WishView {
    fn from(wish: &v1::Wish) -> Self {
        Self { item: wish.item.as_ref().map(ItemView::from), add_time: When::of(wish.add_time.as_ref()) }
    }
}

impl Shown for WishView {
    const LIST: &'static str = "wishes";
    const COLUMNS: &'static [Column] = &[
        Column::number("ID"),
        Column::text("NAME"),
        Column::text("CATEGORY").rank(4),
        Column::number("PRICE"),
        Column::number("STOCK"),
        Column::word("RATING").rank(3),
        Column::text("SELLER").rank(2),
        Column::word("SINCE").rank(1),
    ];
    const FIELDS: &'static [DataField] = &[
        DataField::value("item_id").at("item.item_id"),
        DataField::value("name").at("item.name"),
        DataField::value("category").at("item.category"),
        DataField::money("unit_price").at("item.unit_price"),
        DataField::value("quantity").at("item.quantity"),
        DataField::value("rating_mean").at("item.rating.mean"),
        DataField::value("rating_count").at("item.rating.count"),
        DataField::value("seller_name").at("item.seller_name"),
        DataField::value("seller_id").at("item.seller_id"),
        DataField::value("add_time"),
    ];

    fn cells(&self) -> Vec<Cell> {
        // As many cells as there are columns, also for a wish whose item is missing.
        let missing = || vec![Cell::time(None); Self::COLUMNS.len() - 1];
        let mut cells = self.item.as_ref().map_or_else(missing, Shown::cells);
        cells.push(Cell::time(self.add_time));
        cells
    }
}

/// A category, with the number of items in it. Those in the categories below it are not counted.
#[derive(Clone, Debug, Serialize)]
pub struct CategoryView {
    category: String,
    item_count: i64,
}

impl From<&v1::CategoryCount> for CategoryView {
    fn from(count: &v1::CategoryCount) -> Self {
        Self { category: plain(&count.category), item_count: count.item_count }
    }
}

impl Shown for CategoryView {
    const LIST: &'static str = "categories";
    const COLUMNS: &'static [Column] = &[Column::prose("CATEGORY"), Column::number("ITEMS")];
    const FIELDS: &'static [DataField] = &[DataField::value("category"), DataField::value("item_count")];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::from(&self.category), self.item_count.into()]
    }
}
