//! WooCommerce's product export (its wiki, "Product CSV Import Schema").
//!
//! A product has a row of its own, and so has each variation. A variation names its product by SKU, or by `id:` and its
//! number, and takes from it what it does not have itself. The exporter writes products first, so that a variation's is
//! known.

use std::{collections::HashMap, sync::Arc};

use time::OffsetDateTime;

use super::{
    category::path,
    cells::Cells,
    html::plain,
    period,
    product::{Converted, NoItem, Product, is_true, stock, variant_name},
};

pub(super) const NEEDED: &[&[&str]] = &[&["Name"], &["Regular price", "Sale price"]];

/// The value of `Stock` of a variation that shares its product's.
const OF_PARENT: &str = "parent";

/// Reads the rows of a file in their order.
#[derive(Debug, Default)]
pub(super) struct Woocommerce {
    /// The products with variations, by SKU and by `id:` and number.
    parents: HashMap<String, Arc<Parent>>,
}

#[derive(Clone, Debug)]
struct Parent {
    fields: Product,
    is_published: bool,
}

impl Woocommerce {
    pub(super) fn convert(&mut self, cells: &Cells, now: OffsetDateTime) -> Result<Converted, String> {
        let types = cells.get("Type").unwrap_or("simple");
        let is = |kind: &str| types.split(',').any(|found| found.trim().eq_ignore_ascii_case(kind));
        let fields = fields(cells, now)?;
        let is_published = is_published(cells);
        if is("variable") {
            let parent = Arc::new(Parent { fields, is_published });
            let names = [cells.filled(&["SKU"]).map(str::to_owned), number(cells)];
            for name in names.into_iter().flatten() {
                self.parents.insert(name, Arc::clone(&parent));
            }
            return Ok(Converted::No(NoItem::HasVariants));
        }
        if is("grouped") || is("external") {
            return Ok(Converted::No(NoItem::NotSold));
        }
        if is("variation") {
            return self.variation(cells, fields, is_published);
        }
        Ok(if is_published { Converted::Item(fields) } else { Converted::No(NoItem::Unpublished) })
    }

    fn variation(&self, cells: &Cells, fields: Product, is_published: bool) -> Result<Converted, String> {
        let name =
            cells.filled(&["Parent"]).ok_or("is a variation without a parent; give the parent's SKU")?;
        let parent = self.parents.get(name).ok_or_else(|| {
            format!(
                "is a variation of {name:?}, which no row before it has; put products before their variations"
            )
        })?;
        if !(is_published && parent.is_published) {
            return Ok(Converted::No(NoItem::Unpublished));
        }
        let whole = &parent.fields;
        let has_text = fields.description.as_deref().is_some_and(|text| !text.is_empty());
        let (description, is_cut) = match has_text {
            true => (fields.description, fields.is_cut),
            false => (whole.description.clone(), whole.is_cut),
        };
        let own_name = fields.name.filter(|name| !name.is_empty()).or_else(|| whole.name.clone());
        let values = (1..).map_while(|n| cells.get(&format!("Attribute {n} value(s)")));
        Ok(Converted::Item(Product {
            name: own_name.map(|name| variant_name(&name, values)),
            description,
            is_cut,
            category: fields.category.or_else(|| whole.category.clone()),
            price: fields.price.or_else(|| whole.price.clone()),
            quantity: fields.quantity,
            sku: fields.sku,
        }))
    }
}

fn fields(cells: &Cells, now: OffsetDateTime) -> Result<Product, String> {
    let mut fields = Product {
        sku: cells.filled(&["SKU"]).map(str::to_owned).or_else(|| number(cells)),
        name: cells.get("Name").map(plain),
        price: price(cells, now)?,
        quantity: quantity(cells),
        category: cells.get("Categories").and_then(category),
        ..Product::default()
    };
    if let Some(text) = cells.filled(&["Description", "Short description"]) {
        fields.describe(plain(&with_line_breaks(text)));
    } else if cells.get("Description").is_some() {
        fields.description = Some(String::new());
    }
    Ok(fields)
}

