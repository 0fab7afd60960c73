//! The searches that are measured, in classes.

use souk_proto::v1;

use crate::made_up::Catalogue;

/// Items on a page.
pub(crate) const PAGE: i32 = 10;
/// The page that counts as far behind.
pub(crate) const DEEP_PAGE: u32 = 100;
/// Different searches of a class, if it has more than one.
const VARIANTS: usize = 16;
/// Ranks by frequency of the words of some classes; see [`Catalogue::word`]. Rare words are more frequent among few items,
/// because they must occur.
const RARE: usize = 29_000;
const ITEMS_PER_RARE_RANK: u64 = 3;
const COMMON: usize = 3;
const MISSPELT: usize = 2_000;
/// Letters of a beginning.
const BEGINNING: usize = 3;

/// A kind of search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Rare,
    Common,
    TwoCommon,
    ThreeCommon,
    CommonInCategory,
    Beginning,
    Misspelt,
    Blank,
    BlankByPrice,
    CategoryByPrice,
    BlankDeep,
    CommonDeep,
}

impl Class {
    pub(super) const ALL: [Self; 12] = [
        Self::Rare,
        Self::Common,
        Self::TwoCommon,
        Self::ThreeCommon,
        Self::CommonInCategory,
        Self::Beginning,
        Self::Misspelt,
        Self::Blank,
        Self::BlankByPrice,
        Self::CategoryByPrice,
        Self::BlankDeep,
        Self::CommonDeep,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Rare => "rare word",
            Self::Common => "common word",
            Self::TwoCommon => "two common words",
            Self::ThreeCommon => "three common words",
            Self::CommonInCategory => "common + category",
            Self::Beginning => "prefix of 3 letters",
            Self::Misspelt => "misspelt word",
            Self::Blank => "blank",
            Self::BlankByPrice => "blank by price",
            Self::CategoryByPrice => "category by price",
            Self::BlankDeep => "blank, page 100",
            Self::CommonDeep => "common, page 100",
        }
    }

    /// Returns whether the page is reached by tokens, which carry the counts of the first page.
    pub(super) fn is_deep(self) -> bool {
        matches!(self, Self::BlankDeep | Self::CommonDeep)
    }

    /// Returns the searches of this class among this number of items.
    pub(super) fn searches(self, catalogue: &Catalogue, items: u64) -> Vec<Asked> {
        let words = |ranks: &[usize]| ranks.iter().map(|&rank| catalogue.word(rank)).collect::<Vec<_>>();
        let of = |ranks: &[usize]| Asked { text: words(ranks).join(" "), ..Asked::default() };
        let variants = 0..VARIANTS;
        match self {
            Self::Rare => {
                let rarest = usize::try_from(items / ITEMS_PER_RARE_RANK).map_or(RARE, |rank| rank.min(RARE));
                variants.map(|number| of(&[rarest + 61 * number])).collect()
            }
            Self::Common => variants.map(|number| of(&[COMMON + number])).collect(),
            Self::TwoCommon => combinations(2).iter().map(|ranks| of(ranks)).collect(),
            Self::ThreeCommon => combinations(3).iter().map(|ranks| of(ranks)).collect(),
            Self::CommonInCategory => variants
                .map(|number| {
                    let category = Some(Catalogue::top(number as u64));
                    Asked { category, ..of(&[COMMON + number]) }
                })
                .collect(),
            Self::Beginning => {
                let beginning = |rank| catalogue.word(rank).chars().take(BEGINNING).collect::<String>();
                let mut texts: Vec<_> = (0..4 * VARIANTS).map(beginning).collect();
                let mut seen = std::collections::HashSet::new();
                // A word of three letters would not be a beginning only.
                texts.retain(|text| !catalogue.has_word(text) && seen.insert(text.clone()));
                let all = texts.into_iter().take(VARIANTS);
                all.map(|text| Asked { text, is_beginning: true, ..Asked::default() }).collect()
            }
            Self::Misspelt => {
                let texts = (MISSPELT..).map(|rank| misspelt(catalogue.word(rank)));
                let all = texts.filter(|text| !catalogue.has_word(text)).take(VARIANTS);
                all.map(|text| Asked { text, is_misspelt: true, ..Asked::default() }).collect()
            }
            Self::Blank => vec![Asked::default()],
            Self::BlankByPrice => vec![Asked { is_by_price: true, ..Asked::default() }],
            Self::CategoryByPrice => variants
                .map(|number| {
                    let category = Some(Catalogue::category(number as u64 * 13));
                    Asked { category, is_by_price: true, ..Asked::default() }
                })
                .collect(),
            Self::BlankDeep => vec![Asked { page: DEEP_PAGE, ..Asked::default() }],
            Self::CommonDeep => vec![Asked { page: DEEP_PAGE, ..of(&[COMMON + 4]) }],
        }
    }
}

