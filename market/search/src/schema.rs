//! The index schema: only what is needed to search, filter, count or sort items. Hits are completed from the
//! store.

use souk_domain::{Category, Item, Money, PartyId};
use tantivy::{
    TantivyDocument, Term,
    schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
    tokenizer::RAW_TOKENIZER_NAME,
};

use super::words;

/// Must be raised with every change to the schema, the documents or the tokenizer. An index of another
/// version is rebuilt.
pub(super) const VERSION: u32 = 1;

// The names of the columns.
pub(super) const ITEM: &str = "item";
pub(super) const CATEGORY: &str = "category";
pub(super) const CURRENCY: &str = "currency";
pub(super) const PRICE: &str = "price";
pub(super) const RATING: &str = "rating";
pub(super) const NAME_WORDS: &str = "name_words";

/// The fields of the schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    item: Field,
    pub(super) name: Field,
    pub(super) description: Field,
    name_words: Field,
    /// The exact category, for counting.
    category: Field,
    /// The category and all its ancestors, for filtering.
    category_path: Field,
    currency: Field,
    price: Field,
    rating: Field,
    seller: Field,
    in_stock: Field,
}

/// Builds the schema and its fields.
pub(super) fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let fields = Fields {
        item: schema.add_i64_field(ITEM, INDEXED | FAST),
        // Positions are needed only for names, for the phrase bonus.
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
    /// Converts an item to a document.
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

    /// Returns the term of one item.
    pub(super) fn item_term(&self, item: i64) -> Term {
        Term::from_field_i64(self.item, item)
    }

    /// Returns the term of all items in a category or its subcategories.
    pub(super) fn category_term(&self, category: &Category) -> Term {
        Term::from_field_text(self.category_path, category.as_str())
    }

    /// Returns the term of all items priced in the amount's currency.
    pub(super) fn currency_term(&self, price: Money) -> Term {
        Term::from_field_u64(self.currency, currency_number(price))
    }

    /// Returns a bound for prices. Meaningful only together with [`Self::currency_term`].
    pub(super) fn price_term(&self, price: Money) -> Term {
        Term::from_field_i64(self.price, price.amount_minor())
    }

    /// Returns a lower bound for mean ratings that excludes unrated items.
    pub(super) fn rating_term(&self, mean: f64) -> Term {
        Term::from_field_f64(self.rating, mean.max(LOWEST_MEAN))
    }

    /// Returns the term of all items of a seller.
    pub(super) fn seller_term(&self, seller: PartyId) -> Term {
        Term::from_field_text(self.seller, &seller_text(seller))
    }

    /// Returns the term of all items in stock.
    pub(super) fn in_stock_term(&self) -> Term {
        Term::from_field_bool(self.in_stock, true)
    }
}

/// The value of the rating column for unrated items, which sorts below every mean.
const UNRATED: f64 = 0.0;
/// The lowest possible mean, one star.
const LOWEST_MEAN: f64 = 1.0;

/// Indexes the words of a text. Without field norms, because an item's score must not depend on other items.
fn words_indexed(record: IndexRecordOption) -> TextOptions {
    TextOptions::default().set_indexing_options(
        TextFieldIndexing::default()
            .set_tokenizer(words::ANALYZER)
            .set_index_option(record)
            .set_fieldnorms(false),
    )
}

/// Indexes a text as one term.
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

/// Encodes the currency code as a number that sorts like the code.
fn currency_number(price: Money) -> u64 {
    price.currency_code().bytes().fold(0, |number, letter| number << 8 | u64::from(letter))
}

fn seller_text(seller: PartyId) -> String {
    seller.0.simple().to_string()
}