/// Returns the number of a product as WooCommerce refers to one without a SKU.
fn number(cells: &Cells) -> Option<String> {
    cells.filled(&["ID"]).map(|id| format!("id:{id}"))
}

fn is_published(cells: &Cells) -> bool {
    let is_hidden = cells.get("Visibility in catalog").is_some_and(|visibility| visibility == "hidden");
    cells.filled(&["Published"]).is_none_or(is_true) && !is_hidden
}

/// Returns the price that applies now.
fn price(cells: &Cells, now: OffsetDateTime) -> Result<Option<String>, String> {
    let regular = cells.filled(&["Regular price"]);
    let Some(sale) = cells.filled(&["Sale price"]) else { return Ok(regular.map(str::to_owned)) };
    let [begin, end] = ["Date sale price starts", "Date sale price ends"].map(|heading| cells.get(heading));
    let is_on = period::is_on(begin.unwrap_or_default(), end.unwrap_or_default(), now);
    let is_on = is_on.map_err(|text| {
        format!("has a sale price for a time that can't be read, {text:?}; write it as 2026-11-30")
    })?;
    Ok(if is_on { Some(sale) } else { regular }.map(str::to_owned))
}

/// Returns the stock, if it is counted. One that variations share can't be divided among them.
fn quantity(cells: &Cells) -> Option<String> {
    match cells.filled(&["Stock"]) {
        Some(count) if count != OF_PARENT => Some(stock(count)),
        _ => cells.get("In stock?").filter(|in_stock| *in_stock == "0").map(|_| "0".to_owned()),
    }
}

/// Returns the category with the longest path; of several the first one.
fn category(list: &str) -> Option<String> {
    // A comma within a name has a backslash before it.
    let list = list.replace("\\,", "\u{0}");
    let paths = list.split(',').filter_map(|term| path(&term.replace('\u{0}', ",")));
    paths.rev().max_by_key(|path| path.matches('/').count())
}

