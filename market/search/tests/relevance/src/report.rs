//! The figures and the misses as text.

use std::fmt::Write as _;

use super::{
    answer::Answer,
    figures::{Figures, Goal},
    goods::Good,
    set::KINDS,
};

/// Maximum number of hits and of missing items that are listed for a query.
const LISTED: usize = 5;

/// Returns the figures of each kind of query, a line each, and those of all.
pub fn table(answers: &[Answer]) -> String {
    let kinds = KINDS.map(|(kind, _)| (kind, Figures::of(answers.iter().filter(|a| a.query.kind == kind))));
    let asked = kinds.into_iter().filter(|(_, figures)| figures.queries > 0);
    let mut text = format!(
        "{:<14} {:>7} {:>8} {:>6} {:>6} {:>6}\n",
        "kind", "queries", "nDCG@10", "first", "found", "empty"
    );
    for (kind, figures) in asked.chain([("all", Figures::of(answers))]) {
        let Figures { queries, ndcg, first_right, found, empty, .. } = figures;
        let verdict = verdict(ndcg >= Figures::NDCG);
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{kind:<14} {queries:>7} {ndcg:>8.3} {first_right:>6.3} {found:>6.3} {empty:>6}   nDCG@10 ≥ {}: {verdict}",
            Figures::NDCG
        );
    }
    text
}

/// Returns the goals with their verdicts, a line each, and how many are reached.
pub fn verdicts(answers: &[Answer]) -> String {
    let goals = Goal::of(answers);
    let mut text = String::new();
    for goal in &goals {
        let Goal { name, value, target, is_at_most } = *goal;
        let (sign, digits) = if is_at_most { ("≤", 0) } else { ("≥", 3) };
        let verdict = verdict(goal.is_reached());
        let _ = writeln!(text, "{name:<22} {value:>7.digits$} {sign} {target}: {verdict}");
    }
    let all = Figures::of(answers);
    let _ = writeln!(text, "{:<22} {:>7} of {}", "nothing found", all.empty, all.queries);
    let reached = goals.iter().filter(|goal| goal.is_reached()).count();
    let _ = writeln!(text, "{reached} of {} reached", goals.len());
    text
}

/// Returns the queries that are not answered well, with what they find and what is missing.
pub fn misses(answers: &[Answer]) -> String {
    let mut text = String::new();
    for answer in answers.iter().filter(|answer| is_miss(answer)) {
        let query = &answer.query;
        let within = query.within.as_ref().map_or(String::new(), |within| format!(" in {}", within.as_str()));
        let (goods, ndcg) = (answer.goods.name(), answer.ndcg());
        let _ = writeln!(
            text,
            "\n{} · {goods} · {:?}{within}: nDCG {ndcg:.2}, {} found",
            query.kind, query.text, answer.total
        );
        list(&mut text, "found", answer.hits.iter().map(|hit| (&hit.good, hit.grade)).collect());
        list(&mut text, "missing", answer.missed.iter().map(|(good, grade)| (good, *grade)).collect());
    }
    text
}

fn is_miss(answer: &Answer) -> bool {
    answer.ndcg() < Figures::NDCG || !answer.is_first_right() || !answer.sold_out_first().is_empty()
}

fn list(text: &mut String, what: &str, items: Vec<(&Good, u8)>) {
    for (good, grade) in items.iter().take(LISTED) {
        let sold_out = if good.is_sold_out() { ", sold out" } else { "" };
        let _ =
            writeln!(text, "  {what:<8} {grade}  {} ({}{sold_out})", good.listing.name.as_str(), good.key);
    }
    if items.len() > LISTED {
        let _ = writeln!(text, "  {what:<8}    and {} more", items.len() - LISTED);
    }
}

fn verdict(is_reached: bool) -> &'static str {
    if is_reached { "reached" } else { "missed" }
}
