//! A catalogue of made-up items of any size. Names have 3 to 6 words and descriptions 8 to 16, drawn by Zipf's law from
//! 60,000; there are 216 categories. An item follows from its number alone, so that nothing needs to be kept.

/// The number of different words.
pub(crate) const WORDS: usize = 60_000;
/// The categories: tops, and those below each.
const TOPS: u64 = 12;
const BELOW: u64 = 18;
/// Added to a word's rank before its frequency is 1 ÷ rank, which flattens the law at its top (Mandelbrot).
const OFFSET: f64 = 3.0;
/// The share of items that are in stock.
const IN_STOCK: f64 = 0.9;
/// Prices, in minor units.
const LEAST_PRICE: i64 = 100;
const PRICES: u64 = 1_000_000;
/// The syllables of which words consist.
const SYLLABLES: [&str; 40] = [
    "ba", "lo", "mi", "ter", "con", "ra", "ple", "du", "sti", "vor", "na", "ke", "shi", "gal", "tor", "len",
    "pi", "cra", "mo", "fen", "zu", "har", "bel", "ti", "gro", "sa", "ved", "ly", "nor", "wick", "can",
    "dle", "lam", "cha", "ir", "bot", "cu", "pan", "qui", "xe",
];

/// The words, most frequent first, and how often each occurs.
pub(crate) struct Catalogue {
    words: Vec<String>,
    /// For each word, the share of all occurrences that it has together with those before it.
    cumulative: Vec<f64>,
}

/// A made-up item.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MadeUp {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) category: String,
    pub(crate) price_minor: i64,
    pub(crate) is_in_stock: bool,
}

impl Catalogue {
    pub(crate) fn new() -> Self {
        let words = (0..WORDS).map(spelled).collect();
        let mut sum = 0.0;
        let shares = (0..WORDS).map(|rank| {
            sum += 1.0 / (rank as f64 + OFFSET);
            sum
        });
        let mut cumulative: Vec<f64> = shares.collect();
        for share in &mut cumulative {
            *share /= sum;
        }
        Self { words, cumulative }
    }

    /// Returns the word with a rank by frequency, 0 for the most frequent one.
    pub(crate) fn word(&self, rank: usize) -> &str {
        &self.words[rank % WORDS]
    }

    /// Returns whether this is one of the words.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        self.words.iter().any(|known| known == word)
    }

    /// Returns the top category with a number.
    pub(crate) fn top(number: u64) -> String {
        format!("c{}", number % TOPS)
    }

    /// Returns the category with a number.
    pub(crate) fn category(number: u64) -> String {
        format!("{}/s{}", Self::top(number), number / TOPS % BELOW)
    }

    /// Returns the item with a number.
    pub(crate) fn item(&self, number: u64) -> MadeUp {
        let mut random = Draws(number);
        let name_words = 3 + random.below(4);
        let name = self.text(&mut random, name_words);
        let description_words = 8 + random.below(9);
        MadeUp {
            name,
            description: self.text(&mut random, description_words),
            category: Self::category(random.below(TOPS * BELOW)),
            price_minor: random.price(),
            is_in_stock: random.unit() < IN_STOCK,
        }
    }

    fn text(&self, random: &mut Draws, words: u64) -> String {
        let mut text = String::new();
        for _ in 0..words {
            if !text.is_empty() {
                text.push(' ');
            }
            let drawn = random.unit();
            text.push_str(self.word(self.cumulative.partition_point(|share| *share < drawn)));
        }
        text
    }
}

/// Spells a number in base 40, with a syllable for each digit, so that words are distinct.
fn spelled(number: usize) -> String {
    let (mut word, mut left) = (String::new(), number * 7_919 + 41);
    while left > 0 {
        word.push_str(SYLLABLES[left % SYLLABLES.len()]);
        left /= SYLLABLES.len();
    }
    word
}

/// Random numbers that follow from a seed: SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number in the range [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a number less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Returns a price of an item, in minor units.
    pub(crate) fn price(&mut self) -> i64 {
        LEAST_PRICE + i64::try_from(self.below(PRICES)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn items_follow_the_recipe() {
        let catalogue = Catalogue::new();
        assert_eq!(catalogue.words.iter().collect::<HashSet<_>>().len(), WORDS, "words are distinct");
        let items: Vec<_> = (0..5_000).map(|number| catalogue.item(number)).collect();
        assert_eq!(items[7], catalogue.item(7), "an item follows from its number");
        let words = |text: &str| text.split(' ').count();
        assert!(items.iter().all(|item| (3..=6).contains(&words(&item.name))));
        assert!(items.iter().all(|item| (8..=16).contains(&words(&item.description))));
        let categories: HashSet<_> = items.iter().map(|item| item.category.as_str()).collect();
        assert_eq!(categories.len(), 216);
        let has = |item: &MadeUp, word: &str| {
            item.name.split(' ').chain(item.description.split(' ')).any(|other| other == word)
        };
        let share = |rank: usize| {
            items.iter().filter(|item| has(item, catalogue.word(rank))).count() as f64 / items.len() as f64
        };
        assert!((0.3..0.5).contains(&share(0)), "{}", share(0));
        assert!((0.12..0.2).contains(&share(7)), "{}", share(7));
    }
}
