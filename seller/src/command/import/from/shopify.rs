//! Shopify's export of products (help.shopify.com, "Using CSV files to import and export products").
//!
//! A product has a row for each variant and each further picture, all with its handle and next to each other. Its own
//! fields (title, description, status, …) are only in the first one. In 2025 the headings changed: `Handle` became
//! `URL handle`, `Variant SKU` became `SKU`, and so on; both are read.

use super::{
    category::{path, slug},
    cells::Cells,
    html::plain,
    product::{Converted, NoItem, Product, is_true, sku_of, stock, variant_name},
};

pub(super) const NEEDED: &[&[&str]] = &[&["Title"], PRICE];

const HANDLE: &[&str] = &["Handle", "URL handle"];
const BODY: &[&str] = &["Body (HTML)", "Description"];
const CATEGORY: &[&str] = &["Product Category", "Type"];
const PUBLISHED: &[&str] = &["Published", "Published on online store"];
const SKU: &[&str] = &["Variant SKU", "SKU"];
const PRICE: &[&str] = &["Variant Price", "Price"];
const TRACKER: &[&str] = &["Variant Inventory Tracker", "Inventory tracker"];
const QUANTITY: &[&str] = &["Variant Inventory Qty", "Inventory quantity"];
const OPTIONS: [&str; 3] = ["Option1 Value", "Option2 Value", "Option3 Value"];

/// What Shopify calls the only variant of a product.
const ONLY_VARIANT: &str = "Default Title";
/// A category that is none.
const NO_CATEGORY: &str = "Uncategorized";

/// Reads the rows of a file in their order.
#[derive(Debug, Default)]
pub(super) struct Shopify {
    product: Option<Parent>,
}

/// The product of the row before, with what its first row said.
#[derive(Debug)]
struct Parent {
    handle: String,
    /// The title, the description and the category.
    fields: Product,
    is_published: bool,
    is_gift_card: bool,
}

impl Shopify {
    pub(super) fn convert(&mut self, cells: &Cells) -> Result<Converted, String> {
        let handle = cells.filled(HANDLE);
        let title = cells.filled(&["Title"]);
        let is_same = self.product.as_ref().is_some_and(|product| {
            // Without a handle, a row without a title continues the product, and one with a title begins another.
            handle.map_or(title.is_none(), |handle| handle == product.handle)
        });
        if !is_same {
            self.product = None;
            let handle = handle.map(str::to_owned);
            let Some(title) = title else {
                return Err(match handle {
                    Some(handle) => format!(
                        "is of product {handle:?}, but has no title; keep the rows of a product together, the one with the title first"
                    ),
                    None => "has neither a handle nor a title".to_owned(),
                });
            };
            self.product = Some(Parent::of(handle.unwrap_or_else(|| slug(title)), title, cells));
        }
        match &self.product {
            Some(product) => product.variant(cells),
            None => Err("has neither a handle nor a title".to_owned()),
        }
    }
}

impl Parent {
    fn of(handle: String, title: &str, cells: &Cells) -> Self {
        let mut fields = Product { name: Some(title.to_owned()), ..Product::default() };
        if let Some(body) = cells.any(BODY) {
            fields.describe(plain(body));
        }
        let categories = CATEGORY.iter().filter_map(|heading| cells.get(heading));
        fields.category = categories.filter(|category| *category != NO_CATEGORY).find_map(path);
        let is_active = cells.filled(&["Status"]).is_none_or(|status| status.eq_ignore_ascii_case("active"));
        Self {
            handle,
            fields,
            is_published: is_active && cells.filled(PUBLISHED).is_none_or(is_true),
            is_gift_card: cells.filled(&["Gift Card"]).is_some_and(is_true),
        }
    }

    fn variant(&self, cells: &Cells) -> Result<Converted, String> {
        let options = OPTIONS.map(|heading| cells.get(heading).unwrap_or_default());
        let options = options.into_iter().filter(|value| !value.is_empty() && *value != ONLY_VARIANT);
        let options: Vec<_> = options.collect();
        let price = cells.filled(PRICE);
        if price.is_none() && cells.filled(SKU).is_none() && options.is_empty() {
            return Ok(Converted::No(NoItem::Picture));
        }
        if self.is_gift_card {
            return Ok(Converted::No(NoItem::GiftCard));
        }
        if !self.is_published {
            return Ok(Converted::No(NoItem::Unpublished));
        }
        let sku = match cells.filled(SKU) {
            Some(sku) => without_apostrophe(sku).to_owned(),
            None => {
                let values: Vec<_> = options.iter().map(|value| slug(value)).collect();
                let parts = std::iter::once(self.handle.as_str()).chain(values.iter().map(String::as_str));
                sku_of(&parts.filter(|part| !part.is_empty()).collect::<Vec<_>>(), "SKU")?
            }
        };
        let title = self.fields.name.as_deref().unwrap_or_default();
        // A stock that is not counted has the quantity 0, or none.
        let is_counted = cells.any(TRACKER).is_none_or(|tracker| !tracker.is_empty());
        Ok(Converted::Item(Product {
            sku: Some(sku),
            name: Some(variant_name(title, options)),
            price: price.map(str::to_owned),
            quantity: cells.filled(QUANTITY).filter(|_| is_counted).map(stock),
            ..self.fields.clone()
        }))
    }
}