/// A search, as the market and its peers understand it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The words, separated by spaces. Blank matches everything.
    pub(super) text: String,
    /// Whether the last word is the beginning of a word.
    pub(super) is_beginning: bool,
    /// Whether no item has the word as it is written.
    pub(super) is_misspelt: bool,
    pub(super) category: Option<String>,
    pub(super) is_by_price: bool,
    /// The number of the page, from 1.
    pub(super) page: u32,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            text: String::new(),
            is_beginning: false,
            is_misspelt: false,
            category: None,
            is_by_price: false,
            page: 1,
        }
    }
}

impl Asked {
    /// Returns the request for the first page.
    pub(super) fn request(&self) -> v1::SearchItemRequest {
        let order =
            if self.is_by_price { v1::SearchOrder::PriceAscending } else { v1::SearchOrder::Unspecified };
        v1::SearchItemRequest {
            query: self.text.clone(),
            category: self.category.clone().unwrap_or_default(),
            order_by: order.into(),
            page_size: PAGE,
            ..Default::default()
        }
    }
}

/// Returns searches of one rare word and of one to three common ones, for the mixed load.
pub(crate) fn mixed_words(catalogue: &Catalogue, items: u64) -> Vec<v1::SearchItemRequest> {
    let classes = [Class::Rare, Class::Common, Class::TwoCommon, Class::ThreeCommon];
    // In turns, so that every part of the list has all of them.
    let all: Vec<_> = classes.map(|class| class.searches(catalogue, items)).into_iter().collect();
    (0..VARIANTS).flat_map(|number| all.iter().map(move |class| class[number].request())).collect()
}

/// Returns searches of rare words.
pub(crate) fn rare_words(catalogue: &Catalogue, items: u64) -> Vec<v1::SearchItemRequest> {
    Class::Rare.searches(catalogue, items).iter().map(Asked::request).collect()
}

/// Returns the first page of a search for a common word.
pub(crate) fn common_word(catalogue: &Catalogue) -> v1::SearchItemRequest {
    Asked { text: catalogue.word(COMMON + 4).to_owned(), ..Asked::default() }.request()
}

/// Returns combinations of the ranks of common words.
fn combinations(size: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..size {
        let longer = all.iter().flat_map(|ranks: &Vec<usize>| {
            let after = ranks.last().map_or(1, |last| last + 1);
            (after..8).map(move |rank| [ranks.as_slice(), &[rank]].concat())
        });
        all = longer.collect();
    }
    all.truncate(VARIANTS);
    all
}

/// Leaves out a letter in the middle.
fn misspelt(word: &str) -> String {
    let middle = word.len() / 2;
    word.chars().enumerate().filter(|(at, _)| *at != middle).map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_different_searches() {
        let catalogue = Catalogue::new();
        for class in Class::ALL {
            let searches = class.searches(&catalogue, 10_000);
            let texts: std::collections::HashSet<_> =
                searches.iter().map(|asked| format!("{asked:?}")).collect();
            assert_eq!(texts.len(), searches.len(), "{class:?}");
            assert!([1, VARIANTS].contains(&searches.len()), "{class:?}: {}", searches.len());
            let words: Vec<_> = searches.iter().flat_map(|asked| asked.text.split(' ')).collect();
            match class {
                Class::Beginning | Class::Misspelt => {
                    assert!(words.iter().all(|word| !catalogue.has_word(word)));
                }
                _ => assert!(words.iter().all(|word| word.is_empty() || catalogue.has_word(word))),
            }
        }
    }
}
