//! The figures of many answers, and the goals that they are measured by.

use super::{answer::Answer, set::MISSPELT};

/// The figures of some answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// The number of queries.
    pub queries: usize,
    /// The mean nDCG of the first page.
    pub ndcg: f64,
    /// The share of queries whose first hit is right.
    pub first_right: f64,
    /// The share of queries that find one of their best items on the first page.
    pub found: f64,
    /// The number of queries that find nothing although something should be found.
    pub empty: usize,
    /// The number of sold-out items before an equal one in stock.
    pub sold_out_first: usize,
}

/// A figure, and the value that it should reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The name of the figure.
    pub name: &'static str,
    /// The figure.
    pub value: f64,
    /// The value that it should reach.
    pub target: f64,
    /// Whether a lower figure is better.
    pub is_at_most: bool,
}

impl Figures {
    /// The target of the mean nDCG of the first page.
    pub const NDCG: f64 = 0.85;
    /// The target of the share of queries whose first hit is right.
    pub const FIRST_RIGHT: f64 = 0.8;
    /// The target of the share of misspelt queries that find one of their best items.
    pub const MISSPELT_FOUND: f64 = 0.9;

    /// Returns the figures of the answers.
    pub fn of<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> Self {
        let answers: Vec<_> = answers.into_iter().collect();
        let number = answers.len().max(1) as f64;
        let count = |holds: fn(&Answer) -> bool| answers.iter().filter(|answer| holds(answer)).count();
        Self {
            queries: answers.len(),
            ndcg: answers.iter().map(|answer| answer.ndcg()).sum::<f64>() / number,
            first_right: count(Answer::is_first_right) as f64 / number,
            found: count(Answer::is_found) as f64 / number,
            empty: count(Answer::is_empty),
            sold_out_first: answers.iter().map(|answer| answer.sold_out_first().len()).sum(),
        }
    }
}

impl Goal {
    /// Returns the goals that the answers are measured by. Without misspelt queries, there is none for them.
    pub fn of(answers: &[Answer]) -> Vec<Self> {
        let all = Figures::of(answers);
        let misspelt = Figures::of(answers.iter().filter(|answer| answer.query.kind == MISSPELT));
        let at_least = |name, value, target| Self { name, value, target, is_at_most: false };
        let mut goals = vec![
            at_least("nDCG@10", all.ndcg, Figures::NDCG),
            at_least("first hit right", all.first_right, Figures::FIRST_RIGHT),
        ];
        if misspelt.queries > 0 {
            goals.push(at_least("misspelt found", misspelt.found, Figures::MISSPELT_FOUND));
        }
        let sold_out = all.sold_out_first as f64;
        goals.push(Self { name: "sold-out before equal", value: sold_out, target: 0.0, is_at_most: true });
        goals
    }

    /// Returns whether the goal is reached.
    pub fn is_reached(&self) -> bool {
        if self.is_at_most { self.value <= self.target } else { self.value >= self.target }
    }
}
