//! The index schema: only what is needed to search, filter, count or sort items. Hits are completed from the
//! store.
//!
//! Documents are sorted by rank, best first, so that the first matches of a posting list are the best ones.

use std::collections::BTreeSet;

use souk_domain::{Category, Item, Money, PartyId};
use tantivy::{
    IndexSettings, IndexSortByField, Order, TantivyDocument, Term,
    schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
    tokenizer::RAW_TOKENIZER_NAME,
};

use super::{
    said::Said,
    words::{self, Indexed, Wording},
};

/// Must be raised with every change to the schema, the documents, the rank or the words. An index of another version is
/// rebuilt.
pub(super) const VERSION: u32 = 3;

// The names of the columns.
pub(super) const ITEM: &str = "item";
pub(super) const CATEGORY: &str = "category";
pub(super) const CURRENCY: &str = "currency";
pub(super) const PRICE: &str = "price";
pub(super) const STATE: &str = "state";
pub(super) const CONTENTS: &str = "contents";
pub(super) const RANK: &str = "rank";

/// The tokenizer that splits at spaces. Texts are split into words before, and then joined by spaces.
const AT_SPACES: &str = "whitespace";
/// The longest beginnings of words that have posting lists of their own, in letters.
pub(super) const MAX_START: usize = 3;

/// A term that stands for a text.
pub(super) type Hash = [u8; 6];

/// The fields of the schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    item: Field,
    /// All words of name, description and stock-keeping unit.
    pub(super) words: Field,
    /// The words of the name.
    pub(super) name: Field,
    /// The pairs of adjacent words of the name, as hashes. They take less than positions, and are found faster. As text they
    /// would be long and nearly all different, and their dictionaries most of the work of an import.
    pub(super) pairs: Field,
    /// The first letters of the words of the name, up to [`MAX_START`].
    pub(super) starts: Field,
    /// The whole name and the whole stock-keeping unit, as hashes.
    pub(super) whole: Field,
    /// What filters ask for; see [`category_fact`], [`seller_fact`] and [`currency_fact`].
    pub(super) facts: Field,
    category: Field,
    currency: Field,
    price: Field,
    /// The item's state when it was indexed. Later ones are noted beside the index.
    state: Field,
    /// The contents of the document, which decide whether the item must be indexed again.
    contents: Field,
    rank: Field,
}

/// Builds the schema and its fields.
pub(super) fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let fields = Fields {
        item: schema.add_i64_field(ITEM, INDEXED | FAST),
        words: schema.add_text_field("words", indexed(AT_SPACES)),
        name: schema.add_text_field("name", indexed(AT_SPACES)),
        pairs: schema.add_bytes_field("pairs", INDEXED),
        starts: schema.add_text_field("starts", indexed(AT_SPACES)),
        whole: schema.add_bytes_field("whole", INDEXED),
        facts: schema.add_text_field("facts", indexed(RAW_TOKENIZER_NAME)),
        category: schema.add_text_field(CATEGORY, TextOptions::default().set_fast(RAW_TOKENIZER_NAME)),
        currency: schema.add_u64_field(CURRENCY, FAST),
        price: schema.add_i64_field(PRICE, FAST),
        state: schema.add_u64_field(STATE, FAST),
        contents: schema.add_u64_field(CONTENTS, FAST),
        rank: schema.add_u64_field(RANK, FAST),
    };
    (schema.build(), fields)
}

/// Returns the settings of the index: its documents are sorted by rank, best first.
pub(super) fn settings() -> IndexSettings {
    let sort_by_field = Some(IndexSortByField { field: RANK.to_owned(), order: Order::Desc });
    IndexSettings { sort_by_field, ..IndexSettings::default() }
}

