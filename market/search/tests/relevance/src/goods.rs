//! The goods that queries are judged over.

use anyhow::{Context as _, ensure};
use souk_domain::{Category, Description, ItemListing, ItemName, Money, Quantity, Sku, Stars};

use super::table;

/// A catalogue. Each is searched by itself, like a market of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goods {
    /// The 80 items of `market demo`, which has neither SKUs nor ratings.
    Demo,
    /// A gift shop's goods, with names as its staff typed them.
    Retail,
    /// Goods of a marketplace whose sellers write in many languages.
    Languages,
}

/// One item of a catalogue, with the trade that it has seen.
#[derive(Clone, Debug)]
pub struct Good {
    /// The name of the item in the judgements.
    pub key: String,
    /// The item as its seller lists it. The quantity includes what has been sold since.
    pub listing: ItemListing,
    /// The units that are left.
    pub stock: i64,
    /// The units that have been sold.
    pub sold: i64,
    /// The ratings, each by another buyer.
    pub stars: Vec<Stars>,
}

/// The columns of `goods-*.tsv`.
const COLUMNS: [&str; 9] =
    ["item", "sku", "name", "description", "category", "price", "stock", "sold", "stars"];

const DEMO: &str = include_str!("../../../../demo-data/catalogue.csv");
const DEMO_COLUMNS: [&str; 4] = ["stock_code", "description", "category", "unit_price_gbp"];
/// The stock of each of the demo's items.
const DEMO_STOCK: i64 = 5;

impl Goods {
    /// All catalogues.
    pub const ALL: [Self; 3] = [Self::Demo, Self::Retail, Self::Languages];

    /// Returns the name by which the judgements refer to the catalogue.
    pub fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Retail => "retail",
            Self::Languages => "languages",
        }
    }

    /// Returns the items of the catalogue in the order in which they are listed.
    pub(super) fn read(self) -> anyhow::Result<Vec<Good>> {
        let goods = match self {
            Self::Demo => table::rows(DEMO, &DEMO_COLUMNS, b',')?.iter().map(|row| demo(row)).collect(),
            Self::Retail => listed(include_str!("../goods-retail.tsv")),
            Self::Languages => listed(include_str!("../goods-languages.tsv")),
        };
        goods.with_context(|| format!("the goods {:?}", self.name()))
    }
}

impl Good {
    /// Returns whether no unit is left.
    pub fn is_sold_out(&self) -> bool {
        self.stock == 0
    }

    /// Returns whether two items have the same name and description, so that a shopper can't tell them apart.
    pub fn equals(&self, other: &Self) -> bool {
        let text = |good: &Self| {
            (good.listing.name.as_str().to_lowercase(), good.listing.description.as_str().to_lowercase())
        };
        text(self) == text(other)
    }
}

fn listed(text: &str) -> anyhow::Result<Vec<Good>> {
    let good = |row: &Vec<String>| good(row).with_context(|| format!("item {}", row[0]));
    table::rows(text, &COLUMNS, b'\t')?.iter().map(good).collect()
}

fn good(row: &[String]) -> anyhow::Result<Good> {
    let [key, sku, name, description, category, price, stock, sold, stars] = row else {
        anyhow::bail!("has {} fields", row.len());
    };
    let sold: i64 = sold.parse().context("sold")?;
    let stock: i64 = stock.parse().context("stock")?;
    let stars: Vec<_> = stars.split_whitespace().map(stars_of).collect::<Result<_, _>>()?;
    ensure!(stars.len() as i64 <= sold, "more ratings than units sold");
    let (amount, currency) = price.split_once(' ').context("price: write 1250 GBP")?;
    Ok(Good {
        key: key.clone(),
        listing: ItemListing {
            sku: (!sku.is_empty()).then(|| Sku::parse(sku)).transpose()?,
            name: ItemName::parse(name)?,
            description: Description::parse(description)?,
            category: Category::parse(category)?,
            unit_price: Money::price(amount.parse()?, currency)?,
            quantity: Quantity::parse_listing(stock + sold)?,
        },
        stock,
        sold,
        stars,
    })
}

fn stars_of(text: &str) -> anyhow::Result<Stars> {
    Ok(Stars::parse(text.parse()?)?)
}

/// Reads a row of the demo's catalogue as `market demo` lists it.
fn demo(row: &[String]) -> anyhow::Result<Good> {
    let [code, name, category, price] = row else {
        anyhow::bail!("has {} fields", row.len());
    };
    let (pounds, pence) = price.split_once('.').context("a price with pence")?;
    let stock = DEMO_STOCK.to_string();
    let price = format!("{pounds}{pence} GBP");
    let fields = [code, "", name, &format!("Stock code {code}"), category, &price, &stock, "0", ""];
    good(&fields.map(str::to_owned))
}
