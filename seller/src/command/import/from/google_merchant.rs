//! A product data source of Google Merchant Center (its "Product data specification"): a text file with the attributes'
//! names as headings, or JSON as the Content API and the Merchant API have it.

use time::OffsetDateTime;

use super::{
    category::path,
    cells::Cells,
    html::plain,
    period,
    product::{Converted, Product, stock, variant_name},
};

pub(super) const NEEDED: &[&[&str]] = &[&["id", "offer_id"], &["title"], &["price"]];

/// Attributes by which the variants of an item group differ.
const VARIANT: [&str; 5] = ["color", "size", "sizes", "material", "pattern"];
/// The stock, which only some of Google's programs have as an attribute.
const QUANTITY: &[&str] = &["quantity", "sell_on_google_quantity"];

/// Reads the rows of a file, which are independent of each other.
#[derive(Debug)]
pub(super) struct GoogleMerchant;

impl GoogleMerchant {
    pub(super) fn convert(&mut self, cells: &Cells, now: OffsetDateTime) -> Result<Converted, String> {
        let title = plain(cells.get("title").unwrap_or_default());
        // Variants often have the same title.
        let is_variant = cells.filled(&["item_group_id"]).is_some();
        let values = VARIANT.into_iter().filter_map(|name| cells.get(name)).filter(|_| is_variant);
        let mut product = Product {
            sku: cells.filled(&["offer_id", "id"]).map(str::to_owned),
            name: Some(variant_name(&title, values)),
            category: category(cells),
            price: price(cells, now)?,
            quantity: quantity(cells)?,
            ..Product::default()
        };
        if let Some(text) = cells.get("description") {
            product.describe(plain(text));
        }
        Ok(Converted::Item(product))
    }
}

/// Returns the seller's own category, or else Google's. A number of Google's taxonomy means nothing to buyers.
fn category(cells: &Cells) -> Option<String> {
    let own = cells.filled(&["product_type", "product_types"]);
    // Several are separated by commas, the most important one first.
    let own = own.and_then(|own| own.split(',').find_map(path));
    own.or_else(|| {
        let google = cells.filled(&["google_product_category"])?;
        // A comma is a part of its names: "Food, Beverages & Tobacco".
        if google.bytes().all(|byte| byte.is_ascii_digit()) { None } else { path(google) }
    })
}

/// Returns the price that applies now.
fn price(cells: &Cells, now: OffsetDateTime) -> Result<Option<String>, String> {
    let regular = cells.filled(&["price"]);
    let Some(sale) = cells.filled(&["sale_price"]) else { return Ok(regular.map(str::to_owned)) };
    let period = cells.filled(&["sale_price_effective_date"]).unwrap_or("/");
    let ends = period.split_once('/').map(|(begin, end)| (begin.trim(), end.trim()));
    let is_on = ends.ok_or_else(|| period.to_owned()).and_then(|(begin, end)| period::is_on(begin, end, now));
    let is_on = is_on.map_err(|text| {
        format!(
            "has a sale_price_effective_date that can't be read, {text:?}; write it as 2026-11-24T11:07+0100/2026-11-30T23:07+0100"
        )
    })?;
    Ok(if is_on { Some(sale) } else { regular }.map(str::to_owned))
}

/// Returns the stock; absent if the file only says that there is some.
fn quantity(cells: &Cells) -> Result<Option<String>, String> {
    let availability = cells.get("availability").unwrap_or_default();
    let normal = availability.to_lowercase().replace([' ', '-'], "_");
    match normal.as_str() {
        "in_stock" | "limited_availability" | "" => Ok(cells.filled(QUANTITY).map(stock)),
        // Not there yet, or not any more.
        "out_of_stock" | "preorder" | "backorder" | "on_display_to_order" => Ok(Some("0".to_owned())),
        _ => Err(format!(
            "has the availability {availability:?}, which is none of in_stock, out_of_stock, preorder and backorder"
        )),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn convert(cells: &Cells) -> Result<Product, String> {
        match GoogleMerchant.convert(cells, datetime!(2026-11-30 12:00 UTC))? {
            Converted::Item(product) => Ok(product),
            Converted::No(reason) => panic!("{reason:?}"),
        }
    }

    #[test]
    fn a_row_of_a_text_file_is_an_item() {
        let product = convert(&Cells::of([
            ("id", "A2B4"),
            ("title", "Mens Pique Polo Shirt"),
            ("description", "Made from 100% organic cotton &amp; love."),
            ("link", "http://www.example.com/a"),
            ("availability", "in stock"),
            ("quantity", "12"),
            ("price", "15.00 USD"),
            ("sale price", "12.50 USD"),
            ("sale price effective date", "2026-11-24T11:07+0100/2026-12-01T23:07+0100"),
            ("google product category", "Apparel & Accessories > Clothing > Shirts"),
            ("product type", "Home > Men > Shirts"),
            ("item group id", "AB12345"),
            ("color", "Red"),
            ("size", "M"),
        ]));
        let expected = Product {
            sku: Some("A2B4".to_owned()),
            name: Some("Mens Pique Polo Shirt - Red / M".to_owned()),
            description: Some("Made from 100% organic cotton & love.".to_owned()),
            category: Some("home/men/shirts".to_owned()),
            price: Some("12.50 USD".to_owned()),
            quantity: Some("12".to_owned()),
            is_cut: false,
        };
        assert_eq!(product, Ok(expected));
    }

    #[test]
    fn products_of_the_apis_are_items() {
        for json in [
            r#"{"offerId":"A1","title":"Mug","price":{"value":"7.50","currency":"GBP"},"availability":"out of stock",
                "productTypes":["Home > Kitchen"],"googleProductCategory":"638"}"#,
            r#"{"offerId":"A1","productAttributes":{"title":"Mug","price":{"amountMicros":"7500000","currencyCode":"GBP"},
                "availability":"OUT_OF_STOCK","productTypes":["Home > Kitchen"]}}"#,
        ] {
            let product = convert(&Cells::of_json(&serde_json::from_str(json).unwrap())).unwrap();
            assert_eq!((product.sku.as_deref(), product.name.as_deref()), (Some("A1"), Some("Mug")));
            assert!(product.price.is_some_and(|price| ["7.50 GBP", "7.5 GBP"].contains(&price.as_str())));
            assert_eq!(product.category.as_deref(), Some("home/kitchen"));
            assert_eq!((product.quantity.as_deref(), product.description), (Some("0"), None));
        }
    }

    #[test]
    fn stock_that_is_not_stated_is_absent() {
        let with = |availability: &str| {
            convert(&Cells::of([("id", "A"), ("title", "T"), ("availability", availability)]))
                .map(|product| product.quantity)
        };
        assert_eq!(with("in_stock"), Ok(None));
        assert_eq!(with("Preorder"), Ok(Some("0".to_owned())));
        assert!(with("maybe").unwrap_err().contains("maybe"));
    }

    #[test]
    fn a_period_that_can_not_be_read_is_refused() {
        for period in ["today", "2026-11-24/soon"] {
            let cells = [
                ("id", "A"),
                ("price", "2 GBP"),
                ("sale_price", "1 GBP"),
                ("sale_price_effective_date", period),
            ];
            assert!(convert(&Cells::of(cells)).unwrap_err().contains("can't be read"));
        }
    }
}