/// Returns a text in which `\n` is a line break, as the exporter writes them. It writes `\\n` for a backslash before an n.
fn with_line_breaks(text: &str) -> String {
    let parts = text.split("\\\\n").map(|part| part.replace("\\r\\n", "\n").replace("\\n", "\n"));
    parts.collect::<Vec<_>>().join("\\n")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_backslash_before_an_n_is_no_line_break() {
        assert_eq!(with_line_breaks(r"one\\ntwo"), r"one\ntwo");
        assert_eq!(with_line_breaks(r"one\ntwo\r\nthree"), "one\ntwo\nthree");
    }

    fn rows(rows: &[&[(&str, &str)]]) -> Vec<Result<Converted, String>> {
        let mut shop = Woocommerce::default();
        let now = datetime!(2026-11-30 12:00 UTC);
        rows.iter().map(|row| shop.convert(&Cells::of(row.iter().copied()), now)).collect()
    }

    fn item(row: &Result<Converted, String>) -> &Product {
        match row {
            Ok(Converted::Item(product)) => product,
            other => panic!("no item: {other:?}"),
        }
    }

    #[test]
    fn a_simple_product_is_an_item() {
        let rows = rows(&[&[
            ("ID", "44"),
            ("Type", "simple, virtual"),
            ("SKU", "woo-beanie"),
            ("Name", "Beanie &amp; scarf"),
            ("Published", "1"),
            ("Visibility in catalog", "visible"),
            ("Short description", "Warm."),
            ("Description", "<p>Warm.</p>\\n<ul><li>Wool</li></ul>"),
            ("In stock?", "1"),
            ("Stock", "12"),
            ("Sale price", "18"),
            ("Regular price", "20"),
            ("Categories", "Clothing, Clothing > Hats\\, caps, Sale"),
        ]]);
        let expected = Product {
            sku: Some("woo-beanie".to_owned()),
            name: Some("Beanie & scarf".to_owned()),
            description: Some("Warm.\n\n- Wool".to_owned()),
            category: Some("clothing/hats-caps".to_owned()),
            price: Some("18".to_owned()),
            quantity: Some("12".to_owned()),
            is_cut: false,
        };
        assert_eq!(item(&rows[0]), &expected);
    }

    #[test]
    fn variations_take_what_they_lack_from_their_product() {
        let rows = rows(&[
            &[
                ("ID", "7"),
                ("Type", "variable"),
                ("SKU", "tee"),
                ("Name", "Tee"),
                ("Published", "1"),
                ("Description", "Soft."),
                ("Categories", "Clothing > Tshirts"),
            ],
            &[("ID", "8"), ("Type", "variable"), ("Name", "Cap"), ("Published", "-1")],
            &[
                ("ID", "76"),
                ("Type", "variation"),
                ("SKU", "tee-red"),
                ("Name", "Tee - Red"),
                ("Published", "1"),
                ("Description", ""),
                ("In stock?", "1"),
                ("Stock", "-1"),
                ("Regular price", "20"),
                ("Categories", ""),
                ("Parent", "tee"),
                ("Attribute 1 name", "Color"),
                ("Attribute 1 value(s)", "Red"),
                ("Attribute 2 value(s)", "Large"),
            ],
            &[
                ("ID", "77"),
                ("Type", "variation"),
                ("Regular price", "20"),
                ("Parent", "id:7"),
                ("Stock", "parent"),
                ("Attribute 1 value(s)", "Green"),
            ],
            &[("ID", "78"), ("Type", "variation"), ("Regular price", "20"), ("Parent", "id:8")],
            &[("ID", "79"), ("Type", "variation"), ("Regular price", "20"), ("Parent", "nobody")],
        ]);
        assert_eq!(rows[0], Ok(Converted::No(NoItem::HasVariants)));
        let red = item(&rows[2]);
        assert_eq!(red.name.as_deref(), Some("Tee - Red - Large"));
        assert_eq!(
            (red.description.as_deref(), red.category.as_deref()),
            (Some("Soft."), Some("clothing/tshirts"))
        );
        assert_eq!(red.quantity.as_deref(), Some("0"), "oversold");
        let green = item(&rows[3]);
        assert_eq!((green.sku.as_deref(), green.name.as_deref()), (Some("id:77"), Some("Tee - Green")));
        assert_eq!(green.quantity, None, "a shared stock is not its own");
        assert_eq!(rows[4], Ok(Converted::No(NoItem::Unpublished)));
        assert!(rows[5].as_ref().unwrap_err().contains("nobody"));
    }

    #[test]
    fn what_buyers_can_not_buy_is_no_item() {
        let kinds =
            [("grouped", NoItem::NotSold), ("external", NoItem::NotSold), ("simple", NoItem::Unpublished)];
        for (kind, reason) in kinds {
            let rows = rows(&[&[("Type", kind), ("Name", "X"), ("Published", "0"), ("Regular price", "1")]]);
            assert_eq!(rows[0], Ok(Converted::No(reason)), "{kind}");
        }
    }

    #[test]
    fn a_sale_price_holds_in_its_period() {
        let price = |begin: &str, end: &str| {
            let rows = rows(&[&[
                ("Name", "X"),
                ("Regular price", "20"),
                ("Sale price", "18"),
                ("Date sale price starts", begin),
                ("Date sale price ends", end),
            ]]);
            rows[0].clone().map(|_| item(&rows[0]).price.clone().unwrap())
        };
        assert_eq!(price("", ""), Ok("18".to_owned()));
        assert_eq!(price("2026-11-01", "2026-11-30"), Ok("18".to_owned()));
        assert_eq!(price("2026-12-01", ""), Ok("20".to_owned()));
        assert_eq!(price("", "2026-11-29"), Ok("20".to_owned()));
        assert!(price("tomorrow", "").unwrap_err().contains("tomorrow"));
    }
}
