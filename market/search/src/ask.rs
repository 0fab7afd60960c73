//! What a query asks for, in terms of the index.

use std::{
    hash::{BuildHasher as _, Hash, Hasher as _, RandomState},
    sync::LazyLock,
};

use souk_domain::Category;

use super::{
    Leniency, SearchQuery, schema,
    states::StateFilter,
    words::{self, Phase, Wording},
};

impl Leniency {
    /// Returns the degree of those matches that need all of this leniency.
    pub(super) const fn degree(self) -> Degree {
        Degree(self as u8 + 1)
    }
}

/// How loosely an item has a word. Each degree includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Degree(pub(super) u8);

impl Degree {
    /// The whole word as typed.
    pub(super) const EXACT: Self = Self(0);
    /// In another form as typed, or as the beginning of a word.
    pub(super) const AS_TYPED: Self = Leniency::AsTyped.degree();
    /// All words but one, in any way. The others are degrees of a word, and this one is of a query.
    pub(super) const ALL_BUT_ONE: Self = Leniency::AllButOne.degree();
    /// The number of the degrees of a word.
    pub(super) const COUNT: usize = Self::ALL_BUT_ONE.0 as usize;

    /// Returns the degree before.
    pub(super) fn closer(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// Returns the degree of its words.
    pub(super) fn of_words(self) -> Self {
        self.min(Self(Self::ALL_BUT_ONE.0 - 1))
    }
}

/// A query, prepared.
pub(super) struct Ask {
    pub(super) words: Vec<Word>,
    /// The facts that the filters require of an item; see [`schema::Fields::facts`].
    pub(super) facts: Vec<String>,
    /// The prices that the filters allow, unless it is all of them: currency, minimum and maximum.
    pub(super) price: Option<(u64, i64, i64)>,
    /// The states of items that the filters allow.
    pub(super) state: StateFilter,
    /// The pairs of adjacent words.
    pub(super) pairs: Vec<String>,
    /// The hash of the whole text.
    pub(super) whole: schema::Hash,
}

/// A word of a query.
#[derive(Hash)]
pub(super) struct Word {
    pub(super) typed: String,
    /// The ways in which an item can have it: by all terms of one of them, with the degree.
    pub(super) ways: Vec<(Degree, Vec<String>)>,
    /// Whether words that begin with it count, from [`Degree::AS_TYPED`] on.
    pub(super) may_be_unfinished: bool,
}

impl Ask {
    pub(super) fn new(query: &SearchQuery, wording: &Wording) -> Self {
        let words: Vec<Word> = wording.wanted(query.text.as_str()).into_iter().map(Word::new).collect();
        let typed: Vec<&str> = words.iter().map(|word| word.typed.as_str()).collect();
        let (pairs, whole) = (schema::pairs(&typed).collect(), schema::whole(&typed));
        let mut facts = Vec::new();
        facts.extend(query.category.as_ref().map(|category| schema::category_fact(category.as_str())));
        facts.extend(query.seller.map(schema::seller_fact));
        // Amounts of different currencies can't be compared, so a range always restricts the currency too.
        let range = query.price;
        facts.extend(range.any_end().map(schema::currency_fact));
        let price = range.any_end().map(|end| {
            let least = range.min().map_or(i64::MIN, |min| min.amount_minor());
            let most = range.max().map_or(i64::MAX, |max| max.amount_minor());
            (schema::currency_number(end), least, most)
        });
        let state = StateFilter::new(query.in_stock, query.min_rating);
        Self { words, facts, price, state, pairs, whole }
    }

    /// Asks for everything in a category, or simply everything.
    pub(super) fn everything(category: Option<&Category>) -> Self {
        let query = SearchQuery { category: category.cloned(), ..SearchQuery::default() };
        // Without words, the wording makes no difference.
        Self::new(&query, &Wording::default())
    }

    /// Returns whether there may be matches that need a degree.
    pub(super) fn has_ways(&self, degree: Degree) -> bool {
        match degree {
            Degree::EXACT => true,
            Degree::ALL_BUT_ONE => self.words.len() > 1,
            _ => self.words.iter().any(|word| {
                (degree == Degree::AS_TYPED && word.may_be_unfinished)
                    || word.ways.iter().any(|(of, _)| *of == degree)
            }),
        }
    }

    /// Returns whether the query has neither words nor filters.
    pub(super) fn is_everything(&self) -> bool {
        self.words.is_empty() && self.facts.is_empty() && self.price.is_none() && self.state.admits_all()
    }

    /// Returns a key that queries share if they match the same items at a degree. `hidden` stands for the sellers that
    /// are left out.
    pub(super) fn key(&self, degree: Degree, hidden: u64) -> Key {
        let hash = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            (degree, hidden, self.price, self.state, &self.facts).hash(&mut hasher);
            for word in &self.words {
                (&word.typed, word.may_be_unfinished).hash(&mut hasher);
                for way in word.ways.iter().filter(|(of, _)| *of <= degree) {
                    way.hash(&mut hasher);
                }
            }
            hasher.finish()
        };
        Key([hash(&STATES.0), hash(&STATES.1)])
    }
}

/// Two hashes of the same query under random keys, so that nobody can construct two queries with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u64; 2]);

static STATES: LazyLock<(RandomState, RandomState)> = LazyLock::new(Default::default);

impl Word {
    fn new(wanted: words::Wanted) -> Self {
        let ways = wanted.ways.into_iter().enumerate().map(|(number, way)| {
            let degree = match way.phase {
                Phase::AsTyped if number == 0 => Degree::EXACT,
                Phase::AsTyped => Degree::AS_TYPED,
                Phase::Joined => Leniency::Joined.degree(),
                Phase::Synonym => Leniency::Synonyms.degree(),
            };
            (degree, way.terms)
        });
        Self { ways: ways.collect(), typed: wanted.typed, may_be_unfinished: wanted.may_be_unfinished }
    }
}
