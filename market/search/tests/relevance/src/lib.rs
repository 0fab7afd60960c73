//! The relevance set: queries whose results were judged by hand, and the figures that say how well a search does on them.
//!
//! The goods and the judgements are the `*.tsv` files beside this crate; `README.md` there explains their format and how
//! they were judged. The search runs through its public interface, over an index of a store in memory.
//!
//! ```text
//! goods ─┐
//!        ├─> shop (store and index) ──> answer ──> figures ──> report
//! set ───┘
//! ```

mod answer;
mod figures;
mod goods;
mod report;
mod set;
mod shop;
mod table;
#[cfg(test)]
mod tests;

pub use answer::{Answer, DEPTH, Hit};
pub use figures::{Figures, Goal};
pub use goods::{Good, Goods};
pub use report::{misses, table, verdicts};
pub use set::{BEST, KINDS, MISSPELT, Query, RIGHT};
pub use shop::Shop;

/// Answers every judged query, or those of one kind, in the order of the set.
///
/// # Errors
///
/// Fails if a file of the set is malformed, or if a search fails.
pub async fn answers(kind: Option<&str>) -> anyhow::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for goods in Goods::ALL {
        let shop = Shop::open(goods).await?;
        for query in shop.queries()? {
            if kind.is_none_or(|kind| kind == query.kind) {
                answers.push(shop.answer(query).await?);
            }
        }
        shop.close().await;
    }
    Ok(answers)
}
