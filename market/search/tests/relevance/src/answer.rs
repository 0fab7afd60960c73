//! What a search answers to a judged query, and how good that is.

use super::{
    goods::{Good, Goods},
    set::{BEST, Query, RIGHT},
};

/// The number of hits that count, which is about what a shopper looks at.
pub const DEPTH: usize = 10;

/// The first page that a query finds.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The goods that were searched.
    pub goods: Goods,
    /// The query with its judgements.
    pub query: Query,
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// The judged items that are not among the hits, with their grades, best first.
    pub missed: Vec<(Good, u8)>,
    /// The number of items that were found on all pages together.
    pub total: u64,
}

/// An item that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The item.
    pub good: Good,
    /// Its grade for the query, 0 if it is wrong.
    pub grade: u8,
}

impl Answer {
    /// Returns the normalised discounted cumulative gain of the first [`DEPTH`] hits, 0 to 1 (Järvelin and Kekäläinen,
    /// 2002), with the gain 2^grade − 1 and the discount log₂(1 + place). If nothing should be found, it is 1 if nothing
    /// was, else 0.
    pub fn ndcg(&self) -> f64 {
        if self.wants_nothing() {
            return f64::from(u8::from(self.total == 0));
        }
        let mut ideal: Vec<u8> = self.query.grades.values().copied().collect();
        ideal.sort_unstable_by(|a, b| b.cmp(a));
        gain(self.hits.iter().map(|hit| hit.grade)) / gain(ideal.into_iter())
    }

    /// Returns whether the first hit is one with which a shopper would be content, or nothing was found and nothing should
    /// be.
    pub fn is_first_right(&self) -> bool {
        match self.hits.first() {
            Some(hit) => hit.grade >= RIGHT,
            None => self.wants_nothing(),
        }
    }

    /// Returns whether one of the best items is among the first [`DEPTH`] hits, or nothing was found and nothing should be.
    pub fn is_found(&self) -> bool {
        let best = self.query.grades.values().copied().max().unwrap_or(0);
        if best == 0 { self.total == 0 } else { self.hits.iter().any(|hit| hit.grade == best) }
    }

    /// Returns whether nothing was found, although something should be.
    pub fn is_empty(&self) -> bool {
        !self.wants_nothing() && self.hits.is_empty()
    }

    /// Returns the pairs of hits that differ in nothing but the trade they have seen, of which the sold-out one comes first.
    pub fn sold_out_first(&self) -> Vec<(&Good, &Good)> {
        let mut pairs = Vec::new();
        for (place, hit) in self.hits.iter().enumerate().filter(|(_, hit)| hit.good.is_sold_out()) {
            let later = self.hits[place..].iter().map(|later| &later.good);
            let equal = later.filter(|later| !later.is_sold_out() && later.equals(&hit.good));
            pairs.extend(equal.map(|later| (&hit.good, later)));
        }
        pairs
    }

    fn wants_nothing(&self) -> bool {
        self.query.grades.is_empty()
    }
}

/// Returns the discounted cumulative gain of grades in the order of the hits.
fn gain(grades: impl Iterator<Item = u8>) -> f64 {
    let discounted = |(place, grade): (usize, u8)| {
        debug_assert!(grade <= BEST, "a grade of {grade}");
        (f64::from(grade).exp2() - 1.0) / (place as f64 + 2.0).log2()
    };
    grades.take(DEPTH).enumerate().map(discounted).fold(0.0, |sum, gain| sum + gain)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use souk_domain::{Category, Description, ItemListing, ItemName, Money, Quantity};

    use super::*;

    fn good(key: &str, name: &str, stock: i64) -> Good {
        let listing = ItemListing {
            sku: None,
            name: ItemName::parse(name).unwrap(),
            description: Description::default(),
            category: Category::parse("home").unwrap(),
            unit_price: Money::price(100, "EUR").unwrap(),
            quantity: Quantity::parse(9).unwrap(),
        };
        Good { key: key.to_owned(), listing, stock, sold: 9 - stock, stars: Vec::new() }
    }

    /// Returns an answer to a query with these grades, that found items of these grades.
    fn answer(judged: &[u8], found: &[u8]) -> Answer {
        let hit = |grade: &u8| Hit { good: good("a", "Lamp", 9), grade: *grade };
        Answer {
            goods: Goods::Demo,
            query: Query {
                kind: "one-word",
                text: "lamp".to_owned(),
                within: None,
                grades: judged.iter().copied().enumerate().collect::<HashMap<_, _>>(),
            },
            hits: found.iter().map(hit).collect(),
            missed: Vec::new(),
            total: found.len() as u64,
        }
    }

    #[test]
    fn best_items_count_most_and_first_places_more_than_later_ones() {
        let ndcg = |found: &[u8]| answer(&[3, 3, 1], found).ndcg();
        assert!((ndcg(&[3, 3, 1]) - 1.0).abs() < 1e-9);
        assert!(ndcg(&[3, 3, 0, 1]) > ndcg(&[3, 1, 3]) && ndcg(&[3, 1, 3]) > ndcg(&[1, 3, 3]));
        assert!(ndcg(&[]) == 0.0 && ndcg(&[0; 10]) == 0.0);
        // By hand: 7 + 1/log₂3, to 7 + 7/log₂3 + 1/2.
        assert!((ndcg(&[3, 1]) - 0.640_36).abs() < 1e-5, "{}", ndcg(&[3, 1]));
    }

    #[test]
    fn where_nothing_should_be_found_every_hit_is_wrong() {
        let (nothing, something) = (answer(&[], &[]), answer(&[], &[0]));
        assert_eq!((nothing.ndcg(), something.ndcg()), (1.0, 0.0));
        assert!(nothing.is_first_right() && nothing.is_found() && !nothing.is_empty());
        assert!(!something.is_first_right() && !something.is_found());
        assert!(answer(&[3], &[]).is_empty());
    }

    #[test]
    fn found_are_queries_with_one_of_their_best_items() {
        assert!(answer(&[2, 1], &[0, 2]).is_found() && !answer(&[3, 2], &[2]).is_found());
        assert!(answer(&[3, 2], &[2]).is_first_right() && !answer(&[3, 1], &[1, 3]).is_first_right());
    }

    #[test]
    fn only_equal_goods_are_compared_by_their_stock() {
        let mut answer = answer(&[3], &[]);
        let shelf =
            [("a", "Lamp", 0), ("b", "Lamp red", 5), ("c", "lamp", 5), ("d", "Lamp", 0), ("e", "Lamp", 2)];
        answer.hits =
            shelf.iter().map(|(key, name, stock)| Hit { good: good(key, name, *stock), grade: 0 }).collect();
        let pairs: Vec<_> = answer
            .sold_out_first()
            .into_iter()
            .map(|(sold_out, later)| format!("{}{}", sold_out.key, later.key))
            .collect();
        assert_eq!(pairs, ["ac", "ae", "de"]);
    }
}
