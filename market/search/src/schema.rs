//! What the index holds of an item: all that is searched, filtered, counted or sorted by, and no more.
//! Hits are completed from the store.

use souk_domain::{Category, Item, Money, PartyId};
use tantivy::{
    TantivyDocument, Term,
    schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
    tokenizer::RAW_TOKENIZER_NAME,
};

use super::words;

/// Goes up with every change of the schema, of the documents or of how words are cut: an index of another
/// version is built anew.
pub(super) const VERSION: u32 = 1;

// Columns, by name.
pub(super) const ITEM: &str = "item";
pub(super) const CATEGORY: &str = "category";
pub(super) const CURRENCY: &str = "currency";
pub(super) const PRICE: &str = "price";
pub(super) const RATING: &str = "rating";
pub(super) const NAME_WORDS: &str = "name_words";

/// The fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    item: Field,
    pub(super) name: Field,
    pub(super) description: Field,
    name_words: Field,
    /// The category itself, to count by.
    category: Field,
    /// The category and all above it, to filter by.
    category_path: Field,
    currency: Field,
    price: Field,
    rating: Field,
    seller: Field,
    in_stock: Field,
}

/// The schema and its fields.
pub(super) fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let fields = Fields {
        item: schema.add_i64_field(ITEM, INDEXED | FAST),
        // Positions only for names: words side by side count there.
        name: schema.add_text_field("name", words_indexed(IndexRecordOption::WithFreqsAndPositions)),
        description: schema.add_text_field("description", words_indexed(IndexRecordOption::Basic)),
        name_words: schema.add_u64_field(NAME_WORDS, FAST),
        category: schema.add_text_field(CATEGORY, TextOptions::default().set_fast(RAW_TOKENIZER_NAME)),
        category_path: schema.add_text_field("category_path", whole_indexed()),
        currency: schema.add_u64_field(CURRENCY, INDEXED | FAST),
        price: schema.add_i64_field(PRICE, FAST),
        rating: schema.add_f64_field(RATING, FAST),
        seller: schema.add_text_field("seller", whole_indexed()),
        in_stock: schema.add_bool_field("in_stock", INDEXED),
    };
    (schema.build(), fields)
}

impl Fields {
    /// An item as the index holds it.
    pub(super) fn document(&self, item: &Item) -> TantivyDocument {
        let mut document = TantivyDocument::default();
        document.add_i64(self.item, item.id.0);
        document.add_text(self.name, words::fold(item.name.as_str()));
        document.add_text(self.description, words::fold(item.description.as_str()));
        document.add_u64(self.name_words, words::words(item.name.as_str()).len() as u64);
        document.add_text(self.category, item.category.as_str());
        for path in with_ancestors(&item.category) {
            document.add_text(self.category_path, path);
        }
        document.add_u64(self.currency, currency_number(item.unit_price));
        document.add_i64(self.price, item.unit_price.amount_minor());
        document.add_f64(self.rating, item.rating.mean().unwrap_or(UNRATED));
        document.add_text(self.seller, seller_text(item.seller));
        document.add_bool(self.in_stock, item.quantity > 0);
        document
    }

    /// Names one item.
    pub(super) fn item_term(&self, item: i64) -> Term {
        Term::from_field_i64(self.item, item)
    }

    /// Names the items of a category and of those below it.
    pub(super) fn category_term(&self, category: &Category) -> Term {
        Term::from_field_text(self.category_path, category.as_str())
    }

    /// Names the items priced in an amount's currency.
    pub(super) fn currency_term(&self, price: Money) -> Term {
        Term::from_field_u64(self.currency, currency_number(price))
    }

    /// A bound for prices; only says something among items of its currency.
    pub(super) fn price_term(&self, price: Money) -> Term {
        Term::from_field_i64(self.price, price.amount_minor())
    }

    /// A lower bound for mean ratings, which leaves unrated items out.
    pub(super) fn rating_term(&self, mean: f64) -> Term {
        Term::from_field_f64(self.rating, mean.max(LOWEST_MEAN))
    }

    /// Names a seller's items.
    pub(super) fn seller_term(&self, seller: PartyId) -> Term {
        Term::from_field_text(self.seller, &seller_text(seller))
    }

    /// Names the items that can be bought.
    pub(super) fn in_stock_term(&self) -> Term {
        Term::from_field_bool(self.in_stock, true)
    }
}

/// Stands in the rating column for "nobody has rated": below every mean.
const UNRATED: f64 = 0.0;
/// The lowest mean there is: everybody gave one star.
const LOWEST_MEAN: f64 = 1.0;

/// Indexed word by word. Without lengths: how well an item matches must not depend on the other items.
fn words_indexed(record: IndexRecordOption) -> TextOptions {
    TextOptions::default().set_indexing_options(
        TextFieldIndexing::default()
            .set_tokenizer(words::ANALYZER)
            .set_index_option(record)
            .set_fieldnorms(false),
    )
}

/// Indexed as it is.
fn whole_indexed() -> TextOptions {
    TextOptions::default().set_indexing_options(
        TextFieldIndexing::default()
            .set_tokenizer(RAW_TOKENIZER_NAME)
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false),
    )
}

fn with_ancestors(category: &Category) -> impl Iterator<Item = &str> {
    let path = category.as_str();
    path.match_indices('/').map(|(end, _)| &path[..end]).chain([path])
}

/// The letters of the code as a number, in the order of the codes.
fn currency_number(price: Money) -> u64 {
    price.currency_code().bytes().fold(0, |number, letter| number << 8 | u64::from(letter))
}

fn seller_text(seller: PartyId) -> String {
    seller.0.simple().to_string()
}