/// Returns a SKU without the apostrophe that Shopify puts before digits, so that spreadsheets keep leading zeros.
fn without_apostrophe(sku: &str) -> &str {
    match sku.strip_prefix('\'') {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_digit()) => digits,
        _ => sku,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: &str = "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,\
        Option2 Name,Option2 Value,Variant SKU,Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,\
        Variant Price,Image Src,Gift Card,Status";
    const NEW_HEADINGS: &str = "Title,URL handle,Description,Vendor,Product category,Type,Tags,Published on online store,Status,\
        SKU,Option1 name,Option1 value,Price,Inventory tracker,Inventory quantity,Gift card";

    fn rows(headings: &str, rows: &[&str]) -> Vec<Result<Converted, String>> {
        let headings: Vec<_> = headings.split(',').map(str::trim).collect();
        let mut shop = Shopify::default();
        rows.iter()
            .map(|row| shop.convert(&Cells::of(headings.iter().copied().zip(row.split(',')))))
            .collect()
    }

    fn item(row: &Result<Converted, String>) -> &Product {
        match row {
            Ok(Converted::Item(product)) => product,
            other => panic!("no item: {other:?}"),
        }
    }

    #[test]
    fn variants_take_what_the_first_row_of_their_product_says() {
        let rows = rows(
            HEADINGS,
            &[
                "tee,Classic Tee,<p>Soft.</p>,V,Apparel & Accessories > Clothing,Shirts,,TRUE,Color,Red,Size,M,TEE-R-M,shopify,5,deny,19.90,http://p/1.jpg,FALSE,active",
                "tee,,,,,,,,,Red,,L,'00123,shopify,-2,continue,21,http://p/2.jpg,,",
                "tee,,,,,,,,,,,,,,,,,http://p/3.jpg,,",
                "mug,Mug,Plain,V,Uncategorized,Kitchen Things,,true,Title,Default Title,,,,,0,deny,7.50,,FALSE,active",
            ],
        );
        let red = item(&rows[0]);
        let texts = |product: &Product| {
            let Product { sku, name, description, category, price, quantity, .. } = product.clone();
            [sku, name, description, category, price, quantity].map(Option::unwrap_or_default)
        };
        assert_eq!(
            texts(red),
            ["TEE-R-M", "Classic Tee - Red / M", "Soft.", "apparel-accessories/clothing", "19.90", "5"]
        );
        assert_eq!(
            texts(item(&rows[1])),
            ["00123", "Classic Tee - Red / L", "Soft.", "apparel-accessories/clothing", "21", "0"]
        );
        assert_eq!(rows[2], Ok(Converted::No(NoItem::Picture)));
        // Its stock is not counted, so its quantity is not known.
        assert_eq!(texts(item(&rows[3])), ["mug", "Mug", "Plain", "kitchen-things", "7.50", ""]);
        assert_eq!(item(&rows[3]).quantity, None);
    }

    #[test]
    fn the_headings_of_2025_are_read_as_well() {
        let rows = rows(
            NEW_HEADINGS,
            &[
                "Classic Tee,tee,<b>Soft</b>,V,Shirts,,,TRUE,Active,TEE-R,Color,Red,19.90,shopify,5,FALSE",
                ",tee,,,,,,,,,,Dark blue,19.90,shopify,6,",
                "Old Tee,old-tee,,V,Shirts,,,TRUE,Draft,OLD,Title,Default Title,9,shopify,5,FALSE",
                "Shy Tee,shy-tee,,V,Shirts,,,FALSE,Active,SHY,Title,Default Title,9,shopify,5,FALSE",
                "Voucher,voucher,,V,,,,TRUE,Active,,Value,10,10,,,TRUE",
            ],
        );
        assert_eq!(item(&rows[0]).sku.as_deref(), Some("TEE-R"));
        assert_eq!(item(&rows[1]).sku.as_deref(), Some("tee-dark-blue"));
        assert_eq!(item(&rows[1]).description.as_deref(), Some("Soft"));
        let reasons = [NoItem::Unpublished, NoItem::Unpublished, NoItem::GiftCard];
        assert_eq!(rows[2..], reasons.map(|reason| Ok(Converted::No(reason))));
    }

    #[test]
    fn rows_that_are_not_together_are_refused() {
        let rows = rows(
            "Handle,Title,Option1 Value,Variant SKU,Variant Price",
            &["a,A,,A-1,1", "b,B,,B-1,1", "a,,Red,A-2,1", ",,Red,A-3,1"],
        );
        assert!(rows[2].as_ref().unwrap_err().contains("keep the rows of a product together"));
        assert!(rows[3].as_ref().unwrap_err().contains("neither"));
        let long = "x".repeat(70);
        let rows = self::rows("Handle,Title,Variant SKU,Variant Price", &[&format!("{long},A,,1")]);
        assert!(rows[0].as_ref().unwrap_err().contains("longer than the 64"), "{rows:?}");
    }
}
