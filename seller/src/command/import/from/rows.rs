//! The rows of another shop's file, of which only some are items.

use std::collections::BTreeMap;

use souk_cli::{Failure, plain};
use time::OffsetDateTime;

use super::{Cells, Converted, Converter, NoItem, Product, Shop};

/// The maximum number of headings in an error message.
const MAX_SHOWN: usize = 20;

/// Which fields have a value for rows without one (`--default`).
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Defaults {
    pub(in super::super) category: bool,
    pub(in super::super) quantity: bool,
}

/// What is known of a file before it is read.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Export {
    pub(in super::super) shop: Shop,
    pub(in super::super) defaults: Defaults,
    /// The time that decides whether a sale price applies.
    pub(in super::super) now: OffsetDateTime,
}

/// Converts the rows of one file, and counts those that are no items.
#[derive(Debug)]
pub(in super::super) struct ShopRows {
    shop: Shop,
    converter: Converter,
    defaults: Defaults,
    headings: Vec<String>,
    ambiguous: Option<String>,
    left_out: BTreeMap<NoItem, i64>,
    cut: i64,
}

impl ShopRows {
    pub(in super::super) fn new(export: Export) -> Self {
        let Export { shop, defaults, now } = export;
        let converter = Converter::new(shop, now);
        Self {
            shop,
            converter,
            defaults,
            headings: Vec::new(),
            ambiguous: None,
            left_out: BTreeMap::new(),
            cut: 0,
        }
    }

    /// Returns whether a heading is one that every file of the shop has.
    pub(in super::super) fn is_heading(&self, heading: &str) -> bool {
        let cells = Cells::of([(heading, "")]);
        self.converter.needed().iter().any(|names| cells.any(names).is_some())
    }

    /// Takes the first line of a CSV file.
    ///
    /// # Errors
    /// It lacks a heading that every file of the shop has.
    pub(in super::super) fn locate(&mut self, headings: &[String]) -> Result<(), Failure> {
        let cells = Cells::of(headings.iter().map(|heading| (heading.as_str(), "")));
        let needed = self.converter.needed().iter();
        if let Some([missing, ..]) = needed.copied().find(|names| cells.any(names).is_none()) {
            let shown: Vec<_> = headings.iter().take(MAX_SHOWN).map(|heading| plain(heading)).collect();
            return Err(Failure::usage(
                format!(
                    "the first line has no column {missing:?}, as a file of {} has; it has: {}",
                    self.shop.name(),
                    shown.join(", ")
                ),
                "check the file and --from; for other files, name the columns with --column FIELD=HEADING",
            ));
        }
        self.ambiguous = cells.ambiguous();
        self.check()?;
        self.headings = headings.to_vec();
        Ok(())
    }

    /// Checks that no column was read so far whose heading another one has as well: either may be the right one.
    ///
    /// # Errors
    /// There is one.
    pub(in super::super) fn check(&self) -> Result<(), Failure> {
        match &self.ambiguous {
            None => Ok(()),
            Some(heading) => Err(Failure::usage(
                format!("the heading {:?} comes twice", plain(heading)),
                "remove one of the columns, or give it another heading",
            )),
        }
    }

    /// Converts a record of a CSV file, given by its cells in the order of the headings. Returns `None` for one that is no
    /// item.
    pub(in super::super) fn read<'a>(
        &mut self,
        cells: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<Product>, String> {
        let cells = Cells::of(self.headings.iter().map(String::as_str).zip(cells));
        self.convert(&cells)
    }

    /// Converts a line of an NDJSON file. Returns `None` for one that is no item.
    pub(in super::super) fn read_json(&mut self, line: &str) -> Result<Option<Product>, String> {
        let object = serde_json::from_str(line).map_err(|error| format!("is no product: {error}"))?;
        self.convert(&Cells::of_json(&object))
    }

    fn convert(&mut self, cells: &Cells) -> Result<Option<Product>, String> {
        let converted = self.converter.convert(cells);
        if let Some(heading) = cells.ambiguous() {
            self.ambiguous = Some(heading);
            // The reader ends here: no row of the file can be trusted.
            return Ok(None);
        }
        let product = match converted? {
            Converted::Item(product) => product,
            Converted::No(reason) => {
                *self.left_out.entry(reason).or_default() += 1;
                return Ok(None);
            }
        };
        if product.quantity.is_none() && !self.defaults.quantity {
            return Err(
                "does not say how many units there are; pass --default quantity=N for rows like this one"
                    .to_owned(),
            );
        }
        if product.category.is_none() && !self.defaults.category {
            return Err(
                "has no category that can be written in a-z and 0-9; pass --default category=PATH for rows like this one"
                    .to_owned(),
            );
        }
        self.cut += i64::from(product.is_cut);
        Ok(Some(product))
    }

    /// Returns the number of rows that were no items.
    pub(in super::super) fn left_out(&self) -> i64 {
        self.left_out.values().sum()
    }

    /// Returns what to tell the user about the rows so far.
    pub(in super::super) fn notes(&self) -> Vec<String> {
        let left_out =
            self.left_out.iter().map(|(reason, count)| format!("skipped {}: {count}", reason.what()));
        let cut = (self.cut > 0).then(|| format!("cut descriptions at 4,000 characters: {}", self.cut));
        left_out.chain(cut).collect()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn rows_of(shop: Shop, defaults: Defaults, headings: &[&str]) -> ShopRows {
        let mut rows = ShopRows::new(Export { shop, defaults, now: datetime!(2026-11-30 0:00 UTC) });
        let headings: Vec<_> = headings.iter().map(|heading| (*heading).to_owned()).collect();
        rows.locate(&headings).unwrap();
        rows
    }

    #[test]
    fn what_the_market_needs_and_the_file_lacks_is_named_with_its_flag() {
        let rows = |defaults| {
            rows_of(Shop::GoogleMerchant, defaults, &["id", "title", "price", "product_type", "quantity"])
        };
        let mut strict = rows(Defaults::default());
        assert!(strict.read(["A", "Mug", "1 GBP", "Home", ""]).unwrap_err().contains("--default quantity="));
        assert!(strict.read(["A", "Mug", "1 GBP", "食器", "1"]).unwrap_err().contains("--default category="));
        assert!(strict.read(["A", "Mug", "1 GBP", "Home", "1"]).unwrap().is_some());
        let mut lenient = rows(Defaults { category: true, quantity: true });
        let product = lenient.read(["A", "Mug", "1 GBP", "", ""]).unwrap().unwrap();
        assert_eq!((product.category, product.quantity), (None, None));
    }

    #[test]
    fn rows_that_are_no_items_are_counted_by_reason() {
        let mut rows = rows_of(Shop::Woocommerce, Defaults::default(), &["Type", "Name", "Regular price"]);
        for kind in ["grouped", "variable", "external"] {
            assert_eq!(rows.read([kind, "X", "1"]), Ok(None));
        }
        assert_eq!(rows.left_out(), 3);
        let notes = rows.notes().join("; ");
        assert!(
            notes.contains("skipped products with variants, which are items themselves: 1")
                && notes.contains(": 2"),
            "{notes}"
        );
    }
}
