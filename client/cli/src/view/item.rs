//! Views of items, wishes, categories and ratings.

use serde::Serialize;
use souk_proto::v1;

use super::{MoneyView, or_dash, time};
use crate::{money::format_money, output::Shown, plain, prose};

/// An item, as a row or JSON object.
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
    create_time: Option<String>,
    update_time: Option<String>,
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
            create_time: time(item.create_time.as_ref()),
            update_time: time(item.update_time.as_ref()),
            price: format_money(item.unit_price.as_ref()),
        }
    }
}

impl Shown for ItemView {
    const HEADINGS: &'static [&'static str] =
        &["ID", "NAME", "CATEGORY", "PRICE", "STOCK", "RATING", "SELLER"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.item_id.to_string(),
            self.name.clone(),
            self.category.clone(),
            self.price.clone(),
            if self.quantity == 0 { "sold out".to_owned() } else { self.quantity.to_string() },
            self.rating.as_ref().map_or_else(|| "unrated".to_owned(), RatingView::stars),
            self.seller_name.clone(),
        ]
    }
}

impl ItemView {
    /// Adds all other fields, as `show` prints them.
    pub fn details(self) -> ItemDetails {
        ItemDetails(self)
    }
}

/// An item with all of its fields.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct ItemDetails(ItemView);

impl Shown for ItemDetails {
    const HEADINGS: &'static [&'static str] = &[
        "id",
        "name",
        "category",
        "price",
        "stock",
        "rating",
        "seller",
        "seller id",
        "listed",
        "changed",
        "sku",
        "version",
        "description",
    ];

    fn cells(&self) -> Vec<String> {
        let item = &self.0;
        let mut cells = item.cells();
        cells.extend([
            item.seller_id.clone(),
            or_dash(item.create_time.clone()),
            or_dash(item.update_time.clone()),
            item.sku.clone(),
            item.version.to_string(),
            item.description.clone(),
        ]);
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
    const HEADINGS: &'static [&'static str] = &["MEAN", "RATINGS"];

    fn cells(&self) -> Vec<String> {
        vec![format!("{:.1}", self.mean), self.count.to_string()]
    }
}

/// An item on a wishlist, as it is now, and since when it has been there.
#[derive(Clone, Debug, Serialize)]
pub struct WishView {
    item: Option<ItemView>,
    add_time: Option<String>,
}

impl From<&v1::Wish> for WishView {
    fn from(wish: &v1::Wish) -> Self {
        Self { item: wish.item.as_ref().map(ItemView::from), add_time: time(wish.add_time.as_ref()) }
    }
}

impl Shown for WishView {
    const HEADINGS: &'static [&'static str] =
        &["ID", "NAME", "CATEGORY", "PRICE", "STOCK", "RATING", "SELLER", "SINCE"];

    fn cells(&self) -> Vec<String> {
        // As many cells as there are headings, also for a wish whose item is missing.
        let missing = || vec![or_dash(None); Self::HEADINGS.len() - 1];
        let mut cells = self.item.as_ref().map_or_else(missing, Shown::cells);
        cells.push(or_dash(self.add_time.clone()));
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
    const HEADINGS: &'static [&'static str] = &["CATEGORY", "ITEMS"];

    fn cells(&self) -> Vec<String> {
        vec![self.category.clone(), self.item_count.to_string()]
    }
}
