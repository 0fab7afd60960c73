//! Files that other shops export: their columns, converted to the fields of an item.
//!
//! A shop's file has rows that are not items (pictures, products that only group their variants, drafts) and rows that
//! depend on an earlier one (a variant on its product). So a converter keeps the current product, and a row yields an item
//! or the reason why it is none. What the file does not contain, such as the number of units of a product whose stock is
//! not counted, is left absent: an item that exists keeps its value, and a new one takes it from `--default`.

mod category;
mod cells;
mod google_merchant;
mod html;
mod period;
mod product;
mod rows;
mod shopify;
mod woocommerce;

use clap::ValueEnum;
use time::OffsetDateTime;

pub(super) use product::Product;
pub(super) use rows::{Defaults, Export, ShopRows};

use cells::Cells;
use google_merchant::GoogleMerchant;
use product::{Converted, NoItem};
use shopify::Shopify;
use woocommerce::Woocommerce;

/// The shop that has written a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shop {
    /// Shopify's export of products, with the headings of before or after 2025.
    Shopify,
    /// The export of WooCommerce's own product exporter.
    Woocommerce,
    /// A product data source of Google Merchant Center, as text or as JSON of its API.
    GoogleMerchant,
}

impl Shop {
    /// Returns the value of `--from`.
    fn name(self) -> &'static str {
        match self {
            Self::Shopify => "shopify",
            Self::Woocommerce => "woocommerce",
            Self::GoogleMerchant => "google-merchant",
        }
    }
}

/// Converts the rows of one file, in their order.
#[derive(Debug)]
struct Converter {
    kind: Kind,
    now: OffsetDateTime,
}

#[derive(Debug)]
enum Kind {
    Shopify(Shopify),
    Woocommerce(Woocommerce),
    GoogleMerchant(GoogleMerchant),
}

impl Converter {
    /// `now` decides whether a sale price applies.
    fn new(shop: Shop, now: OffsetDateTime) -> Self {
        let kind = match shop {
            Shop::Shopify => Kind::Shopify(Shopify::default()),
            Shop::Woocommerce => Kind::Woocommerce(Woocommerce::default()),
            Shop::GoogleMerchant => Kind::GoogleMerchant(GoogleMerchant),
        };
        Self { kind, now }
    }

    /// Returns the headings that the first line must have, each with its alternatives.
    fn needed(&self) -> &'static [&'static [&'static str]] {
        match self.kind {
            Kind::Shopify(_) => shopify::NEEDED,
            Kind::Woocommerce(_) => woocommerce::NEEDED,
            Kind::GoogleMerchant(_) => google_merchant::NEEDED,
        }
    }

    /// Converts a row.
    ///
    /// # Errors
    /// What is wrong with it, for its seller.
    fn convert(&mut self, cells: &Cells) -> Result<Converted, String> {
        match &mut self.kind {
            Kind::Shopify(shop) => shop.convert(cells),
            Kind::Woocommerce(shop) => shop.convert(cells, self.now),
            Kind::GoogleMerchant(shop) => shop.convert(cells, self.now),
        }
    }
}