impl Fields {
    /// Converts an item to a document, which says this of it.
    pub(super) fn document(&self, item: &Item, said: Said, wording: &Wording) -> TantivyDocument {
        let mut document = TantivyDocument::default();
        let (name, description) =
            (wording.indexed(item.name.as_str()), wording.indexed(item.description.as_str()));
        let sku = item.sku.as_ref().map(|sku| wording.indexed(sku.as_str()));
        document.add_i64(self.item, item.id.0);
        for text in [Some(&name), Some(&description), sku.as_ref()].into_iter().flatten() {
            document.add_text(self.words, all_terms(text));
        }
        document.add_text(self.name, all_terms(&name));
        for pair in pairs(&name.typed) {
            document.add_bytes(self.pairs, &pair_key(&pair));
        }
        document.add_text(self.starts, starts(&name));
        for text in [Some(&name), sku.as_ref()].into_iter().flatten().filter(|text| !text.typed.is_empty()) {
            document.add_bytes(self.whole, &whole(&text.typed));
        }
        for path in with_ancestors(&item.category) {
            document.add_text(self.facts, category_fact(path));
        }
        document.add_text(self.facts, seller_fact(item.seller));
        document.add_text(self.facts, currency_fact(item.unit_price));
        document.add_text(self.category, item.category.as_str());
        document.add_u64(self.currency, currency_number(item.unit_price));
        document.add_i64(self.price, item.unit_price.amount_minor());
        document.add_u64(self.state, said.state.to_column());
        document.add_u64(self.contents, said.contents.to_column());
        document.add_u64(self.rank, said.state.standing().rank(item.id, name.typed.len()));
        document
    }

    /// Returns the term of one item.
    pub(super) fn item_term(&self, item: i64) -> Term {
        Term::from_field_i64(self.item, item)
    }
}

/// Returns the fact of all items in a category or its subcategories.
pub(super) fn category_fact(path: &str) -> String {
    format!("category {path}")
}

/// Returns the fact of all items of a seller.
pub(super) fn seller_fact(seller: PartyId) -> String {
    format!("seller {}", seller.0.simple())
}

/// Returns the fact of all items priced in the amount's currency.
pub(super) fn currency_fact(price: Money) -> String {
    format!("currency {}", price.currency_code())
}

/// Returns the terms of the pairs of adjacent words.
pub(super) fn pairs<W: AsRef<str>>(words: &[W]) -> impl Iterator<Item = String> {
    words.windows(2).map(|pair| words::pair(pair[0].as_ref(), pair[1].as_ref()))
}

/// Returns the key under which a pair is indexed. At ten million items, a pair that no name has shares its key with one that
/// some name has once in ten million queries.
pub(super) fn pair_key(pair: &str) -> Hash {
    hash(pair.bytes())
}

/// Returns the hash of a text of these words, repetitions left out, as queries are. A collision does no harm: an item
/// counts as equal only if it also has all the words.
pub(super) fn whole<W: AsRef<str>>(words: &[W]) -> Hash {
    let words = words.iter().map(AsRef::as_ref);
    let first_ones = words
        .clone()
        .enumerate()
        .filter(|(number, word)| !words.clone().take(*number).any(|earlier| earlier == *word));
    hash(first_ones.flat_map(|(_, word)| word.bytes().chain([b' '])))
}

/// Hashes bytes by FNV-1a (Fowler, Noll and Vo): stable, unlike the hashes of the standard library. Six bytes, because
/// longer terms make dictionaries larger and slower to write.
fn hash(bytes: impl Iterator<Item = u8>) -> Hash {
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let [a, b, c, d, e, f, ..] = (hash ^ hash >> 48).to_le_bytes();
    [a, b, c, d, e, f]
}

/// Indexes the words of a text, without positions, frequencies and lengths: nothing of that ranks.
fn indexed(tokenizer: &str) -> TextOptions {
    TextOptions::default().set_indexing_options(
        TextFieldIndexing::default()
            .set_tokenizer(tokenizer)
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false),
    )
}

fn all_terms(text: &Indexed) -> String {
    let terms: Vec<&str> = text.typed.iter().chain(&text.also).map(String::as_str).collect();
    terms.join(" ")
}

/// Returns all beginnings of up to [`MAX_START`] letters, each once.
fn starts(name: &Indexed) -> String {
    let words = name.typed.iter().chain(&name.also).filter(|term| words::is_word(term));
    let starts: BTreeSet<&str> = words
        .flat_map(|word| {
            let ends = word.char_indices().map(|(start, _)| start).skip(1).chain([word.len()]);
            ends.take(MAX_START).map(|end| &word[..end])
        })
        .collect();
    starts.into_iter().collect::<Vec<_>>().join(" ")
}

/// Returns the paths of a category and of those above it.
pub(super) fn with_ancestors(category: &Category) -> impl Iterator<Item = &str> {
    let path = category.as_str();
    path.match_indices('/').map(|(end, _)| &path[..end]).chain([path])
}

/// Encodes the currency code as a number that sorts like the code.
pub(super) fn currency_number(price: Money) -> u64 {
    price.currency_code().bytes().fold(0, |number, letter| number << 8 | u64::from(letter))
}
