//! `seller items`: the seller's own items, page by page, or those that meet conditions.

use std::{cmp::Reverse, collections::BTreeMap};

use clap::{Args, ValueEnum};
use souk_cli::{
    CliSession, Failure, LivePaging,
    view::{ItemView, SoldItemView},
};
use souk_proto::v1::{DisplaySellerItemsRequest, Item};

use super::{
    pick::{
        condition::{Conditions, is_below, normalized},
        shop,
    },
    sales,
};

/// The period in which sales count for the order by sales.
const SALES_DAYS: i64 = 30;
/// The number of items whose sales are asked for: the market's limit.
const SALES_ITEMS: i32 = 1_000;

/// List the items that you sell, all or those that you look for
///
/// With words, a filter or --sort, your whole shop is read, up to 100,000 items, and all matching items are shown; with
/// --watch, every 2 seconds for each 200 items that you have, but at least once a minute.
#[derive(Args)]
#[command(after_help = "Examples:
  seller items lamp --below 5 --sort stock
  seller items --where \"category=home, price>=20\" --sort price
  seller items --status withdrawn")]
pub(crate) struct Items {
    /// Only items with all of these words in their name, description or sku.
    words: Vec<String>,
    /// Only items in this category, or below it.
    #[arg(long)]
    category: Option<String>,
    /// Only items with this status.
    #[arg(long)]
    status: Option<Status>,
    /// Only items of which fewer units are left.
    #[arg(long, value_name = "UNITS")]
    below: Option<i64>,
    /// Only items that meet these conditions, such as "price>=20, sku~T-". Fields: id, sku, name, category, price,
    /// stock, status, listed, updated; comparisons: = != < <= > >= and ~ (contains).
    #[arg(long = "where", value_name = "CONDITIONS")]
    conditions: Option<Conditions<Item>>,
    /// The order [default: by id].
    #[arg(long, value_name = "BY")]
    sort: Option<Sort>,
    #[command(flatten)]
    paging: LivePaging,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Status {
    /// On sale, with units left.
    ForSale,
    /// On sale, without units left.
    SoldOut,
    /// Taken off the market.
    Withdrawn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// Cheapest first, by currency.
    Price,
    /// Fewest units first.
    Stock,
    /// Most units sold in the last 30 days first.
    Sales,
    /// Last changed first.
    Updated,
}

impl Items {
    pub(super) async fn run(mut self, session: &CliSession) -> Result<(), Failure> {
        self.category = self.category.as_deref().map(normalized);
        let withdrawn = self.status == Some(Status::Withdrawn);
        let is_filtered = !self.words.is_empty()
            || self.category.is_some()
            || (self.status.is_some() && !withdrawn)
            || self.below.is_some()
            || self.conditions.is_some()
            || self.sort.is_some();
        if self.sort == Some(Sort::Sales) {
            let by_sales = async |_, _| {
                let items = shop::items(session, withdrawn, |item| self.keeps(item)).await?;
                Ok((best_sellers(session, &items).await?, String::new()))
            };
            return self.paging.pages(session, by_sales).await;
        }
        self.paging
            .pages(session, async |page_size, page_token| {
                if is_filtered {
                    let mut items = shop::items(session, withdrawn, |item| self.keeps(item)).await?;
                    self.arrange(&mut items);
                    return Ok((items.iter().map(ItemView::from).collect(), String::new()));
                }
                let request = DisplaySellerItemsRequest { page_size, page_token, withdrawn };
                let page = session.call(request).await?;
                Ok((page.items.iter().map(ItemView::from).collect(), page.next_page_token))
            })
            .await
    }

    fn keeps(&self, item: &Item) -> bool {
        let has_status = match self.status {
            Some(Status::ForSale) => item.quantity > 0,
            Some(Status::SoldOut) => item.quantity == 0,
            Some(Status::Withdrawn) | None => true,
        };
        has_status
            && self.category.as_deref().is_none_or(|category| is_below(&item.category, category))
            && self.below.is_none_or(|units| item.quantity < units)
            && self.conditions.as_ref().is_none_or(|conditions| conditions.hold(item))
            && has_words(item, &self.words)
    }

    fn arrange(&self, items: &mut [Item]) {
        match self.sort {
            None | Some(Sort::Sales) => {}
            // Stable: by id among equals.
            Some(Sort::Stock) => items.sort_by_key(|item| item.quantity),
            Some(Sort::Updated) => items.sort_by_key(|item| {
                Reverse(item.update_time.as_ref().map(|time| (time.seconds, time.nanos)))
            }),
            Some(Sort::Price) => items.sort_by_cached_key(|item| {
                item.unit_price.as_ref().map(|price| (price.currency_code.clone(), price.amount_minor))
            }),
        }
    }
}

/// Returns items with the units of them that were sold lately, most units first, and by id among equals.
async fn best_sellers(session: &CliSession, items: &[Item]) -> Result<Vec<SoldItemView>, Failure> {
    let summary = sales::last_days(session, SALES_DAYS, SALES_ITEMS).await?;
    let mut sold: BTreeMap<i64, i64> = BTreeMap::new();
    for item in &summary.items {
        *sold.entry(item.item_id).or_default() += item.quantity;
    }
    let units = |item: &Item| sold.get(&item.item_id).copied().unwrap_or(0);
    let mut items: Vec<_> = items.iter().map(|item| (units(item), item)).collect();
    items.sort_by_key(|(units, _)| Reverse(*units));
    Ok(items.into_iter().map(|(units, item)| SoldItemView::new(item, units)).collect())
}

/// Returns whether an item has all of the words in its name, description or SKU, without regard to case.
fn has_words(item: &Item, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let texts = [&item.name, &item.description, &item.sku].map(|text| text.to_lowercase());
    let mut words = words.iter().map(|word| word.to_lowercase());
    words.all(|word| texts.iter().any(|text| text.contains(&word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_have_to_be_in_an_item() {
        let item = Item {
            name: "Brass lamp".into(),
            description: "Öl".into(),
            sku: "T-1".into(),
            ..Default::default()
        };
        let has = |words: &[&str]| {
            has_words(&item, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert!(has(&[]) && has(&["LAMP"]) && has(&["brass", "öl", "t-1"]));
        assert!(!has(&["lamp", "oil"]));
    }
}
